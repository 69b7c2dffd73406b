package apikey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"weir/internal/platform/httpx"
)

// Handler serves the administration of keys:
//
//	GET    /v1/keys?fleet=F      list; of all fleets without the parameter
//	POST   /v1/keys              {"fleet","scopes","device_prefix","admin","name","expires_at"} → 201, with the key's text, once
//	POST   /v1/keys/rotate       {"id" or "fleet","grace":"24h","scopes","device_prefix","name","expires_at"} → 201, with the new key's text
//	GET    /v1/keys/{id}
//	DELETE /v1/keys/{id}         revoke → 204
//
// It does not authenticate: mount it as Routes says. changed, which may be nil, is called after each change; a
// process that also checks keys passes its Cache's Refresh, so that a revocation takes effect there at once.
func Handler(store *Store, changed func(context.Context) error) http.Handler {
	h := &rest{store: store, changed: changed}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/keys", h.list)
	mux.HandleFunc("POST /v1/keys", h.create)
	mux.HandleFunc("POST /v1/keys/rotate", h.rotate)
	mux.HandleFunc("GET /v1/keys/{id}", h.get)
	mux.HandleFunc("DELETE /v1/keys/{id}", h.revoke)
	return mux
}

type rest struct {
	store   *Store
	changed func(context.Context) error
}

// wish is the body of a request to create or rotate a key.
type wish struct {
	ID           string     `json:"id"`
	Fleet        string     `json:"fleet"`
	Scopes       []Scope    `json:"scopes"`
	DevicePrefix string     `json:"device_prefix"`
	Admin        bool       `json:"admin"`
	Name         string     `json:"name"`
	ExpiresAt    *time.Time `json:"expires_at"`
	Grace        *string    `json:"grace"`
}

func (w wish) options() Options {
	o := Options{Scopes: w.Scopes, DevicePrefix: w.DevicePrefix, Admin: w.Admin, Name: w.Name}
	if w.ExpiresAt != nil {
		o.ExpiresAt = *w.ExpiresAt
	}
	return o
}

// made is a key with its text, which no later answer contains.
type made struct {
	Key
	Text string `json:"key"`
}

func (h *rest) list(w http.ResponseWriter, r *http.Request) {
	keys, err := h.store.List(r.Context(), r.URL.Query().Get("fleet"))
	if err != nil {
		fail(w, err)
		return
	}
	httpx.Answer(w, http.StatusOK, map[string]any{"keys": keys})
}

func (h *rest) get(w http.ResponseWriter, r *http.Request) {
	key, err := h.store.get(r.Context(), r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	httpx.Answer(w, http.StatusOK, key)
}

func (h *rest) create(w http.ResponseWriter, r *http.Request) {
	body, err := read(w, r)
	if err == nil && (body.Grace != nil || body.ID != "") {
		err = fmt.Errorf("%w: id and grace belong to a rotation", errInvalid)
	}
	if err != nil {
		fail(w, err)
		return
	}
	text, key, err := h.store.Create(r.Context(), body.Fleet, body.options())
	h.answer(w, r, text, key, err)
}

func (h *rest) rotate(w http.ResponseWriter, r *http.Request) {
	grace := 24 * time.Hour
	body, err := read(w, r)
	if err == nil && body.Admin {
		err = fmt.Errorf("%w: a new key may do what the one before could", errInvalid)
	}
	if err == nil && body.Grace != nil {
		if grace, err = time.ParseDuration(*body.Grace); err != nil {
			err = fmt.Errorf("%w: grace is no duration, such as 24h", errInvalid)
		}
	}
	if err != nil {
		fail(w, err)
		return
	}
	text, key, err := h.store.Rotate(r.Context(), body.Fleet, body.ID, grace, body.options())
	h.answer(w, r, text, key, err)
}

func (h *rest) revoke(w http.ResponseWriter, r *http.Request) {
	if err := h.store.Revoke(r.Context(), r.PathValue("id")); err != nil {
		fail(w, err)
		return
	}
	h.spread(r.Context())
	w.WriteHeader(http.StatusNoContent)
}

func (h *rest) answer(w http.ResponseWriter, r *http.Request, text string, key Key, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	h.spread(r.Context())
	w.Header().Set("Location", "/v1/keys/"+key.ID)
	httpx.Answer(w, http.StatusCreated, made{key, text})
}

// spread refreshes the process's own cache. An error is ignored, because the change is committed and the cache sees
// it at its next refresh.
func (h *rest) spread(ctx context.Context) {
	if h.changed != nil {
		_ = h.changed(ctx)
	}
}

func read(w http.ResponseWriter, r *http.Request) (wish, error) {
	var body wish
	if err := httpx.Decode(w, r, 16<<10, &body); err != nil {
		return body, fmt.Errorf("%w: %w", errInvalid, err)
	}
	return body, nil
}

// fail answers an invalid request with what is wrong with it, and a store error with 503 and no details.
func fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errNotFound):
		httpx.NotFound(w, err.Error())
	case errors.Is(err, errInvalid):
		httpx.Invalid(w, err.Error())
	default:
		httpx.Unavailable(w, "the key store", err)
	}
}
