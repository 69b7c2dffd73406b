package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"weir/internal/control/apikey"
)

// issuer is a real one on this machine: it signs tokens, and serves its keys.
type issuer struct {
	t     *testing.T
	url   string
	asked atomic.Int64

	mu   sync.Mutex
	keys []jose.JSONWebKey
	away bool
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{t: t}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		switch {
		case i.away:
			w.WriteHeader(http.StatusBadGateway)
		case r.URL.Path == "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.url, "jwks_uri": i.url + "/keys"})
		case r.URL.Path == "/keys":
			i.asked.Add(1)
			odd := json.RawMessage(`{"kty":"of tomorrow","kid":"odd"}`)
			all := []any{odd}
			for _, k := range i.keys {
				all = append(all, k)
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": all})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	i.url = s.URL
	return i
}

func (i *issuer) set(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

// serves adds the public half of a key.
func (i *issuer) serves(id string, key crypto.Signer) {
	i.set(func() { i.keys = append(i.keys, jose.JSONWebKey{Key: key.Public(), KeyID: id}) })
}

type claims = map[string]any

func (i *issuer) claims() claims {
	now := time.Now()
	return claims{"iss": i.url, "aud": "weir", "sub": "ada", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		"roles": []string{"analyst"}, "fleets": []string{"plant-1"}}
}

// with returns claims, some changed; nil takes one away.
func (i *issuer) with(change claims) claims {
	c := i.claims()
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, id string, c claims, header ...string) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithHeader("kid", id)
	for n := 0; n+1 < len(header); n += 2 {
		o = o.WithHeader(jose.HeaderKey(header[n]), header[n+1])
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// noKeys is a store that knows no key, and says which texts it was asked for.
type noKeys struct{ texts []string }

func (n *noKeys) Check(_ context.Context, text string) (*apikey.Key, error) {
	n.texts = append(n.texts, text)
	return nil, apikey.ErrUnknown
}

func people(t *testing.T, i *issuer, change func(*Config)) *People {
	t.Helper()
	c := Config{Issuer: i.url, Audience: "weir", Name: "sub", Roles: "roles", Fleets: "fleets", Refresh: time.Minute,
		Keep: time.Hour, Leeway: 30 * time.Second, between: time.Millisecond, patience: 30 * time.Second}
	if change != nil {
		change(&c)
	}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	p, err := Beside(&noKeys{}, c, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestTokens_OfEachKindOfKeyLetPeopleIn(t *testing.T) {
	i := newIssuer(t)
	r := rsaKey(t, 2048)
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.serves("r", r)
	i.serves("e", e)
	i.serves("d", ed)
	p := people(t, i, nil)
	for name, token := range map[string]string{
		"RSA": sign(t, jose.RS256, r, "r", i.claims()), "PSS": sign(t, jose.PS256, r, "r", i.claims()),
		"P-256": sign(t, jose.ES256, e, "e", i.claims()), "Ed25519": sign(t, jose.EdDSA, ed, "d", i.claims()),
		"no key id":     sign(t, jose.ES256, e, "", i.claims()),
		"an audience":   sign(t, jose.RS256, r, "r", i.with(claims{"aud": []string{"other", "weir"}})),
		"of access":     sign(t, jose.RS256, r, "r", i.claims(), "typ", "at+JWT"),
		"just expired":  sign(t, jose.RS256, r, "r", i.with(claims{"exp": time.Now().Add(-10 * time.Second).Unix()})),
		"nearly issued": sign(t, jose.RS256, r, "r", i.with(claims{"iat": time.Now().Add(10 * time.Second).Unix()})),
		"roles as text": sign(t, jose.RS256, r, "r", i.with(claims{"roles": "analyst other", "fleets": "plant-1"})),
	} {
		k, err := p.Check(t.Context(), token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if k.Person == nil || k.Person.Name != "ada" || k.Caller() != "ada" || k.Fleet != "plant-1" ||
			!k.Allows(apikey.Query) || k.Allows(apikey.Operate) || k.Allows(apikey.Ingest) || k.Admin {
			t.Errorf("%s: let in as %+v %+v", name, k, k.Person)
		}
	}
}

func TestTokens_AWrongOneIsRefused(t *testing.T) {
	i := newIssuer(t)
	r, other, small := rsaKey(t, 2048), rsaKey(t, 2048), rsaKey(t, 1024)
	i.serves("r", r)
	i.serves("small", small)
	secret := []byte(strings.Repeat("s", 64))
	i.set(func() {
		i.keys = append(i.keys, jose.JSONWebKey{Key: secret, KeyID: "hmac"},
			jose.JSONWebKey{Key: other.Public(), KeyID: "enc", Use: "enc"},
			jose.JSONWebKey{Key: other.Public(), KeyID: "ps", Algorithm: "PS256"})
	})
	der, err := x509.MarshalPKIXPublicKey(r.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := sign(t, jose.RS256, r, "r", i.claims())
	parts := strings.Split(good, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	forged, err := json.Marshal(i.with(claims{"roles": "admin", "fleets": "*"}))
	if err != nil {
		t.Fatal(err)
	}
	signed := func(change claims, header ...string) string {
		return sign(t, jose.RS256, r, "r", i.with(change), header...)
	}
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	own, err := json.Marshal(jose.JSONWebKey{Key: other.Public(), KeyID: "r"})
	if err != nil {
		t.Fatal(err)
	}
	p := people(t, i, nil)
	for name, c := range map[string]struct{ token, why string }{
		"alg none":           {b64([]byte(`{"alg":"none"}`)) + "." + b64(forged) + ".", "signed"},
		"alg none, signed":   {b64([]byte(`{"alg":"none","kid":"r"}`)) + "." + b64(forged) + "." + parts[2], "signed"},
		"alg NoNe":           {b64([]byte(`{"alg":"NoNe"}`)) + "." + b64(forged) + ".", "signed"},
		"no alg":             {b64([]byte(`{"kid":"r"}`)) + "." + b64(forged) + "." + parts[2], "signed"},
		"HMAC by public key": {sign(t, jose.HS256, public, "r", i.claims()), "signed"},
		"HMAC by its DER":    {sign(t, jose.HS256, der, "r", i.claims()), "signed"},
		"HMAC by their own":  {sign(t, jose.HS256, secret, "hmac", i.claims()), "signed"},
		"another key":        {sign(t, jose.RS256, other, "r", i.claims()), "not signed by the issuer"},
		"no such key":        {sign(t, jose.RS256, other, "zz", i.claims()), "not signed by the issuer"},
		"no key id":          {sign(t, jose.RS256, rsaKey(t, 2048), "", i.claims()), "not signed by the issuer"},
		"a key to encrypt":   {sign(t, jose.RS256, other, "enc", i.claims()), "not signed by the issuer"},
		"a key of other alg": {sign(t, jose.RS256, other, "ps", i.claims()), "not signed by the issuer"},
		"a short key":        {sign(t, jose.RS256, small, "small", i.claims()), "not signed by the issuer"},
		"its own key": {b64([]byte(`{"alg":"RS256","kid":"r","jwk":`+string(own)+`}`)) + "." +
			strings.SplitN(sign(t, jose.RS256, other, "r", i.claims()), ".", 2)[1], "signed"},
		"another body":      {parts[0] + "." + b64(forged) + "." + parts[2], "not signed by the issuer"},
		"no signature":      {parts[0] + "." + parts[1] + ".", "signed"},
		"crit":              {b64([]byte(`{"alg":"RS256","kid":"r","crit":["x"],"x":1}`)) + "." + parts[1] + "." + parts[2], "sign"},
		"another issuer":    {signed(claims{"iss": "https://evil.example"}), "another issuer"},
		"no issuer":         {signed(claims{"iss": nil}), "another issuer"},
		"a slash more":      {signed(claims{"iss": i.url + "/"}), "another issuer"},
		"another audience":  {signed(claims{"aud": []string{"grafana"}}), "another audience"},
		"no audience":       {signed(claims{"aud": nil}), "another audience"},
		"expired":           {signed(claims{"exp": at(-time.Minute)}), "expired"},
		"no end":            {signed(claims{"exp": nil}), "when it ends"},
		"not yet":           {signed(claims{"nbf": at(time.Hour)}), "not valid yet"},
		"issued tomorrow":   {signed(claims{"iat": at(24 * time.Hour)}), "not valid yet"},
		"an end as text":    {signed(claims{"exp": "tomorrow"}), "signed"},
		"of a logout":       {signed(nil, "typ", "logout+jwt"), "something else"},
		"nobody":            {signed(claims{"sub": nil}), "who it is for"},
		"a name as number":  {signed(claims{"sub": 7}), "signed"},
		"a name of lines":   {signed(claims{"sub": "ada\nroot"}), "who it is for"},
		"a name of screens": {signed(claims{"sub": "\x1b[2J"}), "who it is for"},
		"a long name":       {signed(claims{"sub": strings.Repeat("a", 201)}), "who it is for"},
		"too long":          {signed(claims{"x": strings.Repeat("a", tokenMost)}), "too long"},
		"no JSON":           {"ey." + parts[1] + "." + parts[2], "signed"},
	} {
		k, err := p.Check(t.Context(), c.token)
		var why *apikey.TokenError
		if !errors.As(err, &why) || !errors.Is(err, apikey.ErrUnknown) || !strings.Contains(why.Why, c.why) {
			t.Errorf("%s: %v %v, want a refusal that says %q", name, k, err, c.why)
		}
	}
	if _, err := p.Check(t.Context(), good); err != nil {
		t.Errorf("a good one after them: %v", err)
	}
	for _, text := range []string{"", "weir_abc", "ey..", "eyJ", "a.b.c", parts[0] + ".x." + parts[1] + ".y." + parts[2]} {
		if _, err := p.Check(t.Context(), text); !errors.Is(err, apikey.ErrUnknown) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// eventually checks a token until what comes is wanted.
func eventually(t *testing.T, p *People, token, what string, want func(error) bool) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err = p.Check(t.Context(), token); want(err) {
			return
		}
	}
	t.Fatalf("%s: still %v", what, err)
}

func is(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }

// down is an error that says that nobody can tell now.
func down(err error) bool { return err != nil && !errors.Is(err, apikey.ErrUnknown) }

func TestKeys_OfTheIssuerRotate(t *testing.T) {
	i := newIssuer(t)
	before, after := rsaKey(t, 2048), rsaKey(t, 2048)
	i.serves("1", before)
	p := people(t, i, nil)
	old, fresh := sign(t, jose.RS256, before, "1", i.claims()), sign(t, jose.RS256, after, "2", i.claims())
	if _, err := p.Check(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	i.serves("2", after)
	eventually(t, p, fresh, "a token by a new key", is(nil))
	i.set(func() { i.keys = i.keys[1:] })
	if _, err := p.Check(t.Context(), old); err != nil {
		t.Errorf("before the keys are asked for again: %v", err)
	}
	var ahead atomic.Int64
	p.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	ahead.Store(int64(2 * time.Minute)) // beyond refresh
	eventually(t, p, old, "a token by a key that is gone", is(apikey.ErrUnknown))
	if _, err := p.Check(t.Context(), fresh); err != nil {
		t.Error(err)
	}
}

func TestKeys_AnIssuerThatIsAwayIsWaitedForAWhile(t *testing.T) {
	i := newIssuer(t)
	key := rsaKey(t, 2048)
	i.serves("1", key)
	i.set(func() { i.away = true })
	p := people(t, i, nil)
	token := sign(t, jose.RS256, key, "1", i.with(claims{"exp": time.Now().Add(9 * time.Hour).Unix()}))
	if _, err := p.Check(t.Context(), token); !down(err) {
		t.Fatalf("no key was ever known: %v", err)
	}
	i.set(func() { i.away = false })
	eventually(t, p, token, "the issuer is back", is(nil))

	i.set(func() { i.away = true })
	p.now = func() time.Time { return time.Now().Add(30 * time.Minute) }
	if _, err := p.Check(t.Context(), token); err != nil {
		t.Errorf("the last keys count for an hour: %v", err)
	}
	eventually(t, p, sign(t, jose.RS256, rsaKey(t, 2048), "new", i.claims()), "a key that may be new", down)
	p.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if _, err := p.Check(t.Context(), token); !down(err) {
		t.Errorf("the last keys count for ever: %v", err)
	}
	if _, err := p.Check(t.Context(), "weir_x"); !errors.Is(err, apikey.ErrUnknown) {
		t.Errorf("keys of weir's own are not asked for: %v", err)
	}
	i.set(func() { i.away = false })
	p.now = time.Now
	eventually(t, p, token, "the issuer is back again", is(nil))
}

// Who makes up key ids does not make weir ask the issuer each time.
func TestKeys_AreNotAskedForByEveryStranger(t *testing.T) {
	i := newIssuer(t)
	key := rsaKey(t, 2048)
	i.serves("1", key)
	p := people(t, i, func(c *Config) { c.between = time.Hour })
	made := sign(t, jose.RS256, key, "made up", i.claims())
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := p.Check(t.Context(), made); !errors.Is(err, apikey.ErrUnknown) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// A discovery document of somebody else says nothing of this issuer.
func TestKeys_AreThoseOfTheIssuerAlone(t *testing.T) {
	i := newIssuer(t)
	key := rsaKey(t, 2048)
	i.serves("1", key)
	p := people(t, i, func(c *Config) { c.Issuer = strings.Replace(c.Issuer, "127.0.0.1", "localhost", 1) })
	if _, err := p.Check(t.Context(), sign(t, jose.RS256, key, "1", i.claims())); !down(err) {
		t.Errorf("let in by keys of another issuer: %v", err)
	}
	direct := people(t, i, func(c *Config) {
		c.KeysURL, c.Issuer = i.url+"/keys", "https://login.example.com"
	})
	if _, err := direct.Check(t.Context(), sign(t, jose.RS256, key, "1",
		i.with(claims{"iss": "https://login.example.com"}))); err != nil {
		t.Error(err)
	}
}

func TestPeople_AreWhatTheirClaimsSay(t *testing.T) {
	all := func(scopes ...apikey.Scope) string {
		var s []string
		for _, one := range scopes {
			s = append(s, string(one))
		}
		return strings.Join(s, " ")
	}
	for name, c := range map[string]struct {
		claims     claims
		change     func(*Config)
		scopes     string
		fleet      string
		everywhere bool
	}{
		"a viewer":            {claims: claims{"roles": "viewer", "fleets": "a"}, fleet: "a"},
		"an operator of two":  {claims: claims{"roles": "operator", "fleets": "a b"}, scopes: "query operate"},
		"a privacy officer":   {claims: claims{"roles": "privacy_officer", "fleets": "*"}, scopes: "query", everywhere: true},
		"an admin":            {claims: claims{"roles": "admin", "fleets": "*"}, scopes: "admin", everywhere: true},
		"an admin of a fleet": {claims: claims{"roles": "admin", "fleets": "a"}, scopes: "query operate", fleet: "a"},
		"a program":           {claims: claims{"roles": "sender", "fleets": "a"}, scopes: "ingest", fleet: "a"},
		"no roles":            {claims: claims{"fleets": "*"}, everywhere: true},
		"a role of others":    {claims: claims{"roles": "root", "fleets": "*"}, everywhere: true},
		"no fleets":           {claims: claims{"roles": "analyst"}, scopes: "query"},
		"a fleet of no name":  {claims: claims{"roles": "analyst", "fleets": "../x"}, scopes: "query"},
		"numbers":             {claims: claims{"roles": 1.0, "fleets": []any{1.0, "a"}}, fleet: "a"},
		"within an object": {claims: claims{"realm_access": map[string]any{"roles": []any{"analyst"}}, "fleets": "a"},
			change: func(c *Config) { c.Roles = "realm_access.roles" }, scopes: "query", fleet: "a"},
		"a name with dots": {claims: claims{"https://x.example/roles": []any{"analyst"}, "fleets": "a"},
			change: func(c *Config) { c.Roles = "https://x.example/roles" }, scopes: "query", fleet: "a"},
		"a map": {claims: claims{"roles": []any{"grp-7", "admin"}, "fleets": "*"},
			change: func(c *Config) { c.Map = map[string]string{"grp-7": "analyst"} }, scopes: "query", everywhere: true},
		"of all fleets": {claims: claims{"roles": "analyst", "fleets": "a"}, change: func(c *Config) { c.Fleets = "" },
			scopes: "query", everywhere: true},
	} {
		conf := Config{Name: "sub", Roles: "roles", Fleets: "fleets"}
		if c.change != nil {
			c.change(&conf)
		}
		c.claims["sub"] = "ada"
		p, err := conf.person(c.claims)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		k := p.Key()
		if all(k.Scopes...) != c.scopes || k.Fleet != c.fleet || k.Everywhere() != c.everywhere {
			t.Errorf("%s: may %v in %q, everywhere %v", name, k.Scopes, k.Fleet, k.Everywhere())
		}
	}
}

func TestConfig_OfAnIssuerThatWouldLetStrangersInIsRefused(t *testing.T) {
	good := Config{Issuer: "https://login.example.com", Audience: "weir", Name: "sub", Roles: "roles", Leeway: time.Minute}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"plain":        func(c *Config) { c.Issuer = "http://login.example.com" },
		"no URL":       func(c *Config) { c.Issuer = "login" },
		"a login":      func(c *Config) { c.Issuer = "https://a:b@login.example.com" },
		"plain keys":   func(c *Config) { c.KeysURL = "http://login.example.com/keys" },
		"no audience":  func(c *Config) { c.Audience = "" },
		"no name":      func(c *Config) { c.Name = "" },
		"wrong clocks": func(c *Config) { c.Leeway = time.Hour },
		"no such role": func(c *Config) { c.Map = map[string]string{"x": "root"} },
	} {
		c := good
		if change(&c); c.check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
