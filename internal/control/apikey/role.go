package apikey

import (
	"cmp"
	"slices"
	"strings"

	"weir/internal/platform/httpx"
)

// Role is a role of a person who signs in with a token of an issuer instead of an API key. The roles are a closed
// list; each has scopes.
type Role string

// The roles. Route.Also admits some of them beyond their scopes.
const (
	Viewer         Role = "viewer"          // sees sums and counts, but no events
	Analyst        Role = "analyst"         // also reads events, dead letters and rule results: scope query
	Operator       Role = "operator"        // also looks after fleets: scopes query and operate
	PrivacyOfficer Role = "privacy_officer" // scope query; also consents, identities, erasures, holds and the audit log
	Administrator  Role = "admin"           // scope admin if the person is of all fleets, else query and operate
	Sender         Role = "sender"          // a program that sends events of one fleet: scope ingest
)

// AllFleets stands for all fleets in Person.Fleets.
const AllFleets = "*"

// Roles lists all roles.
func Roles() []Role { return []Role{Viewer, Analyst, Operator, PrivacyOfficer, Administrator, Sender} }

// scopes returns the scopes of a role; everywhere says whether the person is of all fleets.
func (r Role) scopes(everywhere bool) []Scope {
	switch r {
	case Analyst, PrivacyOfficer:
		return []Scope{Query}
	case Operator:
		return []Scope{Query, Operate}
	case Administrator:
		if everywhere {
			return []Scope{Admin}
		}
		return []Scope{Query, Operate} // an administrator must be of all fleets
	case Sender:
		return []Scope{Ingest}
	}
	return nil
}

// Person is a caller who sent a token instead of an API key.
type Person struct {
	Name   string // the name in the audit log
	Roles  []Role
	Fleets []string // AllFleets means all
}

// Key returns what the person may do in the form of a key.
func (p Person) Key() *Key {
	k := &Key{Person: &p}
	everywhere := slices.Contains(p.Fleets, AllFleets)
	for _, s := range scopes() {
		if slices.ContainsFunc(p.Roles, func(r Role) bool { return slices.Contains(r.scopes(everywhere), s) }) {
			k.Scopes = append(k.Scopes, s)
		}
	}
	k.Admin = slices.Contains(k.Scopes, Admin)
	if len(p.Fleets) == 1 && !everywhere {
		k.Fleet = p.Fleets[0]
	}
	return k
}

// Caller returns the key's id, or the person's name.
func (k *Key) Caller() string {
	if k.Person != nil {
		return k.Person.Name
	}
	return k.ID
}

// Everywhere tells whether the caller may see all fleets.
func (k *Key) Everywhere() bool {
	return k.Admin || k.Person != nil && slices.Contains(k.Person.Fleets, AllFleets)
}

// Is tells whether the caller is a person with one of the roles.
func (k *Key) Is(roles ...Role) bool {
	return k.Person != nil && slices.ContainsFunc(roles, func(r Role) bool { return slices.Contains(k.Person.Roles, r) })
}

// may tells whether the route admits the caller by scope or by role; it does not look at the fleet.
func (k *Key) may(to Route) bool { return k.Allows(to.Scope) || k.Is(to.Also...) }

// ofFleet returns the key limited to one of a person's fleets, the one that the request is about.
func (k *Key) ofFleet(fleet string) *Key {
	if k.Person == nil || k.Everywhere() || k.Fleet == fleet {
		return k
	}
	one := *k
	one.Fleet = fleet
	return &one
}

// reaches tells whether the caller may name the fleet in a request.
func (k *Key) reaches(fleet string) bool {
	return fleet == k.Fleet || k.Everywhere() || k.Person != nil && slices.Contains(k.Person.Fleets, fleet)
}

// who is how refusals call the caller.
func (k *Key) who() string {
	if k.Person != nil {
		return "the person"
	}
	return "the key"
}

// lacksRole returns the refusal of a person none of whose roles has the scope.
func (k *Key) lacksRole(s Scope) *Refusal {
	names := make([]string, len(k.Person.Roles))
	for i, r := range k.Person.Roles {
		names[i] = string(r)
	}
	r := k.forbidden("your roles are " + cmp.Or(strings.Join(names, ", "), "none") + "; this needs one with the scope " +
		string(s))
	r.problem.Extra = map[string]any{"missing_scope": s}
	r.Detail = k.who() + " lacks the scope " + string(s)
	return r
}

// TokenError says why a token is refused. Why is a fixed text that contains nothing of the token.
type TokenError struct{ Why string }

func (e *TokenError) Error() string { return "the token " + e.Why }
func (e *TokenError) Unwrap() error { return ErrUnknown }

// refusedToken returns the refusal of a token.
func refusedToken(e *TokenError) Refusal {
	return Refusal{Reason: ReasonUnauthorized, Detail: e.Error(), problem: httpx.Problem{Type: "unauthorized",
		Status: 401, Title: "A valid token is required", Detail: e.Error() + ": get a new one from the issuer"}}
}
