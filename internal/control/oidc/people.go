package oidc

import (
	"context"
	"time"

	"weir/internal/control/apikey"
)

// People checks API keys and tokens.
type People struct {
	conf Config
	by   apikey.Checker // checks API keys
	keys *keys
	now  func() time.Time
}

// Beside returns a checker of tokens of an issuer that passes anything else to by. warn is called when requests to
// the issuer fail. The issuer is first asked when the first token arrives. The caller closes it.
func Beside(by apikey.Checker, c Config, warn func(error)) (*People, error) {
	k, err := newKeys(c, warn)
	if err != nil {
		return nil, err
	}
	return &People{conf: c, by: by, keys: k, now: time.Now}, nil
}

// Close stops requests to the issuer.
func (p *People) Close() { p.keys.close() }

// Check returns the active key with a text, or the person of a token in the form of a key. The error wraps
// apikey.ErrUnknown for a refused one; any other error means that it cannot be checked now.
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
