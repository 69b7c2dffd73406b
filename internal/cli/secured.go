package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
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
)

// securedFlags say how to get into a log that is secured, beside --brokers.
func securedFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: flagTLS, EnvVars: []string{"WEIR_KAFKA_TLS"}, Usage: "the brokers speak TLS"},
		&cli.StringFlag{Name: flagTLSCA, EnvVars: []string{"WEIR_KAFKA_CA"}, Usage: "the CA of their certificates, as a PEM `FILE`, where the system does not know it"},
		&cli.StringFlag{Name: flagSASLMechanism, EnvVars: []string{"WEIR_KAFKA_SASL"}, Value: "none", Usage: strings.Join(kafka.Mechanisms(), ", ") + "; the password is taken from " + envPassword},
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
				return kafka.Cluster{}, fmt.Errorf("reading the CA of the brokers: %w", err)
			}
			secure.RootCAs = x509.NewCertPool()
			if !secure.RootCAs.AppendCertsFromPEM(raw) {
				return kafka.Cluster{}, fmt.Errorf("reading the CA of the brokers: %s holds no PEM certificate", ca)
			}
		}
	case c.IsSet(flagTLSCA) && ca != "":
		return kafka.Cluster{}, errors.New("--tls-ca says whom to trust over TLS: give --tls too")
	}
	login := kafka.Login{Mechanism: c.String(flagSASLMechanism), User: c.String(flagSASLUser), Password: os.Getenv(envPassword)}
	if login.Mechanism != "none" && (login.User == "" || login.Password == "") {
		return kafka.Cluster{}, fmt.Errorf("authenticating with %s: give --%s, and the password in %s", login.Mechanism, flagSASLUser, envPassword)
	}
	return kafka.New([]string{brokers}, secure, login)
}
