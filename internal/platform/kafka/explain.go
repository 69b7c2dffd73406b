package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Explain adds advice to an error of the cluster's client if the error means that the cluster is secured in another
// way than configured. It returns other errors unchanged.
func (c Cluster) Explain(err error) error {
	if advice := c.advice(err); advice != "" {
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

func (c Cluster) advice(err error) string {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return ""
	case is(kerr.SaslAuthenticationFailed):
		return "the brokers refuse who we are: check the SASL user and password"
	case is(kerr.UnsupportedSaslMechanism):
		return "the brokers do not have the SASL mechanism: choose another"
	case is(kerr.ClusterAuthorizationFailed, kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed):
		return "the brokers know the user and do not let it: give it the rights, or name another SASL user"
	case isA[x509.UnknownAuthorityError](err):
		return "name the CA of the brokers' certificates (root_cas_file)"
	case isA[x509.HostnameError](err):
		return "name the brokers as their certificates do"
	case isA[tls.RecordHeaderError](err):
		return "the brokers do not speak TLS at this address: disable it, or take the address that does"
	case isA[tls.AlertError](err):
		return "the brokers refuse our side of TLS: check the client's certificate"
	case isA[*kgo.ErrFirstReadEOF](err), is(io.EOF):
		if c.sasl != nil {
			return "the brokers hung up: check the SASL mechanism, user and password, and whether they expect TLS"
		}
		return "the brokers hung up: check whether they expect TLS and SASL"
	}
	return ""
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
