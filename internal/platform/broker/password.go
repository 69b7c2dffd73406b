package broker

import (
	"crypto/rand"

	"weir/internal/platform/kafka"
)

// user and mechanism are, with the password, the login of clients of the embedded broker.
const (
	user      = "weir"
	mechanism = "SCRAM-SHA-512"
)

// Login returns the login for a broker that was started with the password.
func Login(password string) kafka.Login {
	return kafka.Login{Mechanism: mechanism, User: user, Password: password}
}

// NewPassword returns a random password of letters and digits, which needs no quoting in a config.
func NewPassword() string { return rand.Text() + rand.Text() }
