package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
)

// The variables of the environment that say where the log is, and how to get in.
// The login is for the brokers that EnvBrokers names, and goes to no others.
const (
	EnvBrokers  = "WEIR_BROKERS"
	EnvTLS      = "WEIR_KAFKA_TLS"
	EnvCA       = "WEIR_KAFKA_CA"
	EnvSASL     = "WEIR_KAFKA_SASL"
	EnvUser     = "WEIR_KAFKA_USER"
	EnvPassword = "WEIR_KAFKA_PASSWORD" // no flag: a command line is for all to see
	EnvRack     = "WEIR_KAFKA_RACK"
)

// Variables are those of the login, and what each is.
func Variables() map[string]string {
	return map[string]string{
		EnvTLS:      "whether the brokers speak TLS",
		EnvCA:       "the CA of the brokers' certificates, a PEM file, where the system does not know it",
		EnvSASL:     "the SASL mechanism: " + strings.Join(Mechanisms(), ", "),
		EnvUser:     "the user to authenticate as",
		EnvPassword: "the user's password",
		EnvRack:     "the rack or zone of this process: it reads from the nearest replica, where brokers select by rack",
	}
}

// connection is what the environment says of the log.
type connection struct {
	brokers string
	tls     bool
	caFile  string // "" for the CAs that the system knows
	login   Login
}

// rack is where this process is, for brokers that select the nearest replica.
func rack() string { return os.Getenv(EnvRack) }

// environment is where the variables of brokers and login are read.
func environment() (connection, error) {
	c := connection{brokers: os.Getenv(EnvBrokers), caFile: os.Getenv(EnvCA),
		login: Login{os.Getenv(EnvSASL), os.Getenv(EnvUser), os.Getenv(EnvPassword)}}
	if c.login.Mechanism == "" {
		c.login.Mechanism = mechanismNone
	}
	if on := os.Getenv(EnvTLS); on != "" {
		var err error
		if c.tls, err = strconv.ParseBool(strings.ToLower(on)); err != nil {
			return c, fmt.Errorf("reading %s: expected true or false", EnvTLS)
		}
	}
	return c, nil
}

// names is whether the environment names all of some addresses.
func (c connection) names(addresses []string) bool {
	known := brokers(c.brokers)
	asked := brokers(addresses...)
	return len(asked) > 0 && !slices.ContainsFunc(asked, func(a string) bool { return !slices.Contains(known, a) })
}

// TLS is the config of a client that trusts the CA of a PEM file, or, where the
// file is "", those that the system knows.
func TLS(caFile string) (*tls.Config, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return secure, nil
	}
	raw, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA of the brokers: %w", err)
	}
	secure.RootCAs = x509.NewCertPool()
	if !secure.RootCAs.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("reading the CA of the brokers: %s holds no PEM certificate", caFile)
	}
	return secure, nil
}

// RegisterFunctions adds kafka_connection() to Bloblang, for the templates that
// wrap the engine's own components. It is impure: mappings that arrive as data
// do not have it.
func RegisterFunctions(env *bloblang.Environment) error {
	spec := bloblang.NewPluginSpec().Impure().Description("Where the log is and how to get in, as the environment says: " +
		"the fields `seed_brokers`, `tls` and `sasl` of the engine's Kafka components. It holds the password.")
	return env.RegisterFunctionV2("kafka_connection", spec,
		func(*bloblang.ParsedParams) (bloblang.Function, error) {
			return func() (any, error) {
				c, err := environment()
				return c.fields(), err
			}, nil
		})
}

// fields are those of the engine's components.
func (c connection) fields() map[string]any {
	return map[string]any{
		kafkaFieldBrokers: []any{c.brokers},
		kafkaFieldTLS:     map[string]any{"enabled": c.tls, "root_cas_file": c.caFile},
		kafkaFieldSASL: []any{map[string]any{kafkaFieldMechanism: c.login.Mechanism, kafkaFieldUser: c.login.User,
			kafkaFieldPassword: c.login.Password}},
	}
}
