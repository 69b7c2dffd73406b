package gate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"weir/internal/control/apikey"
)

// A program sends events by a token where it may by a key: over HTTP, WebSocket
// and gRPC. People do not.
func TestGate_TokensCountWhereKeysDo(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{jose.JSONWebKey{Key: key.Public(), KeyID: "1"}}})
	}))
	t.Cleanup(issuer.Close)
	token := func(role apikey.Role, fleets string) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key},
			(&jose.SignerOptions{}).WithHeader("kid", "1"))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := s.Sign(fmt.Appendf(nil, `{"iss":%q,"aud":"weir","sub":"ada","exp":%d,"roles":%q,"fleets":%q}`,
			issuer.URL, time.Now().Add(time.Hour).Unix(), role, fleets))
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	w, client, _ := grpcWorld(t, fmt.Sprintf("    oidc: { issuer: %q, jwks_url: %q, audience: weir }", issuer.URL,
		issuer.URL+"/keys"))
	for _, route := range apikey.Routes() {
		if route.Server != apikey.Gate || route.Scope == apikey.Anyone {
			continue
		}
		for _, c := range []struct {
			text string
			want int
		}{
			{w.key, 0}, {token(apikey.Sender, "acme"), 0}, {token(apikey.Sender, "acme other"), 403},
			{token(apikey.Sender, "*"), 403}, {token(apikey.Administrator, "*"), 403}, {token(apikey.Sender, "acme") + "x", 401},
		} {
			if got := w.knock(client, route, c.text); got != c.want {
				t.Errorf("%s %s: %d, want %d", route.Method, route.Path, got, c.want)
			}
		}
	}
}
