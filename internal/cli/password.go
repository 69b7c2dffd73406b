package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"weir/internal/platform/broker"
	"weir/internal/platform/kafka"
)

// passwordFile holds the embedded broker's password.
func (d DataDir) passwordFile() string { return d.path("broker.password") }

// BrokerLogin returns the login to the embedded broker of the weir that runs here, or an empty one if an older weir
// runs, whose broker has no password.
func (d DataDir) BrokerLogin() (kafka.Login, error) {
	password, err := d.readPassword()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return kafka.Login{}, nil
	case err != nil:
		return kafka.Login{}, err
	}
	return broker.Login(password), nil
}

func (d DataDir) readPassword() (string, error) {
	raw, err := os.ReadFile(d.passwordFile())
	if err != nil {
		return "", fmt.Errorf("reading the password of the embedded broker: %w", err)
	}
	password := strings.TrimSpace(string(raw))
	if password == "" {
		return "", fmt.Errorf("reading the password of the embedded broker: %s is empty; delete it and start 'weir up' "+
			"again, which makes another", d.passwordFile())
	}
	return password, nil
}

// keepPassword reads the embedded broker's password, or creates it at the first start. The caller holds the
// directory's lock. The file is written atomically.
func (d DataDir) keepPassword() (string, error) {
	password, err := d.readPassword()
	if !errors.Is(err, fs.ErrNotExist) {
		return password, err
	}
	password = broker.NewPassword()
	if err := writePrivate(d.passwordFile(), password+"\n"); err != nil {
		return "", fmt.Errorf("keeping the password of the embedded broker: %w", err)
	}
	return password, nil
}
