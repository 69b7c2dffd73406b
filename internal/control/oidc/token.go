package oidc

import (
	"errors"
	"strings"
	"time"
	"unicode"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"weir/internal/control/apikey"
)

const (
	tokenMost = 16 << 10 // bytes
	nameMost  = 200      // bytes of a person's name
	listMost  = 100      // roles or fleets read of a claim
)

// algorithms lists the accepted signature algorithms: only asymmetric ones, so neither none nor HMAC.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256,
		jose.ES384, jose.ES512, jose.EdDSA}
}

// parsed is a token whose signature has not been verified yet.
type parsed struct {
	*jwt.JSONWebToken
	keyID string
	alg   string
}

func refused(why string) error { return &apikey.TokenError{Why: why} }

// like tells whether a text has the form of a token.
func like(text string) bool { return strings.Count(text, ".") == 2 && strings.HasPrefix(text, "ey") }

func parse(text string) (p parsed, err error) {
	if len(text) > tokenMost {
		return p, refused("is too long")
	}
	if p.JSONWebToken, err = jwt.ParseSigned(text, algorithms()); err != nil {
		return p, refused("is none that is signed as tokens are")
	}
	h := p.Headers[0]
	switch kind, _ := h.ExtraHeaders[jose.HeaderType].(string); strings.ToLower(kind) {
	case "", "jwt", "at+jwt", "application/at+jwt":
	default:
		return p, refused("is for something else")
	}
	p.keyID, p.alg = h.KeyID, h.Algorithm
	return p, nil
}

// claims verifies the signature with one of the keys, then issuer, audience and times, and returns all claims.
func (p parsed) claims(c Config, by []jose.JSONWebKey, now time.Time) (all map[string]any, err error) {
	var said jwt.Claims
	err = errors.New("no key")
	for _, key := range by {
		if key.Algorithm != "" && key.Algorithm != p.alg {
			continue
		}
		if err = p.Claims(key.Key, &said, &all); err == nil {
			break
		}
	}
	if err != nil {
		return nil, refused("is not signed by the issuer")
	}
	if said.Expiry == nil {
		return nil, refused("does not say when it ends")
	}
	switch err = said.ValidateWithLeeway(jwt.Expected{Issuer: c.Issuer, AnyAudience: jwt.Audience{c.Audience}, Time: now},
		c.Leeway); {
	case errors.Is(err, jwt.ErrExpired):
		return nil, refused("has expired")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return nil, refused("is for another audience")
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return nil, refused("is of another issuer")
	case err != nil:
		return nil, refused("is not valid yet")
	}
	return all, nil
}

// person maps claims to a person with roles and fleets.
func (c Config) person(claims map[string]any) (p apikey.Person, err error) {
	name, _ := claimOf(claims, c.Name).(string)
	if name == "" || len(name) > nameMost || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return p, refused("does not name who it is for")
	}
	p.Name = name
	for _, value := range texts(claimOf(claims, c.Roles)) {
		if r, ok := c.role(value); ok {
			p.Roles = append(p.Roles, r)
		}
	}
	if c.Fleets == "" {
		p.Fleets = []string{apikey.AllFleets}
		return p, nil
	}
	for _, fleet := range texts(claimOf(claims, c.Fleets)) {
		if fleet == apikey.AllFleets || apikey.ValidFleet(fleet) == nil {
			p.Fleets = append(p.Fleets, fleet)
		}
	}
	return p, nil
}

// claimOf returns a claim by its name, or by a dotted path into objects.
func claimOf(claims map[string]any, name string) any {
	if v, ok := claims[name]; ok {
		return v
	}
	first, rest, more := strings.Cut(name, ".")
	if in, ok := claims[first].(map[string]any); ok && more {
		return claimOf(in, rest)
	}
	return nil
}

// texts returns the words of a text claim or the texts of a list.
func texts(claim any) (list []string) {
	switch v := claim.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		for _, one := range v[:min(len(v), listMost)] {
			if text, ok := one.(string); ok {
				list = append(list, text)
			}
		}
	}
	return list
}
