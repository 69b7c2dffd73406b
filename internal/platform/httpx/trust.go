package httpx

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
)

// Trusting returns a client that trusts only the CAs in a PEM file.
func Trusting(caFile string) (*http.Client, error) {
	raw, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("reading the CA: %s holds no PEM certificate", caFile)
	}
	return secured(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}), nil
}

// Pinned returns a client that trusts a server only if it presents exactly the certificate in a PEM file, under any
// host name: for a server on this machine whose certificate does not name the loopback address.
func Pinned(certFile string) (*http.Client, error) {
	raw, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("reading the certificate: %s does not begin with one in PEM", certFile)
	}
	pinned, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate %s: %w", certFile, err)
	}
	return secured(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection is stricter: it compares the certificate itself
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !s.PeerCertificates[0].Equal(pinned) {
				return errors.New("the server shows another certificate than the one of " + certFile)
			}
			return nil
		},
	}), nil
}

func secured(conf *tls.Config) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = conf
	return &http.Client{Transport: t}
}
