package kafka

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/tests/integration/secured"
)

// setEnv sets all variables of the log: those that are not named, to nothing.
func setEnv(t *testing.T, values map[string]string) {
	t.Helper()
	t.Setenv(EnvBrokers, values[EnvBrokers])
	for name := range Variables() {
		t.Setenv(name, values[name])
	}
}

func TestEnvironment_GetsIntoItsBrokers(t *testing.T) {
	log := secured.Start(t)
	setEnv(t, map[string]string{EnvBrokers: log.Address, EnvTLS: "True", EnvCA: log.CAFile, EnvSASL: "SCRAM-SHA-256",
		EnvUser: secured.User, EnvPassword: secured.Password})
	c, err := parse(t, fmt.Sprintf("seed_brokers: [ %q ]", log.Address))
	if err != nil {
		t.Fatal(err)
	}
	if err := reach(t, c); err != nil {
		t.Error(err)
	}
	secured.Silent(t, fmt.Sprintf("%v %+v %#v", c, c, c))
}

// A password of the environment that is sent to whom it does not name is given
// away; a login that is given, even to say that there is none, is gone by.
func TestEnvironment_ItsLoginIsForItsBrokersAlone(t *testing.T) {
	setEnv(t, map[string]string{EnvBrokers: "a:1, b:2", EnvTLS: "true", EnvSASL: "PLAIN", EnvUser: "u", EnvPassword: "p"})
	for conf, login := range map[string]bool{
		"seed_brokers: [ 'a:1, b:2' ]":                                            true,
		"seed_brokers: [ 'b:2' ]":                                                 true,
		"seed_brokers: [ 'c:3' ]":                                                 false,
		"seed_brokers: [ 'a:1', 'c:3' ]":                                          false,
		"seed_brokers: [ 'a:11' ]":                                                false,
		"seed_brokers: [ 'a:1' ]\nsasl: { mechanism: environment }":               true,
		"seed_brokers: [ 'a:1' ]\ntls: { enabled: true, skip_cert_verify: true }": true,
		"seed_brokers: [ 'a:1' ]\nsasl: { mechanism: none }":                      false,
	} {
		c, err := parse(t, conf)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.sasl != nil; got != login || (c.tls != nil) != login {
			t.Errorf("%q: login %v and TLS %v, want %v", conf, got, c.tls != nil, login)
		}
	}
	c, err := parse(t, "seed_brokers: [ 'a:1' ]\ntls: { enabled: true, skip_cert_verify: true }")
	if err != nil || !c.tls.InsecureSkipVerify {
		t.Errorf("TLS as the config has it: %v %v", c.tls, err)
	}
	if _, err := parse(t, "seed_brokers: [ 'a:1' ]\nsasl: { username: me, password: mine }"); err == nil ||
		!strings.Contains(err.Error(), "sasl.mechanism: a user or password is given") ||
		strings.Contains(err.Error(), "mine") {
		t.Errorf("a user without a mechanism: %v", err)
	}
	for _, conf := range []string{"seed_brokers: []", "seed_brokers: [ '' ]"} {
		if c, err := parse(t, conf); err != ErrNoBroker || c.Named() || c.sasl != nil {
			t.Errorf("%q: %v", conf, err)
		}
	}
}

// Brokers that nothing names are not looked for in the environment.
func TestEnvironment_IsNotTheLogOfWhoNamesNone(t *testing.T) {
	setEnv(t, map[string]string{EnvBrokers: "a:1"})
	parsed, err := specOf(OptionalFields("None.")).ParseYAML("{}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := FromParsed(parsed); err != ErrNoBroker {
		t.Errorf("a component without brokers has some: %v", err)
	}
}

