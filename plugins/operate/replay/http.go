package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
)

// GroupDevices returns the devices of a group, as a fleet sees it. An error
// that wraps ErrNotFound says that there is none.
type GroupDevices func(ctx context.Context, fleet, name string) ([]string, error)

// Handler serves the administration of replays:
//
//	POST /v1/replays              a Spec → 201, with the job; "dry_run": true publishes nothing
//	GET  /v1/replays?log=&state=&limit=&before=   the newest first
//	GET  /v1/replays/{id}         the job, its progress, what it found
//	POST /v1/replays/{id}/pause | resume | cancel
//	POST /v1/replays/estimate     a Spec → an Estimate; makes nothing
//
// A job is of the log that its spec names, or the parameter log. What is stored is of
// the logs that there are, by their names.
//
// It does not ask who calls: mount it behind Require(Admin, …).
func Handler(store *Store, groups GroupDevices, stored map[string]Stored) http.Handler {
	h := &rest{store: store, groups: groups, stored: stored, slots: httpx.NewSlots(estimates, estimateMost)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/replays", h.list)
	mux.HandleFunc("POST /v1/replays", h.create)
	mux.HandleFunc("POST /v1/replays/estimate", h.estimate)
	mux.HandleFunc("GET /v1/replays/{id}", h.get)
	mux.HandleFunc("POST /v1/replays/{id}/pause", h.change(store.pause))
	mux.HandleFunc("POST /v1/replays/{id}/resume", h.change(store.resume))
	mux.HandleFunc("POST /v1/replays/{id}/cancel", h.change(store.cancel))
	return mux
}

type rest struct {
	store  *Store
	groups GroupDevices
	stored map[string]Stored
	slots  *httpx.Slots
}

const (
	listDefault, listMax = 100, 1000
	bodyMost             = 16 << 20 // as many devices as a job takes
)

type invalid struct{ error }

func (h *rest) create(w http.ResponseWriter, r *http.Request) {
	spec, err := h.read(w, r, "")
	if err != nil {
		fail(w, err)
		return
	}
	j, err := h.store.Create(r.Context(), spec, apikey.CallerFrom(r.Context()), httpx.RequestIDOf(w))
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Location", "/v1/replays/"+j.ID)
	httpx.Answer(w, http.StatusCreated, j.shown())
}

// estimate answers what the job would come to that create makes of the same body.
func (h *rest) estimate(w http.ResponseWriter, r *http.Request) {
	spec, err := h.read(w, r, "an estimate")
	if err != nil {
		fail(w, err)
		return
	}
	ctx, done, ok := h.slots.Take(w, r)
	if !ok {
		return
	}
	defer done()
	e, err := h.stored[spec.Log].estimate(ctx, &spec, h.store)
	if err != nil {
		httpx.Unavailable(w, "the store that the replay would read", err)
		return
	}
	httpx.Answer(w, http.StatusOK, e)
}

// read reads a spec. A reason that is left out is the one given; "" asks for it.
func (h *rest) read(w http.ResponseWriter, r *http.Request, reason string) (Spec, error) {
	var spec Spec
	if err := httpx.Decode(w, r, bodyMost, &spec); err != nil {
		return spec, invalid{err}
	}
	spec.Reason = cmp.Or(spec.Reason, reason)
	switch named := r.URL.Query().Get("log"); {
	case spec.Log == "":
		spec.Log = named
	case named != "" && named != spec.Log:
		return spec, invalid{errors.New("log: the request is of another one than the job")}
	}
	if spec.Fleet == "" {
		spec.Fleet = apikey.FleetFrom(r.Context()) // named as a parameter
	}
	if spec.Fleet != "" {
		if err := apikey.ValidFleet(spec.Fleet); err != nil {
			return spec, invalid{err}
		}
	}
	if spec.Group != "" {
		if len(spec.Devices) > 0 {
			return spec, invalid{errors.New("group: name a group or devices, not both")}
		}
		devices, err := h.groups(r.Context(), spec.Fleet, spec.Group)
		switch {
		case errors.Is(err, ErrNotFound):
			return spec, invalid{fmt.Errorf("group: there is no group %q: make it with PUT /v1/groups/%s", spec.Group,
				spec.Group)}
		case err != nil:
			return spec, err
		case len(devices) == 0:
			return spec, invalid{fmt.Errorf("group: %q has no devices", spec.Group)}
		}
		spec.Devices = devices
	}
	if err := spec.check(h.store.now().UTC()); err != nil {
		return spec, invalid{err}
	}
	if _, kept := h.stored[spec.Log]; !kept {
		return spec, invalid{fmt.Errorf("log: this api has nothing of %s: see its field also", spec.Log)}
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
	log := q.Get("log")
	if log != "" {
		if _, err := event.LogOf(log); err != nil {
			httpx.Write(w, *httpx.Bad("log", "%v", err))
			return
		}
	}
	jobs, err := h.store.list(r.Context(), log, State(q.Get("state")), before, limit)
	if err != nil {
		fail(w, err)
		return
	}
	httpx.Answer(w, http.StatusOK, map[string]any{"replays": jobs}) // the store has shown them
}

func (h *rest) get(w http.ResponseWriter, r *http.Request) {
	j, err := h.store.get(r.Context(), r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	httpx.Answer(w, http.StatusOK, j.shown())
}

func (h *rest) change(do func(context.Context, string) (*Job, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		j, err := do(r.Context(), r.PathValue("id"))
		if errors.Is(err, errState) {
			httpx.Write(w, httpx.Problem{Type: "wrong-state", Status: http.StatusConflict,
				Title: "The replay's state does not allow that",
				Detail: fmt.Sprintf("the replay is %s; what waits or runs can be paused, what is paused or has failed resumed, "+
					"and what has not ended cancelled", j.State)})
			return
		}
		if err != nil {
			fail(w, err)
			return
		}
		httpx.Answer(w, http.StatusOK, j.shown())
	}
}

// fail says what is wrong with the request; what is wrong with the store stays
// inside, but for the fact.
func fail(w http.ResponseWriter, err error) {
	var bad invalid
	switch {
	case errors.As(err, &bad):
		httpx.Invalid(w, bad.Error())
	case errors.Is(err, ErrNotFound):
		httpx.NotFound(w, "no replay has this id")
	default:
		httpx.Unavailable(w, "the store of replays", err)
	}
}
