package secret

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// The variables of the environment that say where the Vault is and how to get
// in: those of its own command. A token, an id and a file of CAs may be files.
const (
	envAddress   = "VAULT_ADDR"
	envToken     = "VAULT_TOKEN"
	envRole      = "VAULT_ROLE_ID"
	envSecret    = "VAULT_SECRET_ID"
	envNamespace = "VAULT_NAMESPACE"
	envCA        = "VAULT_CACERT"
)

const (
	askTimeout = 10 * time.Second // for one request
	mostBytes  = 1 << 20          // of an answer
)

// vault reads secrets over the Vault's HTTP API. It is safe for concurrent use.
// What it has of a secret it keeps for nobody: each value is asked for.
type vault struct {
	env    func(string) string
	client func() (*http.Client, error)

	mu    sync.Mutex // one login, and one renewal, at a time
	login login
}

func newVault(env func(string) string) *vault {
	v := &vault{env: env}
	v.client = sync.OnceValues(v.connect)
	return v
}

// connect makes the client. Nothing is sent yet.
func (v *vault) connect() (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if file := v.env(envCA); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the CA of the Vault, %s: %w", envCA, err)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the CA of the Vault, %s: %s holds no PEM certificate", envCA, file)
		}
	}
	return &http.Client{Transport: transport, Timeout: askTimeout,
		// A redirect would take the token to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// value reads a field of a secret. A token that is refused is replaced once, by a
// login: it may have ended, or been revoked.
func (v *vault) value(ctx context.Context, r ref) (string, error) {
	for try := 0; ; try++ {
		token, err := v.token(ctx)
		if err != nil {
			return "", fmt.Errorf("reading %s: %w", r, err)
		}
		body, err := v.ask(ctx, http.MethodGet, r.path, token, nil)
		var refused *refusedError
		if errors.As(err, &refused) && refused.status == http.StatusForbidden && try == 0 && v.drop(token) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("reading %s: %w", r, err)
		}
		text, err := field(body, r.field)
		if err != nil {
			return "", fmt.Errorf("reading %s: %w", r, err)
		}
		return text, nil
	}
}

// field takes a text out of an answer: of version 2 of the key-value store, or of
// an engine that has no versions. No error shows what the answer holds.
func field(body []byte, name string) (string, error) {
	var answer struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Data == nil {
		return "", errors.New("the Vault's answer is no secret: check the path")
	}
	fields := answer.Data
	if inner, is := fields["data"]; is && fields["metadata"] != nil {
		fields = nil
		if json.Unmarshal(inner, &fields) != nil || fields == nil {
			return "", errors.New("its newest version was deleted")
		}
	}
	raw, is := fields[name]
	if !is {
		return "", fmt.Errorf("the secret has no field %q", name)
	}
	var text string
	if json.Unmarshal(raw, &text) != nil || bytes.Equal(raw, []byte("null")) {
		return "", fmt.Errorf("its field %q is not a text", name)
	}
	return text, nil
}

// refusedError is an answer that is not a 200. What the Vault says beside it is
// not passed on: it is data, and may quote what was asked.
type refusedError struct{ status int }

func (e *refusedError) Error() string {
	switch e.status {
	case http.StatusForbidden:
		return "the Vault forbids it: the token has ended, or its policies do not allow this path"
	case http.StatusNotFound:
		return "the Vault has nothing there: check the path (secret/data/NAME in version 2 of the key-value store)"
	case http.StatusServiceUnavailable:
		return "the Vault is sealed, or not ready: unseal it"
	case http.StatusTooManyRequests:
		return "the Vault answers too many requests: try again"
	}
	if e.status/100 == 3 {
		return fmt.Sprintf("the Vault answers %d, a redirect: set %s to the address it leads to", e.status, envAddress)
	}
	return fmt.Sprintf("the Vault answers %d", e.status)
}

// ask sends one request and returns the body of a 200, or nothing where a write has
// no answer.
func (v *vault) ask(ctx context.Context, method, path, token string, body any) ([]byte, error) {
	address := strings.TrimSuffix(v.env(envAddress), "/")
	base, err := url.Parse(address)
	if err != nil || base.Scheme != "https" && base.Scheme != "http" || base.Host == "" || base.User != nil {
		return nil, fmt.Errorf("the address of the Vault is not set, or is none: set %s to https://HOST:8200", envAddress)
	}
	client, err := v.client()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("writing a request to the Vault: %w", err)
	}
	if body == nil {
		raw = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, base.JoinPath("v1", path).String(), bytes.NewReader(raw))
	if err != nil {
		return nil, errors.New("the Vault cannot be asked: its address or the path cannot be used")
	}
	req.Header.Set("X-Vault-Request", "true")
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	if namespace := v.env(envNamespace); namespace != "" {
		req.Header.Set("X-Vault-Namespace", namespace)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the Vault at %s does not answer: %s", base.Host, silence(err))
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, mostBytes+1))
	switch {
	case res.StatusCode == http.StatusNoContent && method != http.MethodGet:
		return nil, nil
	case res.StatusCode != http.StatusOK:
		return nil, &refusedError{res.StatusCode}
	case err != nil:
		return nil, fmt.Errorf("the Vault's answer broke off: %s", silence(err))
	case len(answer) > mostBytes:
		return nil, errors.New("the Vault's answer is larger than 1 MiB, and no secret")
	}
	return answer, nil
}

// silence is why there is no answer, in words that hold nothing of the request
// or of the answer: net/http quotes malformed ones.
func silence(err error) string {
	var timeout interface{ Timeout() bool }
	var op *net.OpError
	var unknown *tls.CertificateVerificationError
	var host *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return "it was not waited for"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "not in time"
	case errors.As(err, &unknown):
		return "its certificate is not trusted; " + envCA + " names the CA"
	case errors.As(err, &host):
		return "its name is not known"
	case errors.As(err, &op):
		return cmp.Or(op.Op, "connect") + " failed"
	}
	return "what came is no whole answer of HTTP"
}
