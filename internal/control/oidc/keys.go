package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"weir/internal/platform/httpx"
	"weir/internal/platform/live"
)

const (
	answerMost = 1 << 20 // bytes read of an answer
	keysMost   = 100     // keys read of an issuer
	rsaLeast   = 2048    // bits of an RSA key

	askEvery = 10 * time.Second // minimum interval, so that invented key ids cause no flood
	askMost  = 5 * time.Second  // timeout of both requests together
	waitMost = 3 * time.Second  // how long a request waits for keys
)

// keySet is the signing keys of an issuer.
type keySet []jose.JSONWebKey

// of returns the keys with an id, or all when id is "", but at most eight: each has to be tried.
func (s keySet) of(id string) (some []jose.JSONWebKey) {
	for _, k := range s {
		if (id == "" || k.KeyID == id) && len(some) < 8 {
			some = append(some, k)
		}
	}
	return some
}

// keys caches the issuer's keys and requests them, one request at a time.
type keys struct {
	live.Asked[keySet]
	conf   Config
	client *http.Client
	life   context.Context
	end    context.CancelFunc
	warn   func(error)
}

func newKeys(c Config, warn func(error)) (*keys, error) {
	client := &http.Client{}
	if c.CA != "" {
		var err error
		if client, err = httpx.Trusting(c.CA); err != nil {
			return nil, err
		}
	}
	// Do not follow redirects: their target does not speak for the issuer.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	k := &keys{conf: c, client: client, warn: warn}
	k.Every, k.Most, k.Ask, k.Patience = askEvery, askMost, k.ask, 1 // Patience 1: do not back off after a slow answer
	if c.between > 0 {
		k.Every = c.between
	}
	k.life, k.end = context.WithCancel(context.Background())
	return k, nil
}

// close cancels a running request and prevents new ones.
func (k *keys) close() {
	k.end()
	k.Stop()
}

// ask requests the issuer's keys, and before them their URL unless it is configured.
func (k *keys) ask(ctx context.Context) (set keySet, err error) {
	defer func() {
		if err != nil && k.life.Err() == nil {
			k.warn(fmt.Errorf("reading the keys of the issuer; those before count for %s: %w", k.conf.Keep, err))
		}
	}()
	at := k.conf.KeysURL
	if at == "" {
		var d struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		if err := k.get(ctx, k.conf.discovery(), &d); err != nil {
			return nil, err
		}
		if d.Issuer != k.conf.Issuer {
			return nil, fmt.Errorf("its discovery document is of another issuer than %s", k.conf.Issuer)
		}
		if err := secure("jwks_uri", d.Keys); err != nil {
			return nil, err
		}
		at = d.Keys
	}
	var all struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, at, &all); err != nil {
		return nil, err
	}
	for _, raw := range all.Keys[:min(len(all.Keys), keysMost)] {
		var one jose.JSONWebKey
		if one.UnmarshalJSON(raw) == nil && signs(one) { // skip keys of other kinds
			set = append(set, one)
		}
	}
	if len(set) == 0 {
		return nil, fmt.Errorf("%s has no key that signs", at)
	}
	return set, nil
}

// signs tells whether a key is public and may sign tokens.
func signs(k jose.JSONWebKey) bool {
	if !k.Valid() || !k.IsPublic() || k.Use != "" && k.Use != "sig" {
		return false
	}
	if r, ok := k.Key.(*rsa.PublicKey); ok && r.N.BitLen() < rsaLeast {
		return false
	}
	return true
}

func (k *keys) get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("asking the issuer: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the issuer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // the body was read; nothing to do about an error
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the issuer: %s answered %d", url, resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, answerMost)).Decode(into); err != nil {
		return fmt.Errorf("asking the issuer: what %s answered is no JSON of up to 1 MiB: %w", url, err)
	}
	return nil
}

// find returns the keys with an id, or any for "". It waits for a request to the issuer when the id is unknown or the
// cached keys are older than keep; keys older than refresh are returned while a request runs in the background. The
// error says that the token cannot be checked now.
func (k *keys) find(ctx context.Context, id string, now func() time.Time) ([]jose.JSONWebKey, error) {
	set, at, _ := k.Last()
	if set != nil {
		age := now().Sub(at)
		if some := set.of(id); len(some) > 0 && age < k.conf.Keep {
			if age >= k.conf.Refresh {
				k.Poke(k.life)
			}
			return some, nil
		}
	}
	wait := waitMost
	if k.conf.patience > 0 {
		wait = k.conf.patience
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	k.Refresh(ctx, k.life)
	set, at, err := k.Last()
	switch {
	case set == nil && err == nil:
		return nil, fmt.Errorf("the issuer has not answered yet")
	case err != nil && (set == nil || now().Sub(at) >= k.conf.Keep || len(set.of(id)) == 0):
		return nil, err // an unknown key may be a new one
	case now().Sub(at) >= k.conf.Keep:
		return nil, fmt.Errorf("the issuer has not answered for %s", k.conf.Keep)
	}
	return set.of(id), nil
}
