package replay

import (
	"errors"
	"net/http"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
)

// ReleaseHandler serves POST /v1/dead-letters/{id}/release {"reason"}: a redrive of
// this one dead letter of a log, whatever was decided about it before. The fleet is that which
// apikey.Authenticator put into the request.
func ReleaseHandler(store *Store, log string, letters *lake.Store, control *sqldb.DB,
	clock func() time.Time) http.Handler {
	h := &release{store, log, letters, control, clock, httpx.NewSlots(releases, releaseMost)}
	return http.HandlerFunc(h.serve)
}

const (
	releases    = 2 // that look for their dead letter at a time
	releaseMost = 30 * time.Second
)

type release struct {
	store   *Store
	log     string
	letters *lake.Store
	control *sqldb.DB
	clock   func() time.Time
	slots   *httpx.Slots
}

func (h *release) serve(w http.ResponseWriter, r *http.Request) {
	d := deadletter.ReadDecision(w, r)
	if d == nil {
		return
	}
	id, is := text.ParseUUID(r.PathValue("id"))
	failed := r.URL.Query().Get("failed_at")
	at, when := text.ParseTime(failed)
	if !is || failed != "" && !when {
		httpx.Invalid(w, "expected the id of a dead letter, which is a UUID, and failed_at as the list has it")
		return
	}
	ctx, done, ok := h.slots.Take(w, r)
	if !ok {
		return
	}
	defer done()
	row, err := deadletter.Find(ctx, h.letters, apikey.FleetFrom(r.Context()), id, at, h.clock())
	switch {
	case errors.Is(err, deadletter.ErrUnknown):
		httpx.NotFound(w, "no dead letter has this id: one is here some seconds after it failed, until its time is over")
	case err != nil:
		httpx.Unavailable(w, "the dead-letter store", err)
	case row.Cut() != "" || row.Code == string(event.CodeConsentDenied):
		conflict(w, "cannot-go-back", "It cannot go back", "the store has not all of what was sent")
	default:
		h.queue(w, r, row, d.Reason)
	}
}

// queue makes the job. A crash between the last two steps leaves a dead letter that
// is open, and nothing sent.
func (h *release) queue(w http.ResponseWriter, r *http.Request, row *deadletter.Row, reason string) {
	from := time.UnixMicro(row.FailedAt).UTC()
	to := from.Add(time.Microsecond)
	spec := Spec{Mode: Redrive, Log: h.log, From: &from, To: &to, Fleet: row.Fleet, Stages: []string{row.Stage},
		Codes: []event.Code{event.Code(row.Code)}, IDs: []string{row.IDText()}, Reason: reason}
	if err := spec.check(h.clock().UTC()); err != nil {
		httpx.Invalid(w, err.Error())
		return
	}
	if targets, _ := spec.back(&letter{Stage: row.Stage, Code: event.Code(row.Code)}); targets == "" {
		conflict(w, "cannot-go-back", "It cannot go back", "nothing is sent back to the stage "+row.Stage)
		return
	}
	outcomes, err := deadletter.OpenOutcomes(r.Context(), h.control, h.log)
	var x deadletter.Outcome
	if err == nil {
		x, err = outcomes.Reopen(r.Context(), row.IDText())
	}
	switch {
	case err != nil:
		httpx.Unavailable(w, "the control store", err)
		return
	case x.Published:
		conflict(w, "already-released", "It was sent back before", "the job "+x.Job+" sent it back")
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

func conflict(w http.ResponseWriter, kind, title, detail string) {
	httpx.Write(w, httpx.Problem{Type: kind, Status: http.StatusConflict, Title: title, Detail: detail})
}
