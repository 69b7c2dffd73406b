package reconcile

import (
	_ "embed" // openapi.json
	"net/http"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI describes the proof's paths, for the whole document.
func OpenAPI() []byte { return openAPI }

// runMost is after what time a run that has not ended counts as broken off.
const runMost = 10 * time.Minute

type proofJSON struct {
	Verdict     *Verdict          `json:"verdict"` // null: there was no run
	At          *time.Time        `json:"at"`
	Age         *float64          `json:"age_seconds"`
	RequestedAt *time.Time        `json:"requested_at"`
	Running     bool              `json:"running"`
	Report      *Report           `json:"report"`
	Detail      *string           `json:"detail"`
	History     []past            `json:"history"`
	Unknown     map[string]string `json:"unknown"`
}

// Handler answers
//
//	GET  /v1/proof                                      the last run, and the newest before it
//	POST /v1/proof                                      asks for a run
//	GET  /v1/proof/history?from=&to=&limit=&cursor=     what runs came to, the newest first
//	GET  /v1/proof/hours?from=&to=                      the same, counted by the hour
//
// The records of the log are of all fleets: a fleet is told the verdicts, and no
// numbers of records. It does not ask who calls: mount it behind
// apikey.Authenticator. The clock is an argument for tests.
func Handler(proofs *Proofs, clock func() time.Time) http.Handler {
	h := &handler{proofs, clock}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/proof", h.last)
	mux.HandleFunc("POST /v1/proof", h.ask)
	mux.HandleFunc("GET /v1/proof/history", h.pages)
	mux.HandleFunc("GET /v1/proof/hours", h.summary)
	return mux
}

type handler struct {
	proofs *Proofs
	clock  func() time.Time
}

func (h *handler) last(w http.ResponseWriter, r *http.Request) {
	ctx, now := r.Context(), h.clock()
	list, err := h.proofs.history(ctx, time.UnixMicro(0), now.Add(time.Hour), nil, historyPage) // of a clock ahead, too
	var last *Proof
	if err == nil {
		last, err = h.proofs.Last(ctx)
	}
	var asked wish
	if err == nil {
		asked, err = h.proofs.wish(ctx)
	}
	if err != nil {
		httpx.Unavailable(w, "the control store", err)
		return
	}
	fleet := apikey.FleetFrom(ctx)
	httpx.Answer(w, http.StatusOK, answerOf(last, told(list, fleet), asked, fleet != "", now))
}

func (h *handler) ask(w http.ResponseWriter, r *http.Request) {
	asked, err := h.proofs.ask(r.Context(), h.clock())
	if err != nil {
		httpx.Unavailable(w, "the control store", err)
		return
	}
	httpx.Answer(w, http.StatusAccepted, map[string]time.Time{"requested_at": asked})
}

func answerOf(last *Proof, history []past, asked wish, fleet bool, now time.Time) proofJSON {
	out := proofJSON{History: history, Unknown: map[string]string{}}
	if asked.open() {
		out.RequestedAt = &asked.asked
	}
	out.Running = now.Sub(asked.begun) < runMost && (last == nil || asked.begun.After(last.At))
	if last == nil {
		out.Unknown["verdict"] = "nothing was proven yet: the stream reconcile runs every few minutes"
		return out
	}
	age := max(0, now.Sub(last.At).Seconds())
	out.Verdict, out.At, out.Age = &last.Verdict, &last.At, &age
	switch {
	case fleet:
		out.Unknown["report"] = "it counts the records of all fleets: ask with an admin key that names none"
		return out
	case last.Report == nil:
		out.Unknown["report"] = "the last run could not be done"
	}
	out.Report = last.Report
	if last.Detail != "" {
		out.Detail = &last.Detail
	}
	return out
}
