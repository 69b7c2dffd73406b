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

// historyMost is how many runs an answer tells of.
const historyMost = 100

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
	History     []pastJSON        `json:"history"`
	Unknown     map[string]string `json:"unknown"`
}

type pastJSON struct {
	Verdict     Verdict   `json:"verdict"`
	At          time.Time `json:"at"`
	Accepted    *int64    `json:"accepted"`
	Unexplained *int64    `json:"unexplained"`
}

// Handler answers GET and POST /v1/proof. The records of the log are of all
// fleets: a fleet is told the verdict, and no numbers. It does not ask who calls:
// mount it behind apikey.Authenticator. The clock is an argument for tests.
func Handler(proofs *Proofs, clock func() time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/proof", func(w http.ResponseWriter, r *http.Request) {
		list, err := proofs.list(r.Context(), historyMost)
		if err != nil {
			httpx.Unavailable(w, "the control store")
			return
		}
		asked, err := proofs.wish(r.Context())
		if err != nil {
			httpx.Unavailable(w, "the control store")
			return
		}
		httpx.Answer(w, http.StatusOK, answerOf(list, asked, apikey.FleetFrom(r.Context()) != "", clock()))
	})
	mux.HandleFunc("POST /v1/proof", func(w http.ResponseWriter, r *http.Request) {
		asked, err := proofs.ask(r.Context(), clock())
		if err != nil {
			httpx.Unavailable(w, "the control store")
			return
		}
		httpx.Answer(w, http.StatusAccepted, map[string]time.Time{"requested_at": asked})
	})
	return mux
}

func answerOf(list []Proof, asked wish, fleet bool, now time.Time) proofJSON {
	out := proofJSON{History: []pastJSON{}, Unknown: map[string]string{}}
	if asked.open() {
		out.RequestedAt = &asked.asked
	}
	out.Running = now.Sub(asked.begun) < runMost && (len(list) == 0 || asked.begun.After(list[0].At))
	for i, p := range list {
		past := pastJSON{Verdict: p.Verdict, At: p.At}
		if p.Report != nil && !fleet {
			past.Accepted, past.Unexplained = &p.Report.Total.Accepted, &p.Report.Total.Unexplained
		}
		if out.History = append(out.History, past); i > 0 {
			continue
		}
		age := max(0, now.Sub(p.At).Seconds())
		out.Verdict, out.At, out.Age = &p.Verdict, &p.At, &age
		if fleet {
			continue
		}
		out.Report = p.Report
		if p.Detail != "" {
			out.Detail = &p.Detail
		}
	}
	switch {
	case len(list) == 0:
		out.Unknown["verdict"] = "nothing was proven yet: the stream reconcile runs every few minutes"
	case fleet:
		out.Unknown["report"] = "it counts the records of all fleets: ask with an admin key that names none"
	case out.Report == nil:
		out.Unknown["report"] = "the last run could not be done"
	}
	return out
}
