// Package secured starts a Kafka broker that requires TLS and a password, for tests of its clients.
package secured

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// Valid credentials, and a wrong password.
const (
	User     = "weir-writer"
	Password = "let-me-in-47c1"
	Wrong    = "guessed-at-9d2e"
)

// Log is a running broker.
type Log struct {
	Address string
	CAFile  string // PEM
	roots   *x509.CertPool
}

// Start starts a broker that runs until the test ends. It accepts User with PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
func Start(t testing.TB, opts ...kfake.Opt) *Log {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the test's own"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(raw)
	opts = append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", User, Password),
		kfake.Superuser("SCRAM-SHA-256", User, Password), kfake.Superuser("SCRAM-SHA-512", User, Password),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}),
	}, opts...)
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &Log{Address: c.ListenAddrs()[0], CAFile: file, roots: roots}
}

// Fields returns the YAML fields with which a component connects as User with the given password.
func (l *Log) Fields(mechanism, password string) string {
	return fmt.Sprintf("seed_brokers: [ %q ]\ntls: { enabled: true, root_cas_file: %q }\nsasl: { mechanism: %s, "+
		"username: %q, password: %q }\n",
		l.Address, l.CAFile, mechanism, User, password)
}

// Client returns a client with valid credentials.
func (l *Log) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(l.Address),
		kgo.DialTLSConfig(&tls.Config{RootCAs: l.roots, MinVersion: tls.VersionTLS12}),
		kgo.SASL(plain.Auth{User: User, Pass: Password}.AsMechanism()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// Refused fails the test unless text says that the password was refused, and does not contain a password.
func Refused(t testing.TB, text string) {
	t.Helper()
	if !strings.Contains(text, "check the SASL") || !strings.Contains(text, "password") {
		t.Errorf("what is said does not name the password: %s", text)
	}
	Silent(t, text)
}

// Silent fails the test if text contains a password.
func Silent(t testing.TB, text string) {
	t.Helper()
	if strings.Contains(text, Wrong) || strings.Contains(text, Password) {
		t.Errorf("a password is shown: %s", text)
	}
}
