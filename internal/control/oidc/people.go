package oidc

import (
	"context"
	"time"

	"weir/internal/control/apikey"
)

// People finds callers by keys or by tokens.
type People struct {
	conf Config
	by   apikey.Checker // of keys
	keys *keys
	now  func() time.Time
}

// Beside makes a checker that also knows the tokens of an issuer; warn is told
// when the issuer does not answer. It asks nobody before the first token. Close
// ends it.
func Beside(by apikey.Checker, c Config, warn func(error)) (*People, error) {
	k, err := newKeys(c, warn)
	if err != nil {
		return nil, err
	}
	return &People{conf: c, by: by, keys: k, now: time.Now}, nil
}

// Close ends what is asked of the issuer.
func (p *People) Close() { p.keys.close() }

// Check returns the active key with a text, or the person whose token it is, as a
// key. The error is an apikey.ErrUnknown, or another one when nobody can tell now.
func (p *People) Check(ctx context.Context, text string) (*apikey.Key, error) {
	if !like(text) {
		return p.by.Check(ctx, text)
	}
	token, err := parse(text)
	if err != nil {
		return nil, err
	}
	by, err := p.keys.find(ctx, token.keyID, p.now)
	if err != nil {
		return nil, err
	}
	claims, err := token.claims(p.conf, by, p.now())
	if err != nil {
		return nil, err
	}
	who, err := p.conf.person(claims)
	if err != nil {
		return nil, err
	}
	return who.Key(), nil
}
