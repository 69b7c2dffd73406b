package etl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
	"weir/internal/platform/secret"
)

const kafkaFormat = "kafka"

// kafkaServer is a Kafka cluster and the user that connects to it.
type kafkaServer struct {
	brokers        []string
	tls            bool
	ca             string // PEM file; "": the system's certificates
	sasl           string
	user, password string // references to secrets; the user may also be plain text
}

func (p *Pipeline) readKafkaServer(r *reader) kafkaServer {
	k := kafkaServer{tls: r.flag("tls"), ca: r.text("ca", false), sasl: r.oneOf("sasl", kafka.Mechanisms()...)}
	for _, n := range r.list("brokers") {
		address, is := n.value.(string)
		if !is || address == "" || strings.ContainsAny(address, "/@, ") {
			r.wrong(n, "expected HOST:PORT")
		}
		k.brokers = append(k.brokers, address)
	}
	if len(k.brokers) == 0 && r.members != nil {
		r.wrong(r.n, `"brokers" is missing: a list of HOST:PORT`)
	}
	if n := r.member("user"); n != nil {
		if text, is := n.value.(string); is {
			k.user = text
		} else {
			k.user = readSecret(r, "user")
		}
	}
	k.password = readSecret(r, "password")
	none := kafka.Mechanisms()[0]
	switch {
	case k.sasl == none && (k.user != "" || k.password != ""):
		r.wrong(r.n, `"sasl" is missing: the user and the password are for one of %s`,
			strings.Join(kafka.Mechanisms()[1:], ", "))
	case k.sasl != none && (k.user == "" || k.password == ""):
		r.wrong(r.n, `%s needs a "user" and a "password"`, k.sasl)
	case k.sasl == "PLAIN" && !k.tls:
		r.wrong(r.members["sasl"], "PLAIN sends the password as it is: set tls, or name one of SCRAM")
	}
	if k.ca != "" && !k.tls {
		r.wrong(r.members["ca"], "the CA is of TLS: set tls")
	}
	if k.ca != "" && !filepath.IsAbs(k.ca) {
		k.ca = filepath.Join(p.dir, k.ca)
	}
	return k
}

// connect creates a client with the secrets as they are now. It does not connect to a broker yet.
func (k kafkaServer) connect(ctx context.Context, more ...kgo.Opt) (*kgo.Client, kafka.Cluster, error) {
	login := kafka.Login{Mechanism: k.sasl}
	var err error
	if login.User, err = secret.Value(ctx, k.user); err != nil {
		return nil, kafka.Cluster{}, err
	}
	if login.Password, err = secret.Value(ctx, k.password); err != nil {
		return nil, kafka.Cluster{}, err
	}
	var secure *tls.Config
	if k.tls {
		if secure, err = kafka.TLS(k.ca); err != nil {
			return nil, kafka.Cluster{}, err
		}
	}
	cluster, err := kafka.New(k.brokers, secure, login)
	if err != nil {
		return nil, cluster, err
	}
	client, err := kgo.NewClient(append(cluster.Options("weir-etl"), more...)...)
	if err != nil {
		return nil, cluster, fmt.Errorf("connecting to Kafka: %w", err)
	}
	return client, cluster, nil
}

// refusedByKafka adds to an error what was being done, and makes it final if no retry can succeed.
func refusedByKafka(cluster kafka.Cluster, doing string, err error) error {
	final := false
	for _, code := range []error{kerr.SaslAuthenticationFailed, kerr.TopicAuthorizationFailed,
		kerr.ClusterAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed,
		kerr.InvalidTopicException, kerr.MessageTooLarge} {
		final = final || errors.Is(err, code)
	}
	err = fmt.Errorf("%s: %w", doing, cluster.Explain(err))
	if final {
		return dataError{err}
	}
	return err
}
