package deadletter

import (
	"net/http"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
)

// OutcomeJSON is an outcome in the form of the API.
type OutcomeJSON struct {
	State  string  `json:"state"` // released, failed_again, discarded
	At     string  `json:"at"`
	By     *string `json:"by"`  // who discarded it
	Job    *string `json:"job"` // the job that sent it back
	Reason string  `json:"reason"`
}

// JSON returns the outcome in the form of the API.
func (x Outcome) JSON() *OutcomeJSON {
	out := &OutcomeJSON{State: "failed_again", At: x.At.Format(event.TimeFormat), Reason: x.Reason}
	switch {
	case x.Published:
		out.State = "released"
	case x.Discarded:
		out.State = "discarded"
	}
	for from, to := range map[string]**string{x.By: &out.By, x.Job: &out.Job} {
		if from != "" {
			*to = &from
		}
	}
	return out
}

func outcomeOf(known map[string]Outcome, row *Row) *OutcomeJSON {
	if x, ok := known[row.IDText()]; ok {
		return x.JSON()
	}
	return nil
}

func idsOf(rows []*Row) []string {
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.IDText()
	}
	return ids
}

const (
	reasonMost = 1000
	wishMost   = 16 << 10
)

// Decision is the body of a request that decides about a dead letter.
type Decision struct {
	Reason string `json:"reason"`
}

// ReadDecision reads a decision, or returns nil after it has answered with an error.
func ReadDecision(w http.ResponseWriter, r *http.Request) *Decision {
	d := &Decision{}
	if err := httpx.Decode(w, r, wishMost, d); err != nil {
		httpx.Invalid(w, err.Error())
		return nil
	}
	if d.Reason == "" || len(d.Reason) > reasonMost {
		httpx.Invalid(w, "reason: say why, in up to 1000 bytes, for those who read the list later")
		return nil
	}
	return d
}

// discard records that a dead letter is not to be sent back. The letter stays in the store, with
// the decision and its reason, until it expires: all accounts count it as before.
func (h *handler) discard(w http.ResponseWriter, r *http.Request) {
	d := ReadDecision(w, r)
	if d == nil {
		return
	}
	row := h.one(w, r)
	if row == nil {
		return
	}
	x, err := h.outcomes.Discard(r.Context(), row.IDText(), apikey.CallerFrom(r.Context()), d.Reason,
		h.clock().Truncate(time.Microsecond))
	switch {
	case err != nil:
		httpx.Unavailable(w, "the control store", err)
	case x.Published:
		httpx.Write(w, httpx.Problem{Type: "already-released", Status: http.StatusConflict,
			Title: "It was sent back before", Detail: "the job " + x.Job + " sent it back: it is no longer here to be decided"})
	default:
		h.whole(w, r, row)
	}
}
