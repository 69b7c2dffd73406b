package block

import (
	_ "embed" // openapi.json
	"fmt"
	"net/http"
	"net/url"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes the endpoints of blocks, to be merged into the API's document.
func OpenAPI() []byte { return openAPI }

const (
	bodyMost = 16 << 10 // bytes of a request body
	pageMost = 1000
	page     = 100
)

// Handler serves the blocks of the key's fleet:
//
//	GET    /v1/blocks?kind=…&subject=…&past=…  in force; with past=true also those that are over
//	PUT    /v1/blocks                          {"kind": "device", "subject": "…", "until": "…", "reason": "…"}
//	DELETE /v1/blocks?kind=…&subject=…         → how many were lifted
//
// The subject is never in the path, because paths are in the audit log, where erasures change only details. Handler
// does not authenticate: mount it behind Require(Operate, …).
func Handler(store *Store) http.Handler {
	h := &rest{store}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/blocks", h.list)
	mux.HandleFunc("PUT /v1/blocks", h.put)
	mux.HandleFunc("DELETE /v1/blocks", h.lift)
	return mux
}

type rest struct{ store *Store }

// parsed reads the parameters of a request. When it returns false, it has answered with what is invalid.
func parsed(w http.ResponseWriter, r *http.Request, names ...string) (url.Values, bool) {
	v, bad := httpx.Parse(r, append(names, "fleet"), nil)
	if bad != nil {
		httpx.Write(w, *bad)
	}
	return v, bad == nil
}

func (h *rest) list(w http.ResponseWriter, r *http.Request) {
	v, ok := parsed(w, r, "kind", "subject", "past", "limit")
	if !ok {
		return
	}
	limit, bad := httpx.Limit(v, page, pageMost)
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	q := Query{Kind: Kind(v.Get("kind")), Subject: v.Get("subject"), Past: v.Get("past") == "true", Limit: limit}
	if past := v.Get("past"); past != "" && past != "true" && past != "false" {
		answer(w, nil, fmt.Errorf("%w: past: expected true or false", errInvalid))
		return
	}
	if q.Kind != "" && q.Kind != Device && q.Kind != User {
		answer(w, nil, fmt.Errorf("%w: kind: expected %s or %s", errInvalid, Device, User))
		return
	}
	blocks, total, err := h.store.List(r.Context(), apikey.FleetFrom(r.Context()), q)
	answer(w, Page{blocks, total}, err)
}

// Page is the answer to GET.
type Page struct {
	Blocks []Block `json:"blocks"`
	Total  int64   `json:"total"` // all that match, also beyond the limit
}

func (h *rest) put(w http.ResponseWriter, r *http.Request) {
	var wish struct {
		Kind    Kind      `json:"kind"`
		Subject string    `json:"subject"`
		Until   time.Time `json:"until"`
		Reason  string    `json:"reason"`
	}
	if err := httpx.Decode(w, r, bodyMost, &wish); err != nil {
		answer(w, nil, fmt.Errorf("%w: %w", errInvalid, err))
		return
	}
	kept, err := h.store.Put(r.Context(), apikey.FleetFrom(r.Context()), Block{Kind: wish.Kind, Subject: wish.Subject,
		Until: wish.Until, Reason: wish.Reason, By: apikey.CallerFrom(r.Context())})
	answer(w, kept, err)
}

func (h *rest) lift(w http.ResponseWriter, r *http.Request) {
	v, ok := parsed(w, r, "kind", "subject")
	if !ok {
		return
	}
	lifted := Lifted{Kind: Kind(v.Get("kind")), Subject: v.Get("subject")}
	var err error
	lifted.Lifted, err = h.store.Lift(r.Context(), apikey.FleetFrom(r.Context()), lifted.Kind, lifted.Subject,
		apikey.CallerFrom(r.Context()))
	answer(w, lifted, err)
}

// Lifted is the answer to DELETE.
type Lifted struct {
	Kind    Kind   `json:"kind"`
	Subject string `json:"subject"`
	Lifted  int64  `json:"lifted"` // number of blocks lifted
}

func answer(w http.ResponseWriter, body any, err error) {
	httpx.Outcomes{Store: "the store of blocks", Invalid: errInvalid, Missing: errNotFound,
		None: "nothing blocks this subject now"}.Answer(w, body, err)
}
