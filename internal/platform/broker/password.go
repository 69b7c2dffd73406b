package broker

import (
	"crypto/rand"

	"weir/internal/platform/kafka"
)

// user and mechanism are what a client of the embedded broker logs in with,
// beside the password.
const (
	user      = "weir"
	mechanism = "SCRAM-SHA-512"
)

// Login is the login to a broker that was started with the password.
func Login(password string) kafka.Login {
	return kafka.Login{Mechanism: mechanism, User: user, Password: password}
}

// NewPassword returns a random password that any config can hold as it is:
// letters and digits.
func NewPassword() string { return rand.Text() + rand.Text() }
