package apikey

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"weir/internal/platform/httpx"
)

// FromRequest returns the key's text from X-API-Key or Authorization: Bearer,
// "" when the request has neither.
func FromRequest(r *http.Request) string {
	if k := r.Header.Get("X-Api-Key"); k != "" {
		return k
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}

// Checker finds the active key with a text: a Cache, or in tests a fake.
type Checker interface {
	Check(ctx context.Context, text string) (*Key, error)
}

// Authenticator lets requests through to HTTP handlers by their key.
type Authenticator struct {
	Keys Checker
}

type keyKey struct{}
type fleetKey struct{}

// KeyFrom returns the key that the request was let through with.
func KeyFrom(ctx context.Context) (*Key, bool) {
	k, ok := ctx.Value(keyKey{}).(*Key)
	return k, ok
}

// FleetFrom returns the fleet that the request may see: the key's own, or the
// one that an admin named. It is "" only for an admin who named none, which
// Require allows for the scope Admin alone.
func FleetFrom(ctx context.Context) string {
	fleet, _ := ctx.Value(fleetKey{}).(string)
	return fleet
}

// Require lets a request through when its key allows the scope. An admin key
// that queries names the fleet in the parameter "fleet"; a fleet's key may
// name its own.
func (a *Authenticator) Require(scope Scope, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, err := a.Keys.Check(r.Context(), FromRequest(r))
		if err != nil {
			Refuse(w, err)
			return
		}
		if !key.Allows(scope) {
			Forbid(w, scope)
			return
		}
		fleet := key.Fleet
		if named := r.URL.Query().Get("fleet"); named != "" && named != fleet {
			if !key.Admin {
				httpx.Write(w, httpx.Problem{Type: "forbidden", Status: http.StatusForbidden,
					Title: "This API key may not do that", Detail: "the key belongs to another fleet"})
				return
			}
			if err := ValidFleet(named); err != nil {
				httpx.Write(w, httpx.Problem{Type: "bad-request", Status: http.StatusBadRequest,
					Title: "The request is not valid", Detail: err.Error()})
				return
			}
			fleet = named
		}
		if fleet == "" && scope != Admin {
			httpx.Write(w, httpx.Problem{Type: "bad-request", Status: http.StatusBadRequest,
				Title: "The request is not valid", Detail: "an admin key names the fleet in the parameter fleet"})
			return
		}
		ctx := context.WithValue(context.WithValue(r.Context(), keyKey{}, key), fleetKey{}, fleet)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Refuse answers a request whose key could not be accepted.
func Refuse(w http.ResponseWriter, err error) {
	if !errors.Is(err, ErrUnknown) {
		w.Header().Set("Retry-After", "5")
		httpx.Write(w, httpx.Problem{Type: "unavailable", Status: http.StatusServiceUnavailable,
			Title: "Temporarily unavailable", Detail: "the API key cannot be checked now: try again"})
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="weir"`)
	httpx.Write(w, httpx.Problem{Type: "unauthorized", Status: http.StatusUnauthorized,
		Title:  "A valid API key is required",
		Detail: "send an active key in X-API-Key or in Authorization: Bearer"})
}

// Forbid answers a request whose key does not allow what it asks for.
func Forbid(w http.ResponseWriter, scope Scope) {
	httpx.Write(w, httpx.Problem{Type: "forbidden", Status: http.StatusForbidden,
		Title: "This API key may not do that", Detail: "the key does not have the scope " + string(scope)})
}
