package validate

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // openapi.json
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/plugins/ingest/registry"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns the part of the OpenAPI document about dry runs.
func OpenAPI() []byte { return openAPI }

// Bounds of dry runs.
const (
	trialMost                  = 15 * time.Second
	trialsAtOnce               = 2
	trialEvents, trialEventMax = 1000, 10_000
	draftMost                  = 1 << 20 // bytes, as a registry takes them
)

// Sent is a stored event, as it was sent.
type Sent struct {
	Fleet string
	At    time.Time
	JSON  []byte
}

// Newest returns the newest stored events of a fleet ("": of all), the newest first. When ctx is
// done it returns those found so far, and whole is false.
type Newest func(ctx context.Context, fleet string, most int) (events []Sent, whole bool, err error)

// DryRunHandler answers POST /v1/schemas/dry-run: what a draft of a schema would
// have done to the newest stored events of the fleet that apikey.Authenticator
// put into the request. It registers and changes nothing. Without newest there
// is no store to read.
func DryRunHandler(drafts *registry.Registry, newest Newest) http.Handler {
	h := &dryRuns{drafts: drafts, newest: newest, slots: httpx.NewSlots(trialsAtOnce, trialMost)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/schemas/dry-run", h.try)
	return mux
}

type dryRuns struct {
	drafts *registry.Registry
	newest Newest
	slots  *httpx.Slots
}

// draftJSON is the request: the schema as JSON, or as a text of JSON.
type draftJSON struct {
	Subject    string               `json:"subject"`
	Schema     json.RawMessage      `json:"schema"`
	References []registry.Reference `json:"references"`
	Events     *int                 `json:"events"`
}

// dryRunJSON is the answer.
type dryRunJSON struct {
	*DryRun
	Passed int        `json:"passed"`
	From   *time.Time `json:"from"` // the times of the events that were read
	To     *time.Time `json:"to"`
	Cut    *string    `json:"cut"` // why not all events that were asked for were read
}

func (h *dryRuns) try(w http.ResponseWriter, r *http.Request) {
	draft, text, err := readDraft(w, r)
	if err != nil {
		httpx.Invalid(w, err.Error())
		return
	}
	if h.newest == nil {
		httpx.NotFound(w, "this api has no raw store to try a schema on: set its field raw")
		return
	}
	ctx, done, ok := h.slots.Take(w, r)
	if !ok {
		return
	}
	defer done()
	schema, err := h.drafts.Draft(ctx, draft.Subject, text, draft.References)
	switch {
	case registry.Refused(err):
		httpx.Invalid(w, err.Error())
		return
	case err != nil:
		httpx.Unavailable(w, "the schema registry", err)
		return
	}
	events, whole, err := h.newest(ctx, apikey.FleetFrom(r.Context()), *draft.Events)
	if err != nil {
		httpx.Unavailable(w, "the raw store", err)
		return
	}
	out, err := tried(ctx, draft.Subject, schema, events, whole)
	if err != nil { // stored events are JSON, and the draft was compiled before
		httpx.Cause(w, err)
		httpx.Write(w, httpx.Problem{Type: "internal", Status: http.StatusInternalServerError, Title: "Internal error",
			Detail: "a stored event could not be read: weir reconcile --deep looks for more"})
		return
	}
	httpx.Answer(w, http.StatusOK, out)
}

func readDraft(w http.ResponseWriter, r *http.Request) (draft draftJSON, text string, err error) {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, draftMost))
	d.DisallowUnknownFields()
	if err := d.Decode(&draft); err != nil {
		return draft, "", fmt.Errorf("reading the body: %w", err)
	}
	draft.Subject = cmp.Or(draft.Subject, "telemetry")
	if draft.Events == nil {
		standard := trialEvents
		draft.Events = &standard
	}
	if *draft.Events < 1 || *draft.Events > trialEventMax {
		return draft, "", fmt.Errorf("events: expected 1 to %d", trialEventMax)
	}
	text = string(draft.Schema)
	if bytes.HasPrefix(draft.Schema, []byte{'"'}) {
		if err := json.Unmarshal(draft.Schema, &text); err != nil {
			return draft, "", fmt.Errorf("schema: %w", err)
		}
	}
	if text == "" {
		return draft, "", errors.New("schema: expected a JSON schema, or its text")
	}
	return draft, text, nil
}

// tried judges events until ctx is done.
func tried(ctx context.Context, subject string, schema []byte, events []Sent, whole bool) (*dryRunJSON, error) {
	out := &dryRunJSON{}
	read := 0
	var err error
	out.DryRun, err = TryOn(ctx, subject, schema, func(ctx context.Context, each func(string, []byte) error) error {
		for _, e := range events {
			if ctx.Err() != nil {
				whole = false
				return nil
			}
			if err := each(e.Fleet, e.JSON); err != nil {
				return err
			}
			read++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if out.Rules == nil {
		out.Rules = []BrokenRule{}
	}
	out.Passed = out.Judged - out.Rejected
	if read > 0 {
		from, to := events[read-1].At.UTC().Round(0), events[0].At.UTC().Round(0)
		out.From, out.To = &from, &to
	}
	if !whole {
		why := fmt.Sprintf("it took longer than %s: events before these were not looked at", trialMost)
		out.Cut = &why
	}
	return out, nil
}
