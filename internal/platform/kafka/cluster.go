// Package kafka has the connection to the log for rooms that use a client of their own: one set of config fields, one
// of environment variables, and the client options that follow from them.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// ErrNoBroker is the error of a cluster that has no address.
var ErrNoBroker = errors.New("reading the addresses of the log: seed_brokers names no broker")

// Cluster has the addresses of the log's brokers, and the login. It can be printed: it shows no password.
type Cluster struct {
	brokers []string
	tls     *tls.Config    // nil: plain TCP
	sasl    sasl.Mechanism // nil: no authentication
	rack    string         // the rack of this process; "": read from leaders
}

// brokers splits items that have several addresses, as environment variables do.
func brokers(items ...string) (each []string) {
	for _, item := range items {
		for b := range strings.SplitSeq(item, ",") {
			if b = strings.TrimSpace(b); b != "" {
				each = append(each, b)
			}
		}
	}
	return each
}

// Login is the login at the brokers.
type Login struct{ Mechanism, User, Password string }

const (
	mechanismNone        = "none"
	mechanismEnvironment = "environment" // of a config: see Fields
)

// Mechanisms returns the mechanisms that a login can name.
func Mechanisms() []string { return []string{mechanismNone, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} }

// New returns the cluster at some addresses, each of which may be a list. The TLS
// config may be nil. It fails with ErrNoBroker when there is no address.
func New(addresses []string, secure *tls.Config, login Login) (Cluster, error) {
	c := Cluster{brokers: brokers(addresses...), tls: secure}
	if len(c.brokers) == 0 {
		return c, ErrNoBroker
	}
	var err error
	c.sasl, err = login.mechanism()
	return c, err
}

func (l Login) mechanism() (sasl.Mechanism, error) {
	complete := func() error {
		if l.User == "" || l.Password == "" {
			return fmt.Errorf("authenticating with %s: give both the SASL user and the password", l.Mechanism)
		}
		return nil
	}
	shake := func(context.Context) (scram.Auth, error) {
		return scram.Auth{User: l.User, Pass: l.Password}, complete()
	}
	switch l.Mechanism {
	case "", mechanismNone:
		return nil, nil
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			return plain.Auth{User: l.User, Pass: l.Password}, complete()
		}), nil
	case "SCRAM-SHA-256":
		return scram.Sha256(shake), nil
	case "SCRAM-SHA-512":
		return scram.Sha512(shake), nil
	}
	return nil, fmt.Errorf("reading the SASL mechanism: %q is none of %s", l.Mechanism, strings.Join(Mechanisms(), ", "))
}

// idleMost is how long an unused connection is kept. Brokers close theirs after ten minutes, load balancers after four
// at the earliest. Some of a client's connections are used once a minute, and a new one takes milliseconds of password
// hashing.
const idleMost = 3 * time.Minute

// Options returns the options of a client of the cluster, with its client ID.
func (c Cluster) Options(clientID string) []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(c.brokers...), kgo.ClientID(clientID), kgo.ConnIdleTimeout(idleMost)}
	if c.tls != nil {
		opts = append(opts, kgo.DialTLSConfig(c.tls))
	}
	if c.sasl != nil {
		opts = append(opts, kgo.SASL(c.sasl))
	}
	if c.rack != "" {
		opts = append(opts, kgo.Rack(c.rack))
	}
	return opts
}

// Named reports whether any broker is configured.
func (c Cluster) Named() bool { return len(c.brokers) > 0 }
