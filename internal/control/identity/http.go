package identity

import (
	_ "embed" // openapi.json
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes the endpoints of aliases, to be merged into the API's document.
func OpenAPI() []byte { return openAPI }

// bodyMost is the maximum size of a request body in bytes.
const bodyMost = 16 << 10

// Handler serves the aliases of the key's fleet:
//
//	GET /v1/identity?subject=…&as_of=…     the person behind an id
//	PUT /v1/identity                       {"anonymous_id": "…", "user_id": "…", "at": "…", "source": "…"}
//	GET /v1/identity/changes?since=…&limit=…&cursor=…   anonymous ids whose owner changed since a version
//
// The subject is never in the path, because paths are in the audit log, where erasures change only details. Handler
// does not authenticate: mount it behind Require(Operate, …).
func Handler(store *Store) http.Handler {
	h := &rest{store}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/identity", h.get)
	mux.HandleFunc("PUT /v1/identity", h.put)
	mux.HandleFunc("GET /v1/identity/changes", h.changes)
	return mux
}

type rest struct{ store *Store }

// version parses a parameter that is a version of the aliases; 0 when it is absent.
func version(r *http.Request, name string) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: %s must be a version, a whole number", errInvalid, name)
	}
	return n, nil
}

func (h *rest) get(w http.ResponseWriter, r *http.Request) {
	subject := r.URL.Query().Get("subject")
	at, err := version(r, "as_of")
	if err = errors.Join(err, ValidID("subject", subject)); err != nil {
		answer(w, nil, err)
		return
	}
	person, err := h.store.Person(r.Context(), apikey.FleetFrom(r.Context()), subject, at)
	answer(w, person, err)
}

func (h *rest) put(w http.ResponseWriter, r *http.Request) {
	var wish struct {
		Anonymous string    `json:"anonymous_id"`
		User      string    `json:"user_id"`
		At        time.Time `json:"at"`
		Source    string    `json:"source"`
	}
	if err := httpx.Decode(w, r, bodyMost, &wish); err != nil {
		answer(w, nil, fmt.Errorf("%w: %w", errInvalid, err))
		return
	}
	kept, changes, err := h.store.Put(r.Context(), apikey.FleetFrom(r.Context()), Claim{Anonymous: wish.Anonymous,
		User: wish.User, At: wish.At, Source: wish.Source, RecordedBy: apikey.CallerFrom(r.Context())})
	answer(w, Answer{Claim: kept, Changes: changes}, err)
}

// Answer is the answer to PUT.
type Answer struct {
	Claim
	Changes []Change `json:"changes,omitempty"` // changed owners
}

func (h *rest) changes(w http.ResponseWriter, r *http.Request) {
	since, err := version(r, "since")
	if err != nil {
		answer(w, nil, err)
		return
	}
	fleet, v := apikey.FleetFrom(r.Context()), r.URL.Query()
	limit, bad := httpx.Limit(v, changesUsual, changesMost)
	hash := httpx.Hash(v, fleet, "since")
	after, now, _, wrong := httpx.Resume[string](v, hash)
	for _, bad := range []*httpx.Problem{bad, wrong} {
		if bad != nil {
			httpx.Write(w, *bad)
			return
		}
	}
	if after == nil { // later pages keep the first page's version; newer changes are for the next query
		after = new(string)
		if now, err = h.store.Version(r.Context(), fleet); err != nil {
			answer(w, nil, err)
			return
		}
	}
	changes, last, err := h.store.Changes(r.Context(), fleet, since, *after, limit)
	page := map[string]any{"version": now, "changes": changes, "next": nil}
	if last != "" {
		page["next"] = httpx.Cursor(last, now, 0, hash)
	}
	answer(w, page, err)
}

// Default and maximum number of anonymous ids that a page of changes examines.
const changesUsual, changesMost = 1000, 10_000

func answer(w http.ResponseWriter, body any, err error) {
	httpx.Outcomes{Store: "the store of aliases", Invalid: errInvalid}.Answer(w, body, err)
}
