package gate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// authority signs certificates of a test.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
	n    int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool(), n: 1}
	der, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, key
	a.pool.AddCert(cert)
	return a
}

func (a *authority) sign(c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	c.SerialNumber = big.NewInt(a.n)
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// write signs a certificate of a name and writes both files.
func (a *authority) write(dir, name string) (certFile, keyFile string) {
	a.t.Helper()
	der, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile: {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func (a *authority) writeCA(dir string) string {
	a.t.Helper()
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}),
		0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}

// tlsPost sends a good event and returns the name on the gate's certificate.
func tlsPost(t *testing.T, w *world, c *http.Client) (string, error) {
	t.Helper()
	req, err := http.NewRequest("POST", "https://"+w.addr+"/v1/events", strings.NewReader(goodEvent))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", w.key)
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
	if res.StatusCode != 202 {
		t.Errorf("status %d", res.StatusCode)
	}
	return res.TLS.PeerCertificates[0].Subject.CommonName, nil
}

func tlsClient(conf *tls.Config) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: conf,
		ForceAttemptHTTP2: true}}
}

// A changed certificate serves new connections; open ones live on; a broken one
// changes nothing.
func TestGate_CertificateIsReloaded(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	cert, key := ca.write(dir, "first")
	w := newWorldAt(t, fmt.Sprintf("    tls: { cert_file: %q, key_file: %q }", cert, key), &tls.Config{RootCAs: ca.pool})
	old := tlsClient(&tls.Config{RootCAs: ca.pool})
	if name, err := tlsPost(t, w, old); err != nil || name != "first" {
		t.Fatal(name, err)
	}
	if err := os.WriteFile(key, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond)
	if name, err := tlsPost(t, w, tlsClient(&tls.Config{RootCAs: ca.pool})); err != nil || name != "first" {
		t.Errorf("with a broken key file: %q %v", name, err)
	}
	ca.write(dir, "second")
	time.Sleep(1200 * time.Millisecond)
	if name, err := tlsPost(t, w, tlsClient(&tls.Config{RootCAs: ca.pool})); err != nil || name != "second" {
		t.Errorf("after the change: %q %v", name, err)
	}
	if name, err := tlsPost(t, w, old); err != nil || name != "first" {
		t.Errorf("the open connection: %q %v", name, err)
	}
	if _, err := tls.Dial("tcp", w.addr, &tls.Config{RootCAs: ca.pool, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
}

func TestGate_ClientCertificatesAreRequired(t *testing.T) {
	ca, other, dir := newAuthority(t), newAuthority(t), t.TempDir()
	cert, key := ca.write(dir, "gate")
	pair := func(a *authority) []tls.Certificate {
		c, k := a.write(t.TempDir(), "device")
		p, err := tls.LoadX509KeyPair(c, k)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{p}
	}
	good := &tls.Config{RootCAs: ca.pool, Certificates: pair(ca)}
	w := newWorldAt(t, fmt.Sprintf("    tls: { cert_file: %q, key_file: %q, client_ca_file: %q, client_certificates: "+
		"required }", cert, key, ca.writeCA(dir)), good)
	if _, err := tlsPost(t, w, tlsClient(good)); err != nil {
		t.Error(err)
	}
	for name, conf := range map[string]*tls.Config{"none": {RootCAs: ca.pool}, "another CA's": {RootCAs: ca.pool,
		Certificates: pair(other)}} {
		if _, err := tlsPost(t, w, tlsClient(conf)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestGate_PlainHTTPIsForLoopback(t *testing.T) {
	spec := inputSpec()
	for conf, ok := range map[string]bool{
		"address: 127.0.0.1:1":                           true,
		"address: 'localhost:1'":                         true,
		"address: '[::1]:1'":                             true,
		"address: 0.0.0.0:1":                             false,
		"address: ':1'":                                  false,
		"address: 10.0.0.1:1":                            false,
		"{ address: 0.0.0.0:1, allow_plain_http: true }": true,
		"{ address: 0.0.0.0:1, tls: { cert_file: a, key_file: b } }": true,
		"tls: { cert_file: a }": false,
		"tls: { cert_file: a, key_file: b, client_certificates: required }":         false,
		"limits: { max_depth: 65 }":                                                 false,
		"limits: { max_batch_events: 0 }":                                           false,
		"limits: { max_in_flight_bytes: 10 }":                                       false,
		"timeouts: { ack: 0s }":                                                     false,
		"quota: { events_per_second: -1 }":                                          false,
		"quota: { fleets: [ { fleet: 'a:b', events_per_second: 1 } ] }":             false,
		"backpressure: { seed_brokers: [ a ], groups: [] }":                         false,
		"backpressure: { seed_brokers: [ a ], resume_ratio: 1 }":                    false,
		"backpressure: { seed_brokers: [ 'a:1,b:2' ], sasl: { mechanism: PLAIN } }": true,
	} {
		if !strings.HasPrefix(conf, "{") {
			conf = "{ " + conf + " }"
		}
		conf = strings.Replace(conf, "{", "{ keys: 'sqlite://x', ", 1)
		parsed, err := spec.ParseYAML(conf, service.NewEnvironment())
		if err != nil {
			t.Errorf("%s: %v", conf, err)
			continue
		}
		if _, err := configFromParsed(parsed); (err == nil) != ok {
			t.Errorf("%s: %v", conf, err)
		}
	}
}

func TestGate_ConnectionsAreBounded(t *testing.T) {
	w := newWorld(t, "    limits: { max_connections: 8, max_connections_per_address: 5 }\n    timeouts: { read_header: "+
		"3s }")
	conns := []net.Conn{}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for range 12 {
		conns = append(conns, dial())
	}
	var closed atomic.Int64
	var readers sync.WaitGroup
	for _, c := range conns {
		readers.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := c.Read(make([]byte, 1)); err == io.EOF || err != nil && strings.Contains(err.Error(), "reset") {
				closed.Add(1)
			}
		})
	}
	readers.Wait()
	// Five of an address stay. The connection that asked whether the gate is there
	// may have been one of them.
	if n := closed.Load(); n < 7 || n > 8 {
		t.Errorf("%d of 12 connections were closed", n)
	}
	time.Sleep(3 * time.Second) // the others sent no header in time
	if r := w.post(goodEvent); r.status != 202 {
		t.Errorf("after the flood: %d %s", r.status, r.body)
	}
}

// A client that sends slowly, or nothing, or never reads, ends by a timeout and
// holds nothing after it.
func TestGate_SlowClientsEnd(t *testing.T) {
	w := newWorld(t, "    timeouts: { read_header: 1s, read_request: 2s, idle: 1s, ack: 1s }")
	head := "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: " + w.key + "\r\nContent-Type: application/json\r\n"
	for name, text := range map[string]string{
		"nothing":             "",
		"half a header":       "POST /v1/events HT",
		"half a body":         head + "Content-Length: 1000\r\n\r\n[{",
		"a chunk":             head + "Transfer-Encoding: chunked\r\n\r\n5\r\n[{\"a\"\r\n",
		"idle":                head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(goodEvent), goodEvent),
		"refused at the door": "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n[{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", w.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(15 * time.Second))
			got, err := io.ReadAll(c)
			if err != nil && !strings.Contains(err.Error(), "reset") {
				t.Fatalf("the connection stays open: %v, %s", err, got)
			}
			if name == "half a body" && !bytes.Contains(got, []byte(" 408 ")) {
				t.Errorf("got %s", got)
			}
		})
	}
}
