package hold

import (
	"fmt"
	"net/http"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
)

// bodyMost is the maximum size of a request body in bytes.
const bodyMost = 16 << 10

// Handler serves the administration of holds:
//
//	GET    /v1/holds?past=true   in force; with past also those released
//	PUT    /v1/holds/{fleet}     {"reason": "…"}
//	GET    /v1/holds/{fleet}
//	DELETE /v1/holds/{fleet}     → the hold as it was released
//
// Handler does not authenticate: mount it behind Require(Admin, …).
func Handler(store *Store) http.Handler {
	h := &rest{store}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/holds", h.list)
	mux.HandleFunc("PUT /v1/holds/{fleet}", h.place)
	mux.HandleFunc("GET /v1/holds/{fleet}", h.get)
	mux.HandleFunc("DELETE /v1/holds/{fleet}", h.release)
	return mux
}

type rest struct{ store *Store }

func (h *rest) list(w http.ResponseWriter, r *http.Request) {
	past := r.URL.Query().Get("past")
	if past != "" && past != "true" && past != "false" {
		answer(w, nil, fmt.Errorf("%w: past: expected true or false", errInvalid))
		return
	}
	holds, err := h.store.List(r.Context(), past == "true")
	answer(w, map[string]any{"holds": holds}, err)
}

func (h *rest) place(w http.ResponseWriter, r *http.Request) {
	var wish struct {
		Reason string `json:"reason"`
	}
	if err := httpx.Decode(w, r, bodyMost, &wish); err != nil {
		answer(w, nil, fmt.Errorf("%w: %w", errInvalid, err))
		return
	}
	held, err := h.store.Place(r.Context(), r.PathValue("fleet"), wish.Reason, apikey.CallerFrom(r.Context()))
	answer(w, held, err)
}

func (h *rest) get(w http.ResponseWriter, r *http.Request) {
	held, ok, err := h.store.Held(r.Context(), r.PathValue("fleet"))
	if err == nil && !ok {
		err = errNotFound
	}
	answer(w, held, err)
}

func (h *rest) release(w http.ResponseWriter, r *http.Request) {
	held, err := h.store.Release(r.Context(), r.PathValue("fleet"), apikey.CallerFrom(r.Context()))
	answer(w, held, err)
}

func answer(w http.ResponseWriter, body any, err error) {
	httpx.Outcomes{Store: "the store of holds", Invalid: errInvalid, Missing: errNotFound,
		None: "this fleet is not held"}.Answer(w, body, err)
}
