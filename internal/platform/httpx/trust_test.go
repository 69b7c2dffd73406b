package httpx

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// certFile writes the certificate of a server as PEM.
func certFile(t *testing.T, s *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cert.pem")
	raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestClients_TrustWhatTheyAreGivenAlone(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		Answer(w, 200, job{"done"})
	}))
	defer s.Close()
	file := certFile(t, s)
	trusting, err := Trusting(file)
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := Pinned(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client *http.Client
		host   string
		ok     bool
	}{
		"Go's own":                     {nil, "127.0.0.1", false},
		"the CA, by a name of it":      {trusting, "127.0.0.1", true},
		"the CA, by another name":      {trusting, "localhost", false},
		"the certificate, by any name": {pinned, "localhost", true},
		"another server's certificate": {other(t), "127.0.0.1", false},
	} {
		var got job
		err := API{URL: strings.Replace(s.URL, "127.0.0.1", c.host, 1), Client: c.client}.Call(t.Context(), "GET", "/", nil,
			&got)
		if c.ok && (err != nil || got.State != "done") || !c.ok && !errors.Is(err, ErrAway) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	for _, make := range []func(string) (*http.Client, error){Trusting, Pinned} {
		for _, bad := range []string{filepath.Join(t.TempDir(), "none"), "trust_test.go"} {
			if _, err := make(bad); err == nil {
				t.Errorf("%s is taken for a certificate", bad)
			}
		}
	}
}

// other is a client that trusts a certificate of its own making, which the
// server does not show.
func other(t *testing.T) *http.Client {
	t.Helper()
	c, err := Pinned(filepath.Join("testdata", "other.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
