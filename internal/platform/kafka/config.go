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

// Fields are the config fields of a component that needs the log.
func Fields() []*service.ConfigField {
	return fields(service.NewStringListField(kafkaFieldBrokers).
		Description("Addresses of the log's brokers. An item may hold several, separated by commas."))
}

// OptionalFields are those of a component that does without the log when no
// broker is named; why says what it does then.
func OptionalFields(why string) []*service.ConfigField {
	return fields(service.NewStringListField(kafkaFieldBrokers).
		Description(why + " An item may hold several, separated by commas.").Default([]any{}))
}

func fields(brokers *service.ConfigField) []*service.ConfigField {
	return []*service.ConfigField{
		brokers.Example([]string{"kafka-1:9092", "kafka-2:9092"}),
		service.NewTLSToggledField(kafkaFieldTLS),
		service.NewObjectField(kafkaFieldSASL,
			service.NewStringEnumField(kafkaFieldMechanism, Mechanisms()...).
				Description("The SASL mechanism. PLAIN shows the password to the network unless `tls` is enabled.").Default("none"),
			service.NewStringField(kafkaFieldUser).Description("The user.").Default(""),
			service.NewStringField(kafkaFieldPassword).Description("The password.").Default("").Secret(),
		).Description("How to authenticate to the brokers.").Advanced(),
	}
}

// FromParsed reads the fields. It fails with ErrNoBroker when they name none,
// which is for the caller to judge where they are optional.
func FromParsed(parsed *service.ParsedConfig) (Cluster, error) {
	var addresses []string
	var login Login
	const sasl = kafkaFieldSASL + "."
	if err := conf.Read(parsed, kafkaFieldBrokers, &addresses, sasl+kafkaFieldMechanism, &login.Mechanism,
		sasl+kafkaFieldUser, &login.User, sasl+kafkaFieldPassword, &login.Password); err != nil {
		return Cluster{}, err
	}
	var secure *tls.Config
	if conf.Files(parsed) { // of certificates
		made, on, err := parsed.FieldTLSToggled(kafkaFieldTLS)
		if err != nil {
			return Cluster{}, fmt.Errorf("reading field %s: %w", kafkaFieldTLS, err)
		}
		if on {
			secure = made
		}
	}
	return New(addresses, secure, login)
}
