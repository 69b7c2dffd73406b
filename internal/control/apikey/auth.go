package apikey

import (
	"context"
	"net/http"
	"net/url"
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

// Checker finds the active key that has a text: a Cache, or a fake in tests. Check fails with ErrUnknown when there is
// none; any other error means that it cannot be checked now.
type Checker interface {
	Check(ctx context.Context, text string) (*Key, error)
}

// Authenticator authorizes HTTP requests by their key.
type Authenticator struct {
	Keys Checker
	// Refused, unless nil, is called with each refused request and its request id before the refusal is written.
	Refused func(r *http.Request, id string, to Route, why Refusal)
}

type keyKey struct{}
type fleetKey struct{}

// KeyFrom returns the key that authorized the request.
func KeyFrom(ctx context.Context) (*Key, bool) {
	k, ok := ctx.Value(keyKey{}).(*Key)
	return k, ok
}

// CallerFrom returns the id of the request's API key, or the name of the person who sent a token; "" when the request
// carries neither.
func CallerFrom(ctx context.Context) string {
	if k, ok := KeyFrom(ctx); ok {
		return k.Caller()
	}
	return ""
}

// FleetFrom returns the fleet that the request may see: the key's own, or the one named in the parameter fleet. It is
// "" only for a caller of all fleets who named none, which Require allows on routes that are Unnamed.
func FleetFrom(ctx context.Context) string {
	fleet, _ := ctx.Value(fleetKey{}).(string)
	return fleet
}

// Require passes a request on to next only when its key has what the route requires; otherwise it answers with a
// refusal. A caller of all fleets names one in the parameter "fleet"; a fleet's key may name its own.
func (a *Authenticator) Require(to Route, next http.Handler) http.Handler {
	if to.Scope == Anyone {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := FromRequest(r)
		key, err := a.Keys.Check(r.Context(), text)
		if err != nil {
			a.refuse(w, r, to, Unchecked(text, err))
			return
		}
		fleet, why := key.enter(to, r)
		if why != nil {
			a.refuse(w, r, to, *why)
			return
		}
		ctx := context.WithValue(context.WithValue(r.Context(), keyKey{}, key.ofFleet(fleet)), fleetKey{}, fleet)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// enter returns the fleet that the request is about, or the reason why the key is refused.
func (k *Key) enter(to Route, r *http.Request) (fleet string, why *Refusal) {
	if !k.may(to) {
		return "", k.lacks(to.Scope)
	}
	if to.Scope == Admin && !k.Everywhere() { // true of people admitted by Route.Also
		return "", k.forbidden("this is of all fleets, and you are of some")
	}
	q := r.URL.Query()
	fleet = k.Fleet
	if named := q.Get("fleet"); named != "" && named != fleet {
		if !k.reaches(named) {
			return "", k.forbidden(k.who() + " belongs to another fleet")
		}
		if err := ValidFleet(named); err != nil {
			return "", badRequest(err.Error())
		}
		fleet = named
	}
	if fleet == "" && !k.Everywhere() && to.Reach != NoDevices {
		return "", k.forbidden("name one of your fleets in the parameter fleet")
	}
	if fleet == "" && !to.Unnamed {
		return "", badRequest("an admin key names the fleet in the parameter fleet")
	}
	return fleet, k.within(to, q, r)
}

// within refuses a request that reaches beyond the key's device prefix.
func (k *Key) within(to Route, q url.Values, r *http.Request) *Refusal {
	if k.DevicePrefix == "" {
		return nil
	}
	var devices []string
	switch to.Reach {
	case NoDevices, ByHandler:
		return nil
	case WholeFleet:
		return k.beyond("this is of the whole fleet")
	case ByPath:
		devices = []string{r.PathValue("id")}
	case ByQuery:
		if q.Has("group") {
			return k.beyond("name devices, not groups")
		}
		for _, list := range q["device"] {
			devices = append(devices, strings.Split(list, ",")...)
		}
	}
	if len(devices) == 0 {
		return k.beyond("name them in the parameter device")
	}
	for _, d := range devices {
		if !k.Covers(d) {
			return k.beyond("ask for those")
		}
	}
	return nil
}

func (a *Authenticator) refuse(w http.ResponseWriter, r *http.Request, to Route, why Refusal) {
	if a.Refused != nil {
		a.Refused(r, httpx.RequestIDOf(w), to, why)
	}
	why.write(w)
}
