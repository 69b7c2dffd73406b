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

// The environment variables with the address of the log and the login. The login is used only for the brokers that
// EnvBrokers names.
const (
	EnvBrokers  = "WEIR_BROKERS"
	EnvTLS      = "WEIR_KAFKA_TLS"
	EnvCA       = "WEIR_KAFKA_CA"
	EnvSASL     = "WEIR_KAFKA_SASL"
	EnvUser     = "WEIR_KAFKA_USER"
	EnvPassword = "WEIR_KAFKA_PASSWORD" // there is no flag for it, because command lines are visible to all users
	EnvRack     = "WEIR_KAFKA_RACK"
)

// Variables returns the variables of the login with their descriptions.
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

// connection is the connection to the log that the environment describes.
type connection struct {
	brokers string
	tls     bool
	caFile  string // "": the system's CAs
	login   Login
}

// rack returns the rack of this process, for brokers that select the nearest replica.
func rack() string { return os.Getenv(EnvRack) }

// environment reads the variables of brokers and login.
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

// names reports whether the environment names all of the addresses.
func (c connection) names(addresses []string) bool {
	known := brokers(c.brokers)
	asked := brokers(addresses...)
	return len(asked) > 0 && !slices.ContainsFunc(asked, func(a string) bool { return !slices.Contains(known, a) })
}

// TLS returns the config of a client that trusts the CA in a PEM file or, if the file is "", the system's CAs.
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

// RegisterFunctions adds kafka_connection() to Bloblang, for the templates that wrap the engine's own components. It
// is impure, so mappings that arrive as data cannot use it.
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

// fields returns the connection as the fields of the engine's components.
func (c connection) fields() map[string]any {
	return map[string]any{
		kafkaFieldBrokers: []any{c.brokers},
		kafkaFieldTLS:     map[string]any{"enabled": c.tls, "root_cas_file": c.caFile},
		kafkaFieldSASL: []any{map[string]any{kafkaFieldMechanism: c.login.Mechanism, kafkaFieldUser: c.login.User,
			kafkaFieldPassword: c.login.Password}},
	}
}
