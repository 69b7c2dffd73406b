package apikey

import (
	"fmt"
	"slices"
	"strings"
)

// Scope is something that a key may be allowed to do. The scopes are a closed list.
type Scope string

// The scopes.
const (
	Ingest  Scope = "ingest"  // send events of the key's fleet
	Query   Scope = "query"   // read the key's fleet
	Operate Scope = "operate" // look after the key's fleet: alerts, consents, aliases, blocks
	Admin   Scope = "admin"   // administer all fleets: keys, schemas, groups, jobs; includes all scopes but ingest
)

// What a route may require instead of a scope.
const (
	Anyone Scope = "anyone" // no key needed
	AnyKey Scope = "any key"
)

// scopes lists the scopes that a key can have, the weakest first.
func scopes() []Scope { return []Scope{Ingest, Query, Operate, Admin} }

// ofOld returns the scopes of a key made before keys had scopes: what such a key could do then.
func ofOld(admin bool) []Scope {
	if admin {
		return []Scope{Admin}
	}
	return []Scope{Ingest, Query, Operate}
}

// ParseScopes parses comma-separated names. It fails on an unknown one.
func ParseScopes(text string) ([]Scope, error) {
	var list []Scope
	for name := range strings.SplitSeq(text, ",") {
		list = append(list, Scope(strings.TrimSpace(name)))
	}
	return inOrder(list)
}

// inOrder returns each scope of list once, in the order of scopes. It fails on an unknown one.
func inOrder(list []Scope) (sorted []Scope, err error) {
	for _, s := range list {
		if !slices.Contains(scopes(), s) {
			return nil, fmt.Errorf("%w: %q is no scope: expected %s", errInvalid, s, join(scopes(), ", "))
		}
	}
	for _, s := range scopes() {
		if slices.Contains(list, s) {
			sorted = append(sorted, s)
		}
	}
	return sorted, nil
}

func join(list []Scope, between string) string {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = string(s)
	}
	return strings.Join(names, between)
}

// validPrefix checks that a device prefix has only characters of a device_id.
func validPrefix(prefix string) error {
	ok := len(prefix) <= 128
	for i := 0; i < len(prefix); i++ {
		c := prefix[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._:-", c) >= 0)
	}
	if !ok {
		return fmt.Errorf("%w: the device prefix must be up to 128 of letters, digits, '.', '_', ':' and '-'", errInvalid)
	}
	return nil
}
