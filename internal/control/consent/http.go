package consent

import (
	_ "embed" // openapi.json
	"fmt"
	"net/http"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes the endpoints of consents, to be merged into the API's document.
func OpenAPI() []byte { return openAPI }

// bodyMost is the maximum size of a request body in bytes.
const bodyMost = 16 << 10

// Handler serves the consents of the key's fleet:
//
//	GET /v1/consent?subject=…   all of its changes
//	PUT /v1/consent             {"subject": "…", "purpose": "…", "granted": true, "at": "…", "source": "…"}
//
// The subject is never in the path, because paths are in the audit log, where erasures change only details. Handler
// does not authenticate: mount it behind Require(Operate, …).
func Handler(store *Store) http.Handler {
	h := &rest{store}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/consent", h.get)
	mux.HandleFunc("PUT /v1/consent", h.put)
	return mux
}

type rest struct{ store *Store }

func (h *rest) get(w http.ResponseWriter, r *http.Request) {
	subject := r.URL.Query().Get("subject")
	if err := ValidSubject(subject); err != nil {
		answer(w, nil, err)
		return
	}
	changes, err := h.store.Changes(r.Context(), apikey.FleetFrom(r.Context()), subject)
	answer(w, map[string]any{"subject": subject, "changes": changes}, err)
}

func (h *rest) put(w http.ResponseWriter, r *http.Request) {
	var wish struct {
		Subject string    `json:"subject"`
		Purpose string    `json:"purpose"`
		Granted *bool     `json:"granted"`
		At      time.Time `json:"at"`
		Source  string    `json:"source"`
	}
	if err := httpx.Decode(w, r, bodyMost, &wish); err != nil {
		answer(w, nil, fmt.Errorf("%w: %w", errInvalid, err))
		return
	}
	if wish.Granted == nil {
		answer(w, nil, fmt.Errorf("%w: granted must be true or false", errInvalid))
		return
	}
	kept, err := h.store.Put(r.Context(), apikey.FleetFrom(r.Context()), wish.Subject, Change{Purpose: wish.Purpose,
		Granted: *wish.Granted, At: wish.At, Source: wish.Source, RecordedBy: apikey.CallerFrom(r.Context())})
	answer(w, kept, err)
}

func answer(w http.ResponseWriter, body any, err error) {
	httpx.Outcomes{Store: "the store of consents", Invalid: errInvalid}.Answer(w, body, err)
}
