package kafka

import (
	"crypto/tls"
	"fmt"
	"weir/internal/platform/conf"

	"github.com/redpanda-data/benthos/v4/public/service"
)

const (
	kafkaFieldBrokers   = "seed_brokers"
	kafkaFieldTLS       = "tls"
	kafkaFieldSASL      = "sasl"
	kafkaFieldMechanism = "mechanism"
	kafkaFieldUser      = "username"
	kafkaFieldPassword  = "password"
)

// Fields returns the config fields of a component that needs the log.
func Fields() []*service.ConfigField {
	return fields(service.NewStringListField(kafkaFieldBrokers).
		Description("Addresses of the log's brokers. An item may hold several, separated by commas."))
}

// OptionalFields returns the config fields of a component that works without the log if no broker is named; why
// describes that case.
func OptionalFields(why string) []*service.ConfigField {
	return fields(service.NewStringListField(kafkaFieldBrokers).
		Description(why + " An item may hold several, separated by commas.").Default([]any{}))
}

// StreamFields returns the config fields of a component that uses the brokers of EnvBrokers if it names none; see
// FromStream.
func StreamFields() []*service.ConfigField {
	return fields(service.NewStringListField(kafkaFieldBrokers).
		Description("Addresses of the log's brokers: those of `" + EnvBrokers + "` when there are none here. An item may " +
			"hold several, separated by commas.").Default([]any{}).Advanced())
}

func fields(brokers *service.ConfigField) []*service.ConfigField {
	return []*service.ConfigField{
		brokers.Example([]string{"${" + EnvBrokers + "}"}).Example([]string{"kafka-1:9092", "kafka-2:9092"}),
		service.NewTLSToggledField(kafkaFieldTLS),
		service.NewObjectField(kafkaFieldSASL,
			service.NewStringEnumField(kafkaFieldMechanism, append([]string{mechanismEnvironment}, Mechanisms()...)...).
				Description("The SASL mechanism. PLAIN shows the password to the network unless TLS is on. With `"+
					mechanismEnvironment+"`, the brokers that `"+EnvBrokers+"` names are got into as the environment says (`"+
					EnvSASL+"`, `"+EnvUser+"`, `"+EnvPassword+"`, and, unless `"+kafkaFieldTLS+"` is enabled here, `"+EnvTLS+"` and `"+
					EnvCA+"`); others, to which its password does not go, without a login.").
				Default(mechanismEnvironment),
			service.NewStringField(kafkaFieldUser).Description("The user.").Default(""),
			service.NewStringField(kafkaFieldPassword).Description("The password.").Default("").Secret(),
		).Description("How to authenticate to the brokers.").Advanced(),
	}
}

// FromParsed reads the fields. It fails with ErrNoBroker if they name no broker, which the caller may accept where
// they are optional.
func FromParsed(parsed *service.ParsedConfig) (Cluster, error) { return fromParsed(parsed, "") }

// FromStream reads StreamFields. It fails with ErrNoBroker if neither they nor the environment name a broker.
func FromStream(parsed *service.ParsedConfig) (Cluster, error) {
	known, err := environment()
	if err != nil {
		return Cluster{}, err
	}
	return fromParsed(parsed, known.brokers)
}

// fromParsed reads the fields; otherwise are the brokers if they name none.
func fromParsed(parsed *service.ParsedConfig, otherwise string) (Cluster, error) {
	var addresses []string
	var login Login
	const sasl = kafkaFieldSASL + "."
	if err := conf.Read(parsed, kafkaFieldBrokers, &addresses, sasl+kafkaFieldMechanism, &login.Mechanism,
		sasl+kafkaFieldUser, &login.User, sasl+kafkaFieldPassword, &login.Password); err != nil {
		return Cluster{}, err
	}
	if len(brokers(addresses...)) == 0 {
		addresses = []string{otherwise}
	}
	files := conf.Files(parsed) // whether files of certificates are read
	var secure *tls.Config
	if files {
		made, on, err := parsed.FieldTLSToggled(kafkaFieldTLS)
		if err != nil {
			return Cluster{}, fmt.Errorf("reading field %s: %w", kafkaFieldTLS, err)
		}
		if on {
			secure = made
		}
	}
	if login.Mechanism == mechanismEnvironment {
		var err error
		if login, secure, err = loginFor(addresses, login, secure, files); err != nil {
			return Cluster{}, err
		}
	}
	c, err := New(addresses, secure, login)
	c.rack = rack()
	return c, err
}

// loginFor returns the login for brokers: that of the environment for the environment's own brokers. A user or
// password given beside it would be ignored, and is an error.
func loginFor(addresses []string, given Login, secure *tls.Config, files bool) (Login, *tls.Config, error) {
	if given.User != "" || given.Password != "" {
		return Login{}, nil, fmt.Errorf("reading field %s.%s: a user or password is given: name the mechanism that it is for",
			kafkaFieldSASL, kafkaFieldMechanism)
	}
	known, err := environment()
	if !known.names(addresses) {
		return Login{}, secure, nil
	}
	if err == nil && known.tls && secure == nil && files {
		secure, err = TLS(known.caFile)
	}
	return known.login, secure, err
}
