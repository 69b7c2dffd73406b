package group

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/internal/platform/text"
)

// bodyMost is the maximum size of a request body in bytes: enough for the largest group.
const bodyMost = 16 << 20

// Handler serves the administration of groups. The parameter fleet, or the body's field, says whose they are:
//
//	GET    /v1/groups
//	PUT    /v1/groups/{name}   {"devices": […], "fleet": …}
//	GET    /v1/groups/{name}
//	DELETE /v1/groups/{name}
//
// A fleet's key sees the groups of its own fleet. Handler does not check who may change a group: mount PUT and DELETE
// behind Require(Admin, …).
func Handler(store *Store) http.Handler {
	h := &rest{store}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/groups", h.list)
	mux.HandleFunc("PUT /v1/groups/{name}", h.put)
	mux.HandleFunc("GET /v1/groups/{name}", h.get)
	mux.HandleFunc("DELETE /v1/groups/{name}", h.remove)
	return mux
}

type rest struct{ store *Store }

func (h *rest) list(w http.ResponseWriter, r *http.Request) {
	groups, err := h.store.list(r.Context(), apikey.FleetFrom(r.Context()))
	if err != nil {
		fail(w, err)
		return
	}
	if key, ok := apikey.KeyFrom(r.Context()); ok && !key.Everywhere() { // a shared group may name others' devices
		groups = slices.DeleteFunc(groups, func(g *Group) bool { return g.Fleet != key.Fleet })
	}
	if groups == nil {
		groups = []*Group{}
	}
	httpx.Answer(w, http.StatusOK, map[string]any{"groups": groups})
}

func (h *rest) put(w http.ResponseWriter, r *http.Request) {
	var g Group
	d := json.NewDecoder(text.PassBOM(http.MaxBytesReader(w, r.Body, bodyMost)))
	if err := d.Decode(&g); err != nil {
		fail(w, fmt.Errorf("%w: reading the body: %w", errInvalid, err))
		return
	}
	name := r.PathValue("name")
	if g.Name != "" && g.Name != name {
		fail(w, fmt.Errorf("%w: the body names another group", errInvalid))
		return
	}
	g.Name = name
	if g.Fleet == "" {
		g.Fleet = apikey.FleetFrom(r.Context())
	}
	if g.Fleet != "" {
		if err := apikey.ValidFleet(g.Fleet); err != nil {
			fail(w, fmt.Errorf("%w: %w", errInvalid, err))
			return
		}
	}
	kept, err := h.store.Put(r.Context(), g)
	if err != nil {
		fail(w, err)
		return
	}
	httpx.Answer(w, http.StatusOK, kept)
}

func (h *rest) get(w http.ResponseWriter, r *http.Request) {
	g, err := h.store.Get(r.Context(), apikey.FleetFrom(r.Context()), r.PathValue("name"))
	if key, ok := apikey.KeyFrom(r.Context()); ok && !key.Everywhere() && err == nil && g.Fleet != key.Fleet {
		err = ErrNotFound
	}
	if err != nil {
		fail(w, err)
		return
	}
	httpx.Answer(w, http.StatusOK, g)
}

func (h *rest) remove(w http.ResponseWriter, r *http.Request) {
	if err := h.store.delete(r.Context(), apikey.FleetFrom(r.Context()), r.PathValue("name")); err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// queryMost is the maximum number of devices in a query.
const queryMost = 10_000

// Expanding lets queries name devices by group: it replaces the parameter group by the group's devices. A fleet's key
// may use groups of its own fleet and shared ones; it still reads only its own fleet's devices, whatever the group
// names. It must run after authentication.
func Expanding(store *Store, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		names, ok := q["group"]
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		for _, name := range names {
			g, err := store.Get(r.Context(), apikey.FleetFrom(r.Context()), name)
			if err == nil && len(g.Devices) == 0 {
				err = fmt.Errorf("%w: group %q has no devices", errInvalid, name)
			}
			if err != nil {
				fail(w, err)
				return
			}
			q["device"] = append(q["device"], g.Devices...)
			if len(q["device"]) > queryMost {
				fail(w, fmt.Errorf("%w: %d devices in group %q and beside it; a query takes %d: make smaller groups, or ask for "+
					"the whole fleet",
					errInvalid, len(q["device"]), name, queryMost))
				return
			}
		}
		q.Del("group")
		expanded := r.Clone(r.Context())
		expanded.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: q.Encode()}
		next.ServeHTTP(w, expanded)
	})
}

func fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrNotFound):
		httpx.NotFound(w, "there is no group of this name; an admin key names the fleet that it belongs to in the "+
			"parameter fleet")
	case errors.Is(err, errFull):
		httpx.Write(w, httpx.Problem{Type: "too-many-groups", Status: http.StatusConflict,
			Title: "There is no room for another group", Detail: err.Error()})
	case errors.Is(err, errInvalid):
		httpx.Invalid(w, err.Error())
	default:
		httpx.Unavailable(w, "the store of groups", err)
	}
}