func TestEnvironment_WhatCannotBeReadIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ value, says string }{
		EnvTLS:  {"perhaps", EnvTLS + ": expected true or false"},
		EnvCA:   {"/no/such/file", "reading the CA of the brokers"},
		EnvSASL: {"MAGIC", `"MAGIC" is none of`},
	} {
		values := map[string]string{EnvBrokers: "a:1", EnvTLS: "true", EnvUser: "u", EnvPassword: "p4ss"}
		values[name] = c.value
		setEnv(t, values)
		if _, err := parse(t, "seed_brokers: [ 'a:1' ]"); err == nil || !strings.Contains(err.Error(), c.says) ||
			strings.Contains(err.Error(), "p4ss") {
			t.Errorf("%s=%s: %v", name, c.value, err)
		}
		if _, err := parse(t, "seed_brokers: [ 'b:1' ]"); err != nil {
			t.Errorf("%s=%s is of other brokers: %v", name, c.value, err)
		}
	}
}

// 2,000 users and passwords: what the brokers and the engine's components are
// told is what was set.
func TestEnvironment_AnyLoginArrivesAsItIsSet(t *testing.T) {
	blobl := bloblang.NewEnvironment()
	if err := RegisterFunctions(blobl); err != nil {
		t.Fatal(err)
	}
	mapping, err := blobl.Parse("root = kafka_connection()") // before the variables are set, as templates are
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(7, 8))
	words := []string{"true", "null", "0123", " ", "\t", "\n", "a", "日本", "\u2028", `"`, "'", `\`, `\n`, "[", "}", "#", ": ", "- ",
		"|", "%", "${X}", "${{X}}", "${! this }", "$"}
	value := func() (text string) {
		for range 1 + random.IntN(4) {
			text += words[random.IntN(len(words))]
		}
		return text
	}
	for range 2000 {
		user, password := value(), value()
		setEnv(t, map[string]string{EnvBrokers: "a:1", EnvSASL: "PLAIN", EnvUser: user, EnvPassword: password})
		c, err := parse(t, "seed_brokers: [ 'a:1' ]")
		if err != nil {
			t.Fatal(err)
		}
		_, sent, err := c.sasl.Authenticate(t.Context(), "a:1")
		if want := "\x00" + user + "\x00" + password; err != nil || string(sent) != want {
			t.Fatalf("%q is sent, want %q: %v", sent, want, err)
		}
		got, err := mapping.Query(nil)
		if want := (connection{brokers: "a:1", login: Login{"PLAIN", user, password}}).fields(); err != nil ||
			fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
			t.Fatalf("%#v is told, want %#v: %v", got, want, err)
		}
	}
}

// Mappings that arrive as data, such as a replay's, must not read the password.
func TestEnvironment_PureMappingsDoNotHaveIt(t *testing.T) {
	blobl := bloblang.NewEnvironment()
	if err := RegisterFunctions(blobl); err != nil {
		t.Fatal(err)
	}
	if _, err := blobl.OnlyPure().Parse("root = kafka_connection()"); err == nil {
		t.Error("a pure mapping has the password")
	}
}

// A component that names no broker means those of the environment, and gets in as
// it says; one that names others does not take its login there.
func TestEnvironment_AStreamMeansItsBrokers(t *testing.T) {
	log := secured.Start(t)
	setEnv(t, map[string]string{EnvBrokers: log.Address, EnvTLS: "true", EnvCA: log.CAFile, EnvSASL: "SCRAM-SHA-512",
		EnvUser: secured.User, EnvPassword: secured.Password})
	of := func(conf string) (Cluster, error) {
		parsed, err := service.NewConfigSpec().Fields(StreamFields()...).ParseYAML(conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		return FromStream(parsed)
	}
	c, err := of("{}")
	if err != nil {
		t.Fatal(err)
	}
	if err := reach(t, c); err != nil {
		t.Error(err)
	}
	if c, err = of("seed_brokers: [ 'other:1' ]"); err != nil || c.sasl != nil || c.tls != nil {
		t.Errorf("others: %v, with a login %v, with TLS %v", err, c.sasl != nil, c.tls != nil)
	}
	t.Setenv(EnvBrokers, " , ")
	if _, err := of("{}"); !errors.Is(err, ErrNoBroker) {
		t.Errorf("no broker: %v", err)
	}
	t.Setenv(EnvTLS, "perhaps")
	if _, err := of("{}"); err == nil || !strings.Contains(err.Error(), EnvTLS) {
		t.Errorf("no boolean: %v", err)
	}
}
