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

// The environment variables for the Vault's address and login, as for its own command. Token and ids may be
// references to files.
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
	mostBytes  = 1 << 20          // of a response
)

// vault reads secrets over Vault's HTTP API. It may be used concurrently. It caches only its login, no secrets.
type vault struct {
	env    func(string) string
	client func() (*http.Client, error)

	mu    sync.Mutex // serializes logins and renewals
	login login
}

func newVault(env func(string) string) *vault {
	v := &vault{env: env}
	v.client = sync.OnceValues(v.connect)
	return v
}

// connect creates the HTTP client. It sends nothing.
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
		// Following a redirect would send the token to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// value reads a field of a secret. A rejected token, perhaps expired or revoked, is replaced once by a new login.
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

// field extracts a field from an answer of version 2 of the key-value store or of an unversioned engine. Errors never
// contain the answer's content.
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

// refusedError is an answer with an unexpected status. The Vault's message is not included, since it may quote the
// request.
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

// ask sends one request and returns the body of a 200, or nil for a write answered with 204.
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

// silence describes a failed request without quoting the request or answer; net/http's errors may quote malformed
// answers.
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
