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

// Trusting makes a client that trusts the CAs of a PEM file alone.
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

// Pinned makes a client that trusts the server which shows the very certificate
// of a PEM file, whatever name it is asked by: for a server on this machine,
// whose certificate names another address than the loopback it is asked at.
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
		InsecureSkipVerify: true, // VerifyConnection is stricter: one certificate, no authority
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
