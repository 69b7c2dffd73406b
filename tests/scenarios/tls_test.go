package scenarios

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate writes a self-signed certificate for this machine and returns its files and a client that trusts only
// it.
func certificate(t *testing.T) (cert, key string, client *http.Client) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"weir.example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir, pool := t.TempDir(), x509.NewCertPool()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der},
		key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) {
		t.Fatal("no certificate")
	}
	return cert, key, &http.Client{Timeout: 20 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// Gate and API serve only TLS. The commands find the API through the data directory, and accept the CA of an API that
// is named.
func TestUp_GateAndAPISpeakTLS(t *testing.T) {
	s := newSystem(t)
	cert, key, client := certificate(t)
	for _, which := range []string{"WEIR_INGEST", "WEIR_API"} {
		s.env = append(s.env, which+"_TLS_CERT="+cert, which+"_TLS_KEY="+key)
	}
	s.start()
	s.ready()
	s.createKey()
	admin, err := s.weir("keys", "create", "--admin", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, url, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-API-Key", s.key)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(raw)
	}
	event := `{"event_id":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f","device_id":"pump-1","device_firmware_version":"2.1.0","timestamp":"` +
		time.Now().UTC().Format(time.RFC3339) + `","metrics":{"cpu_temp":61.5,"battery_voltage":3.7,"vibration":0.2}}`
	if status, body := ask("POST", "https://"+s.addresses[0]+"/v1/events", event); status != http.StatusAccepted {
		t.Errorf("sending over TLS: %d %s", status, body)
	}
	if status, body := ask("GET", "https://"+s.addresses[1]+"/v1/alerts", ""); status != http.StatusOK {
		t.Errorf("asking over TLS: %d %s", status, body)
	}
	for _, at := range s.addresses[:2] {
		if resp, err := http.Get("http://" + at + "/healthz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode < 400 {
				t.Errorf("%s answers in clear: %d", at, resp.StatusCode)
			}
		}
	}
	if out, err := s.weir("replay", "--mode", "redrive", "--dry-run", "--reason", "a look", "--quiet", "--data",
		s.data); err != nil {
		t.Errorf("through the data directory: %v %s", err, out)
	}
	api := []string{"hold", "list", "--api", "https://" + s.addresses[1], "--key", strings.TrimSpace(admin)}
	if out, err := s.weir(append(api, "--ca", cert)...); err != nil {
		t.Errorf("with the CA: %v %s", err, out)
	}
	if out, err := s.weir(api...); err == nil {
		t.Errorf("without the CA a stranger's certificate is trusted: %s", out)
	}
}
