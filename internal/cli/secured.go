package cli

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/internal/platform/kafka"
)

const (
	flagTLS           = "tls"
	flagTLSCA         = "tls-ca"
	flagSASLMechanism = "sasl-mechanism"
	flagSASLUser      = "sasl-user"
	envPasswordFile   = "WEIR_KAFKA_PASSWORD_FILE"
)

// kafkaPassword returns the password of WEIR_KAFKA_PASSWORD, or of the file named by WEIR_KAFKA_PASSWORD_FILE.
func kafkaPassword() (string, error) {
	password, file := os.Getenv(kafka.EnvPassword), os.Getenv(envPasswordFile)
	if password != "" || file == "" {
		return password, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the brokers' password, as %s says: %w; a standalone weir makes the file when 'weir "+
			"up' first starts", envPasswordFile, err)
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}

// givePassword sets the environment variable from the password file, for stream configs. A command that runs no
// streams ignores an unreadable file.
func givePassword(runs bool) error {
	if mechanism := os.Getenv(kafka.EnvSASL); mechanism == "" || mechanism == "none" {
		return nil
	}
	password, err := kafkaPassword()
	switch {
	case err != nil && runs:
		return err
	case err != nil:
		return nil
	}
	return os.Setenv(kafka.EnvPassword, password)
}

// securedFlags are the flags for a secured log, in addition to --brokers.
func securedFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: flagTLS, EnvVars: []string{kafka.EnvTLS}, Usage: "the brokers speak TLS"},
		&cli.StringFlag{Name: flagTLSCA, EnvVars: []string{kafka.EnvCA},
			Usage: "the CA of their certificates, as a PEM `FILE`, where the system does not know it"},
		&cli.StringFlag{Name: flagSASLMechanism, EnvVars: []string{kafka.EnvSASL}, Value: "none",
			Usage: strings.Join(kafka.Mechanisms(), ", ") + "; the password is taken from " + kafka.EnvPassword +
				", or the file of " + envPasswordFile},
		&cli.StringFlag{Name: flagSASLUser, EnvVars: []string{kafka.EnvUser}, Usage: "the `USER` to authenticate as"},
	}
}

// clusterAt returns the log at some addresses, secured as the flags say. It does not connect.
func clusterAt(c *cli.Context, brokers string) (kafka.Cluster, error) {
	var secure *tls.Config
	var err error
	ca := c.String(flagTLSCA)
	switch {
	case c.Bool(flagTLS):
		if secure, err = kafka.TLS(ca); err != nil {
			return kafka.Cluster{}, usageError{err}
		}
	case c.IsSet(flagTLSCA) && ca != "":
		return kafka.Cluster{}, usagef("--tls-ca says whom to trust over TLS: give --tls too")
	}
	login := kafka.Login{Mechanism: c.String(flagSASLMechanism), User: c.String(flagSASLUser)}
	if login.Mechanism != "none" {
		if login.Password, err = kafkaPassword(); err != nil {
			return kafka.Cluster{}, err
		}
		if login.User == "" || login.Password == "" {
			return kafka.Cluster{}, usagef("authenticating with %s: give --%s, and the password in %s or in the file that %s "+
				"names",
				login.Mechanism, flagSASLUser, kafka.EnvPassword, envPasswordFile)
		}
	}
	log, err := kafka.New([]string{brokers}, secure, login)
	if err != nil {
		return log, usageError{err} // it has not connected yet
	}
	return log, nil
}

// eventFlags are the flags that name the log and the stores of events, instead of a data directory.
func eventFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "brokers", EnvVars: []string{kafka.EnvBrokers},
			Usage: "`ADDR,…` of the log, instead of a data directory"},
		&cli.StringFlag{Name: "raw", EnvVars: []string{"WEIR_RAW_URL"}, Usage: "`URL` of the raw store, with --brokers"},
		&cli.StringFlag{Name: "dead-letter", EnvVars: []string{"WEIR_DEAD_LETTER_URL"},
			Usage: "`URL` of the dead-letter store, with --brokers"},
	}
}
