package cli

import (
	"crypto/tls"
	"crypto/x509"
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
	envPassword       = "WEIR_KAFKA_PASSWORD" // no flag: a command line is for all to see
	envPasswordFile   = "WEIR_KAFKA_PASSWORD_FILE"
)

// kafkaPassword is the password of WEIR_KAFKA_PASSWORD, else the one in the file
// that WEIR_KAFKA_PASSWORD_FILE names.
func kafkaPassword() (string, error) {
	password, file := os.Getenv(envPassword), os.Getenv(envPasswordFile)
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

// givePassword hands the password in a file to the stream configs, which take it
// from the environment. Commands that run nothing do without.
func givePassword(runs bool) error {
	if mechanism := os.Getenv("WEIR_KAFKA_SASL"); mechanism == "" || mechanism == "none" {
		return nil
	}
	password, err := kafkaPassword()
	switch {
	case err != nil && runs:
		return err
	case err != nil:
		return nil
	}
	return os.Setenv(envPassword, password)
}

// securedFlags say how to get into a log that is secured, beside --brokers.
func securedFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: flagTLS, EnvVars: []string{"WEIR_KAFKA_TLS"}, Usage: "the brokers speak TLS"},
		&cli.StringFlag{Name: flagTLSCA, EnvVars: []string{"WEIR_KAFKA_CA"},
			Usage: "the CA of their certificates, as a PEM `FILE`, where the system does not know it"},
		&cli.StringFlag{Name: flagSASLMechanism, EnvVars: []string{"WEIR_KAFKA_SASL"}, Value: "none",
			Usage: strings.Join(kafka.Mechanisms(), ", ") + "; the password is taken from " + envPassword + ", or the file of " +
				envPasswordFile},
		&cli.StringFlag{Name: flagSASLUser, EnvVars: []string{"WEIR_KAFKA_USER"}, Usage: "the `USER` to authenticate as"},
	}
}

// clusterAt is the log at some addresses, got into as the flags say.
func clusterAt(c *cli.Context, brokers string) (kafka.Cluster, error) {
	var secure *tls.Config
	ca := c.String(flagTLSCA)
	switch {
	case c.Bool(flagTLS):
		secure = &tls.Config{MinVersion: tls.VersionTLS12}
		if ca != "" {
			raw, err := os.ReadFile(ca)
			if err != nil {
				return kafka.Cluster{}, usagef("reading the CA of the brokers: %w", err)
			}
			secure.RootCAs = x509.NewCertPool()
			if !secure.RootCAs.AppendCertsFromPEM(raw) {
				return kafka.Cluster{}, usagef("reading the CA of the brokers: %s holds no PEM certificate", ca)
			}
		}
	case c.IsSet(flagTLSCA) && ca != "":
		return kafka.Cluster{}, usagef("--tls-ca says whom to trust over TLS: give --tls too")
	}
	login := kafka.Login{Mechanism: c.String(flagSASLMechanism), User: c.String(flagSASLUser)}
	if login.Mechanism != "none" {
		var err error
		if login.Password, err = kafkaPassword(); err != nil {
			return kafka.Cluster{}, err
		}
		if login.User == "" || login.Password == "" {
			return kafka.Cluster{}, usagef("authenticating with %s: give --%s, and the password in %s or in the file that %s "+
				"names",
				login.Mechanism, flagSASLUser, envPassword, envPasswordFile)
		}
	}
	log, err := kafka.New([]string{brokers}, secure, login)
	if err != nil {
		return log, usageError{err} // it has connected to nobody
	}
	return log, nil
}
