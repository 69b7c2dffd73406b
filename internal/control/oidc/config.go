// Package oidc authenticates people by tokens of an OpenID Connect issuer: it verifies them with the issuer's keys
// and maps their claims to a person with roles and fleets. It stores no token and requests nothing but keys from the
// issuer.
package oidc

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/platform/conf"
)

const (
	field         = "oidc" // name of the object field
	fieldIssuer   = "issuer"
	fieldAudience = "audience"
	fieldKeys     = "jwks_url"
	fieldCA       = "ca_file"
	fieldName     = "name_claim"
	fieldRoles    = "roles_claim"
	fieldFleets   = "fleets_claim"
	fieldMap      = "roles"
	fieldRefresh  = "refresh"
	fieldKeep     = "keep"
	fieldLeeway   = "leeway"
)

// mostLeeway bounds the clock difference that can be configured.
const mostLeeway = 5 * time.Minute

// ConfigField is the config field of token authentication.
func ConfigField() *service.ConfigField {
	return service.NewObjectField(field,
		service.NewStringField(fieldIssuer).Secret().
			Description("The issuer, as tokens name it in `iss`: an https URL. Empty: there are keys alone.").
			Example("https://login.example.com/realms/plant").Default(""),
		service.NewStringField(fieldAudience).
			Description("What tokens must name in `aud`: how the issuer knows this weir.").Default(""),
		service.NewStringField(fieldKeys).Secret().
			Description("Where the issuer's keys are. Empty: where its discovery document says.").Default("").Advanced(),
		service.NewStringField(fieldCA).
			Description("The CA of the issuer's certificate, as a PEM file. Empty: those of the system.").Default(""),
		service.NewStringField(fieldName).
			Description("The claim that names the person in the audit log, such as `sub` or `email`.").Default("sub"),
		service.NewStringField(fieldRoles).
			Description("The claim with the roles, a text or a list; a dot goes into an object, as in "+
				"`realm_access.roles`.").Default("roles"),
		service.NewStringField(fieldFleets).
			Description("The claim with the fleets, a text or a list; `*` is all. Empty: everybody is of all fleets.").
			Default("fleets"),
		service.NewStringMapField(fieldMap).
			Description("The role that each value of the claim stands for. Where there are no entries, a value stands for "+
				"the role of its name; where there are, one that is not among them stands for none.").
			Default(map[string]any{}).Example(map[string]any{"grp-iot-ops": "operator"}),
		service.NewDurationField(fieldRefresh).
			Description("The issuer's keys are asked for again after this, and, at most once in ten seconds, when a token "+
				"names one that is not known.").Default("5m").Advanced(),
		service.NewDurationField(fieldKeep).
			Description("How long keys count when the issuer does not answer. After that tokens are answered 503; API keys "+
				"go on.").Default("1h").Advanced(),
		service.NewDurationField(fieldLeeway).
			Description("How far the issuer's clock may be from this one's, at most 5m.").Default("30s").Advanced(),
	).Description("Lets people in by bearer tokens of an OpenID Connect issuer, beside API keys.")
}

// Config says how tokens are checked. The zero value accepts none.
type Config struct {
	Issuer, Audience  string
	KeysURL, CA       string
	Name              string // names of claims
	Roles, Fleets     string
	Map               map[string]string
	Refresh, Keep     time.Duration
	Leeway            time.Duration
	between, patience time.Duration // tests: time between key requests, and how long a request waits for one
}

// On tells whether there is an issuer.
func (c Config) On() bool { return c.Issuer != "" }

// FromParsed reads ConfigField.
func FromParsed(parsed *service.ParsedConfig) (c Config, err error) {
	p := parsed.Namespace(field)
	if err := conf.Read(p, fieldIssuer, &c.Issuer, fieldAudience, &c.Audience, fieldKeys, &c.KeysURL, fieldCA, &c.CA,
		fieldName, &c.Name, fieldRoles, &c.Roles, fieldFleets, &c.Fleets, fieldMap, &c.Map,
		fieldRefresh, conf.Positive(&c.Refresh), fieldKeep, conf.Positive(&c.Keep),
		fieldLeeway, conf.NotNegative(&c.Leeway)); err != nil || !c.On() {
		return c, err
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("reading %s: %w", field, err)
	}
	return c, nil
}

func (c Config) check() error {
	wrong := []error{secure(fieldIssuer, c.Issuer)}
	if c.KeysURL != "" {
		wrong = append(wrong, secure(fieldKeys, c.KeysURL))
	}
	if c.Audience == "" {
		wrong = append(wrong, fmt.Errorf("%s is missing: tokens for anybody else would be let in", fieldAudience))
	}
	if c.Name == "" || c.Roles == "" {
		wrong = append(wrong, fmt.Errorf("%s and %s must name claims", fieldName, fieldRoles))
	}
	if c.Leeway > mostLeeway {
		wrong = append(wrong, fmt.Errorf("%s: expected at most %s", fieldLeeway, mostLeeway))
	}
	for value, role := range c.Map {
		if !slices.Contains(apikey.Roles(), apikey.Role(role)) {
			wrong = append(wrong, fmt.Errorf("%s: %q stands for %q, which is no role: expected one of %v", fieldMap, value, role,
				apikey.Roles()))
		}
	}
	return errors.Join(wrong...)
}

// secure checks that a URL is https, or http on the loopback interface, and has no login.
func secure(name, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return fmt.Errorf("%s: expected an https URL without a login", name)
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme == "https" || u.Scheme == "http" && local {
		return nil
	}
	return fmt.Errorf("%s: expected https: who is on the way could make keys of their own", name)
}

// role returns the role that a claim's value stands for, false when there is none.
func (c Config) role(value string) (apikey.Role, bool) {
	r := apikey.Role(value)
	if len(c.Map) > 0 {
		r = apikey.Role(c.Map[value])
	}
	return r, slices.Contains(apikey.Roles(), r)
}

// discovery returns the URL of the issuer's discovery document.
func (c Config) discovery() string {
	return strings.TrimRight(c.Issuer, "/") + "/.well-known/openid-configuration"
}
