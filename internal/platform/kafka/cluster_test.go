package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/tests/integration/secured"
)

func specOf(fields []*service.ConfigField) *service.ConfigSpec {
	return service.NewConfigSpec().Fields(fields...)
}

func parse(t *testing.T, conf string) (Cluster, error) {
	t.Helper()
	parsed, err := specOf(Fields()).ParseYAML(conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	return FromParsed(parsed)
}

// reach asks a cluster something, as a room does.
func reach(t *testing.T, c Cluster) error {
	t.Helper()
	client, err := kgo.NewClient(c.Options("test")...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return c.Explain(client.Ping(ctx))
}

func TestKafka_EveryMechanismLetsInByTheRightPasswordOnly(t *testing.T) {
	log := secured.Start(t)
	for _, mechanism := range Mechanisms()[1:] {
		c, err := parse(t, log.Fields(mechanism, secured.Password))
		if err != nil {
			t.Fatal(err)
		}
		if err := reach(t, c); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		if c, err = parse(t, log.Fields(mechanism, secured.Wrong)); err != nil {
			t.Fatal(err)
		}
		if err = reach(t, c); err == nil {
			t.Fatalf("%s lets in by a wrong password", mechanism)
		}
		secured.Refused(t, err.Error())
		secured.Silent(t, fmt.Sprintf("%v %+v %#v", c, c, c))
	}
}

// A real broker says why it refuses; this one is made to.
func TestKafka_ARefusalByCodeSaysWhatToCheck(t *testing.T) {
	for code, says := range map[*kerr.Error]string{
		kerr.SaslAuthenticationFailed: "check the SASL user and password",
		kerr.UnsupportedSaslMechanism: "choose another",
	} {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", secured.User,
			secured.Password))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		key := kmsg.SASLAuthenticate
		if code == kerr.UnsupportedSaslMechanism {
			key = kmsg.SASLHandshake
		}
		c.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			resp := req.ResponseKind()
			switch resp := resp.(type) {
			case *kmsg.SASLAuthenticateResponse:
				resp.ErrorCode = code.Code
			case *kmsg.SASLHandshakeResponse:
				resp.ErrorCode = code.Code
			}
			return resp, nil, true
		})
		cluster, err := New(c.ListenAddrs(), nil, Login{"PLAIN", secured.User, secured.Password})
		if err != nil {
			t.Fatal(err)
		}
		if err := reach(t, cluster); !errors.Is(err, code) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", code.Message, err)
		}
	}
}

func TestKafka_WhatIsMissingIsNamed(t *testing.T) {
	log := secured.Start(t)
	brokers := fmt.Sprintf("seed_brokers: [ %q ]\n", log.Address)
	ca := fmt.Sprintf("tls: { enabled: true, root_cas_file: %q }\n", log.CAFile)
	for name, of := range map[string]struct{ conf, says string }{
		"no TLS":      {brokers, "expect TLS"},
		"another CA":  {brokers + "tls: { enabled: true }\n", "root_cas_file"},
		"no SASL":     {brokers + ca, "SASL"},
		"no password": {brokers + ca + "sasl: { mechanism: SCRAM-SHA-512, username: x }\n", "give both"},
		"no user":     {brokers + ca + "sasl: { mechanism: PLAIN }\n", "give both"},
	} {
		c, err := parse(t, of.conf)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := reach(t, c); err == nil || !strings.Contains(err.Error(), of.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKafka_WhatCannotBeReadIsNamed(t *testing.T) {
	for conf, says := range map[string]string{
		"seed_brokers: [ '', ' , ' ]": "seed_brokers names no broker",
		"seed_brokers: [ a ]\ntls: { enabled: true, root_cas_file: /no/such/file }": "reading field tls",
		"seed_brokers: [ a ]\nsasl: { mechanism: MAGIC }":                           "MAGIC",
	} {
		if _, err := parse(t, conf); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", conf, err)
		}
	}
}

func TestKafka_AnItemMayBeAListItself(t *testing.T) {
	if got := brokers("a:1, b:2", "", "c:3"); len(got) != 3 || got[1] != "b:2" {
		t.Errorf("read %q", got)
	}
}
