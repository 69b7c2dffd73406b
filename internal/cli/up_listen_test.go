package cli

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestUp_ShowsNoKeysToTheNetwork(t *testing.T) {
	for _, c := range []struct {
		name        string
		ingest, api string
		doors       doors
		env         string
		want        string
	}{
		{"loopback", "127.0.0.1:1", "[::1]:2", doors{}, "", ""},
		{"the api", "127.0.0.1:1", "0.0.0.0:2", doors{}, "", "--api 0.0.0.0:2"},
		{"the gate", ":1", "127.0.0.1:2", doors{}, "", "--ingest :1"},
		{"allowed by name", "0.0.0.0:1", "0.0.0.0:2", doors{plain: true}, "", ""},
		{"allowed for one", "0.0.0.0:1", "0.0.0.0:2", doors{}, "WEIR_INGEST_PLAIN_HTTP", "--api"},
		{"with TLS", "0.0.0.0:1", "0.0.0.0:2", doors{cert: "c", key: "k"}, "", ""},
		{"half of TLS", "127.0.0.1:1", "127.0.0.1:2", doors{cert: "c"}, "", flagKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env != "" {
				t.Setenv(c.env, "true")
			}
			u := &upRun{addresses: running{Ingest: c.ingest, API: c.api}, doors: c.doors}
			err := u.checkDoors()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if c.want != "" && c.doors.cert == "" && !strings.Contains(err.Error(), "--"+flagPlain) {
				t.Errorf("the error does not say how to allow it: %v", err)
			}
		})
	}
}

// An address with port 0 becomes the one that is listened on, for whoever asks.
func TestUp_TakesAFreePortForZero(t *testing.T) {
	u := &upRun{addresses: running{Ingest: "localhost:0", API: "127.0.0.1:0", Ops: "127.0.0.1:0", Broker: "127.0.0.1:0"}}
	if err := errors.Join(apart(u.listeners()), u.takePorts(), apart(u.listeners())); err != nil {
		t.Fatal(err)
	}
	a := u.addresses
	for _, address := range []string{a.Ingest, a.API, a.Ops, a.Broker} {
		if strings.HasSuffix(address, ":0") {
			t.Errorf("an address is %s", address)
		}
	}
	if !strings.HasPrefix(a.Ingest, "localhost:") {
		t.Errorf("a host that was named is %s", a.Ingest)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	u.addresses.Ops = taken.Addr().String()
	if err := u.takePorts(); err == nil || !strings.Contains(err.Error(), "--ops") {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestUp_CertificatesAreReadBeforeAnythingStarts(t *testing.T) {
	missing := t.TempDir() + "/none.pem"
	addresses := running{Ingest: "127.0.0.1:1", API: "127.0.0.1:2"}
	if err := (&upRun{addresses: addresses}).checkCertificates(); err != nil {
		t.Error("without TLS:", err)
	}
	u := &upRun{addresses: addresses, doors: doors{cert: missing, key: missing}}
	if err := u.checkCertificates(); err == nil || !strings.Contains(err.Error(), missing) ||
		!strings.Contains(err.Error(), "--"+flagCert) {
		t.Errorf("by flags: %v", err)
	}
	t.Setenv("WEIR_API_TLS_CERT", missing)
	if err := (&upRun{addresses: addresses}).checkCertificates(); err == nil || !strings.Contains(err.Error(), "--api") {
		t.Errorf("by variables: %v", err)
	}
}
