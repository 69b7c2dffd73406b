// Package listen opens listeners that untrusted clients can reach: with TLS, or without it only on loopback unless
// explicitly allowed, and with limits on connections.
package listen

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"weir/internal/platform/conf"
	"weir/internal/platform/httpx"

	"github.com/redpanda-data/benthos/v4/public/service"
)

const (
	fieldTLS   = "tls"
	fieldCert  = "cert_file"
	fieldKey   = "key_file"
	fieldCA    = "client_ca_file"
	fieldAuth  = "client_certificates"
	fieldPlain = "allow_plain_http"

	fieldOrigins = "allowed_origins"
)

// Fields returns the config fields for TLS, for listening without it, and for CORS origins.
func Fields() []*service.ConfigField {
	return []*service.ConfigField{
		service.NewObjectField(fieldTLS,
			service.NewStringField(fieldCert).Description("The certificate, with its chain, as a PEM file. It is loaded "+
				"again when it changes.").Default(""),
			service.NewStringField(fieldKey).Description("Its private key, as a PEM file.").Default(""),
			service.NewStringField(fieldCA).Description("The CA of client certificates, as a PEM file.").Default(""),
			service.NewStringAnnotatedEnumField(fieldAuth, map[string]string{
				"none":     "Clients are not asked for a certificate.",
				"optional": "A certificate that a client gives must be of the CA.",
				"required": "Every client must give a certificate of the CA.",
			}).Description("Whether clients must have certificates, beside their keys.").Default("none"),
		).Description("TLS 1.2 or later for the listener, when a certificate is given.").Advanced(),
		service.NewBoolField(fieldPlain).
			Description("Whether to listen without TLS on an address that is not loopback, where keys and what they protect " +
				"can be read on the way. " +
				"Set it where something in front ends TLS.").
			Default(false),
		service.NewStringListField(fieldOrigins).
			Description("Origins of web pages that may send requests with a key of theirs (CORS), such as " +
				"`https://app.example.com`; `*` is any. " +
				"Preflights of others, and all where there are none, are answered 405. Cookies and other credentials of a " +
				"browser are never allowed.").
			Default([]any{}).Example([]any{"https://app.example.com"}).Advanced(),
	}
}

// Config says how to listen.
type Config struct {
	TLS *TLS // nil: no TLS
	Bounds
	plain   bool
	origins []string // web origins that CORS allows
}

// Bounds limit connections; 0 is no limit.
type Bounds struct {
	Conns      int
	PerAddress int
}

// FromParsed reads Fields.
func FromParsed(parsed *service.ParsedConfig) (c Config, err error) {
	if err := conf.Read(parsed, fieldPlain, &c.plain, fieldOrigins, &c.origins); err != nil {
		return c, err
	}
	for _, origin := range c.origins {
		if err := httpx.ValidOrigin(origin); err != nil {
			return c, fmt.Errorf("reading %s: %w", fieldOrigins, err)
		}
	}
	c.TLS, err = tlsFrom(parsed.Namespace(fieldTLS))
	return c, err
}

func tlsFrom(parsed *service.ParsedConfig) (*TLS, error) {
	t, auth := &TLS{}, ""
	if err := conf.Read(parsed, fieldCert, &t.cert, fieldKey, &t.key, fieldCA, &t.clientCA, fieldAuth, &auth); err != nil {
		return nil, err
	}
	switch auth {
	case "optional":
		t.clients = tls.VerifyClientCertIfGiven
	case "required":
		t.clients = tls.RequireAndVerifyClientCert
	}
	switch {
	case (t.cert == "") != (t.key == ""):
		return nil, fmt.Errorf("%s needs both %s and %s", fieldTLS, fieldCert, fieldKey)
	case t.clients != tls.NoClientCert && (t.clientCA == "" || t.cert == ""):
		return nil, fmt.Errorf("%s needs %s, and the listener's own certificate", fieldAuth, fieldCA)
	case t.cert == "":
		return nil, nil
	}
	return t, nil
}

// Check rejects an address where API keys would be sent over the network without TLS.
func (c Config) Check(address string) error {
	if c.TLS != nil || c.plain || Loopback(address) {
		return nil
	}
	return fmt.Errorf("listening without TLS at %s would show keys to the network: give %s.%s and %s, or set %s where "+
		"something in front ends TLS",
		address, fieldTLS, fieldCert, fieldKey, fieldPlain)
}

// Loopback tells whether only this machine can reach an address.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true // net.Listen will report what is wrong with it
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Watch is informed of what happens at a listener.
type Watch struct {
	Log         *service.Logger
	Refused     func(reason string) // called for each connection closed at once: Reason…
	NotReloaded func()              // called when a changed certificate cannot be read
}

// Open listens at an address, and returns the listener and its URL.
func Open(ctx context.Context, address string, c Config, w Watch) (*Listener, string, error) {
	if err := c.Check(address); err != nil {
		return nil, "", err
	}
	var certs *certificates
	if c.TLS != nil {
		var err error
		if certs, err = loadCertificates(*c.TLS, w); err != nil {
			return nil, "", err
		}
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // MPTCP sockets cannot be deafened
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, "", err
	}
	at := l.Addr().String()
	limiter := limitConns(l, c.Bounds, certs == nil, w.Refused)
	if certs == nil {
		return &Listener{Listener: limiter, conns: limiter, grace: grace}, "http://" + at, nil
	}
	within := tls.NewListener(limiter, certs.server())
	return &Listener{Listener: within, conns: limiter, grace: grace}, "https://" + at, nil
}
