package erasure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"weir/internal/control/apikey"
	"weir/internal/control/hold"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/httpx"
)

// Handler serves the administration of erasures:
//
//	POST /v1/erasures        a Spec → 201, with the erasure; 409 when a legal hold is in the way
//	GET  /v1/erasures?fleet=&device=|person=&limit=&before=   the newest first
//	GET  /v1/erasures/{id}   how it goes; once it is done, its receipt
//
// fleets are those that there are: an erasure that names none is of the only
// one. It does not ask who calls: mount it behind Require(Admin, …).
func Handler(store *Store, holds *hold.Store, fleets func(context.Context) ([]string, error)) http.Handler {
	h := &rest{store, holds, fleets}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/erasures", h.list)
	mux.HandleFunc("POST /v1/erasures", h.create)
	mux.HandleFunc("GET /v1/erasures/{id}", h.get)
	return mux
}

type rest struct {
	store  *Store
	holds  *hold.Store
	fleets func(context.Context) ([]string, error)
}

const (
	listDefault, listMax = 100, 1000
	bodyMost             = 64 << 10
)

type invalid struct{ error }

func (h *rest) create(w http.ResponseWriter, r *http.Request) {
	spec, err := h.read(w, r)
	if err != nil {
		fail(w, err)
		return
	}
	if hold, on, err := h.holds.Held(r.Context(), spec.Fleet); err != nil {
		fail(w, err)
		return
	} else if on {
		fail(w, held{holdText(hold)})
		return
	}
	e, err := h.store.Create(r.Context(), spec, apikey.CallerFrom(r.Context()), bound)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Location", "/v1/erasures/"+e.ID)
	httpx.Answer(w, http.StatusCreated, e)
}

func (h *rest) read(w http.ResponseWriter, r *http.Request) (spec Spec, err error) {
	if err := httpx.Decode(w, r, bodyMost, &spec); err != nil {
		return spec, invalid{err}
	}
	if spec.Fleet == "" {
		spec.Fleet = apikey.FleetFrom(r.Context()) // it was given as a parameter
	}
	if spec.Fleet == "" && (spec.Device != "" || spec.Person != "") {
		fleets, err := h.fleets(r.Context())
		if err != nil {
			return spec, err
		}
		if len(fleets) != 1 {
			return spec, invalid{fmt.Errorf("fleet: name the device's fleet, one of: %s", strings.Join(fleets, ", "))}
		}
		spec.Fleet = fleets[0]
	}
	if err := spec.check(); err != nil {
		return spec, invalid{err}
	}
	return spec, nil
}

func (h *rest) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, before, bad := httpx.Before(q, h.store.now(), listDefault, listMax)
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	fleet, name := q.Get("fleet"), cmp.Or(q.Get("device"), q.Get("person"))
	if name != "" && fleet == "" {
		fail(w, invalid{errors.New("device: name its fleet too")})
		return
	}
	list, err := h.store.list(r.Context(), fleet, tombstone.Subject(fleet, name), before, limit)
	if err != nil {
		fail(w, err)
		return
	}
	httpx.Answer(w, http.StatusOK, map[string]any{"erasures": list})
}

func (h *rest) get(w http.ResponseWriter, r *http.Request) {
	e, err := h.store.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	httpx.Answer(w, http.StatusOK, e)
}

// fail answers with what is wrong with the request. Errors of the store are answered without their text.
func fail(w http.ResponseWriter, err error) {
	var bad invalid
	var kept held
	switch {
	case errors.As(err, &bad):
		httpx.Invalid(w, bad.Error())
	case errors.As(err, &kept):
		httpx.Write(w, httpx.Problem{Type: "held", Status: http.StatusConflict, Title: "The fleet is under legal hold",
			Detail: kept.Error()})
	case errors.Is(err, errNotFound):
		httpx.NotFound(w, "no erasure has this id")
	default:
		httpx.Unavailable(w, "the store of erasures", err)
	}
}
