package cli

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/urfave/cli/v2"

	"weir/internal/platform/kafka"
	"weir/tests/integration/secured"
)

// command runs one as main does, and returns what it says.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	app := &cli.App{Writer: &out, ErrWriter: &out,
		Commands:       []*cli.Command{strict(topicsCommand()), strict(reconcileCommand())},
		ExitErrHandler: func(*cli.Context, error) {}}
	err := app.RunContext(t.Context(), append([]string{"weir"}, args...))
	secured.Silent(t, out.String())
	return out.String(), err
}

func TestCLI_TopicsAreMadeOnASecuredLogByTheRightPasswordOnly(t *testing.T) {
	log := secured.Start(t)
	with := []string{"--brokers", log.Address, "--tls", "--tls-ca", log.CAFile, "--sasl-mechanism", "SCRAM-SHA-512",
		"--sasl-user", secured.User}
	create := append([]string{"topics", "create", "--replicas", "1", "--profile", "standalone"}, with...)
	t.Setenv(kafka.EnvPassword, secured.Wrong)
	if _, err := command(t, create...); err == nil {
		t.Error("a wrong password makes topics")
	} else {
		secured.Refused(t, err.Error())
	}
	t.Setenv(kafka.EnvPassword, secured.Password)
	if out, err := command(t, create...); err != nil || !strings.Contains(out, "raw-events: 1 partitions") {
		t.Fatalf("%s: %v", out, err)
	}
	topics, err := kadm.NewClient(log.Client(t)).ListTopics(t.Context())
	if err != nil || !topics.Has("dead-letter") {
		t.Errorf("the topics are %v: %v", topics.Names(), err)
	}
	reconcile := append([]string{"reconcile", "--raw", "file://" + t.TempDir(), "--dead-letter", "file://" + t.TempDir()},
		with...)
	if out, err := command(t, reconcile...); err != nil {
		t.Errorf("reconciling: %s: %v", out, err)
	}
}

func TestCLI_WhatFlagsOfASecuredLogLackIsNamed(t *testing.T) {
	t.Setenv(kafka.EnvPassword, secured.Password)
	create := []string{"topics", "create", "--brokers", "127.0.0.1:1"}
	for says, flags := range map[string][]string{
		"give --tls too":      {"--tls-ca", "/no/such/file"},
		"reading the CA":      {"--tls", "--tls-ca", "/no/such/file"},
		"no PEM certificate":  {"--tls", "--tls-ca", "secured.go"},
		`"KERBEROS" is none`:  {"--sasl-mechanism", "KERBEROS", "--sasl-user", "x"},
		"give --sasl-user":    {"--sasl-mechanism", "PLAIN"},
		"names no broker":     {"--brokers", " , "},
		"SCRAM-SHA-256, SCRA": {"--sasl-mechanism", "scram", "--sasl-user", "x"},
	} {
		if _, err := command(t, append(create, flags...)...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", flags, err)
		}
	}
}
