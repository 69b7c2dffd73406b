package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
	"weir/plugins/ingest/registry"
	"weir/plugins/ingest/validate"
)

// Bounds of a trial. One runs at a time: a patch may take what it may take in a job.
const (
	trialMost                = 20 * time.Second
	trialsAtOnce             = 1
	trialLetters, trialLimit = 100, 1000
	trialBatch               = 50
	trialBody                = 4 << 20
	trialIDs                 = 1000
	failuresShown            = 100
)

// Trial is what redriving some dead letters would come to.
type Trial struct {
	Tried    int `json:"tried"`
	Accepted int `json:"accepted"` // would be sent back
	Unjudged int `json:"unjudged"` // of these, by a consumer that judges them itself
	Failing  int `json:"failing"`  // would fail again
	Deleted  int `json:"deleted"`  // the patch leaves them out

	Resolved int64 `json:"resolved"` // were sent back before, and are passed over
	Foreign  int64 `json:"foreign"`  // of stages that nothing goes back into

	More     bool         `json:"more"` // there are others, which were not tried
	Cut      *string      `json:"cut"`  // why no more were tried, when their time was over
	Because  []Reason     `json:"because"`
	Failures []FailsAgain `json:"failures"`
	Examples []Sample     `json:"examples"`
}

// FailsAgain is a dead letter that would fail again.
type FailsAgain struct {
	ID      string             `json:"id"`
	Code    event.Code         `json:"code,omitempty"` // "": the patch failed, or the letter is not whole
	Message string             `json:"message"`
	Errors  []event.FieldError `json:"errors"`
}

// TrialWish says which dead letters are tried, and with what.
type TrialWish struct {
	Fleet   string       `json:"fleet,omitempty"`
	From    *time.Time   `json:"from,omitempty"`
	To      *time.Time   `json:"to,omitempty"`
	Devices []string     `json:"devices,omitempty"`
	Stages  []string     `json:"stages,omitempty"`
	Codes   []event.Code `json:"codes,omitempty"`
	IDs     []string     `json:"ids,omitempty"`
	Patch   string       `json:"patch,omitempty"`
	Limit   *int         `json:"limit,omitempty"` // nil: 100
}

// Schemas are those that the ingest would judge by.
type Schemas func(ctx context.Context) (*registry.Set, error)

// TryHandler answers POST /v1/dead-letters/dry-run: what redriving dead letters
// would come to, tried on the first of them, for the fleet that
// apikey.Authenticator put into the request. It sends and notes nothing.
func TryHandler(stored Stored, schemas Schemas, now func() time.Time) http.Handler {
	h := &trials{stored: stored, schemas: schemas, now: now, slots: httpx.NewSlots(trialsAtOnce, trialMost)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/dead-letters/dry-run", h.try)
	return mux
}

type trials struct {
	stored  Stored
	schemas Schemas
	now     func() time.Time
	slots   *httpx.Slots
}

func (h *trials) try(w http.ResponseWriter, r *http.Request) {
	spec, wish, err := h.read(w, r)
	if err != nil {
		httpx.Invalid(w, err.Error())
		return
	}
	if h.stored.letters == nil {
		httpx.NotFound(w, "this api has no dead-letter store: set its field dead_letters")
		return
	}
	ctx, done, ok := h.slots.Take(w, r)
	if !ok {
		return
	}
	defer done()
	set, err := h.schemas(ctx)
	if err != nil {
		httpx.Unavailable(w, "the schema registry", err)
		return
	}
	t, err := h.stored.try(ctx, spec, *wish.Limit, validate.NewJudging(set))
	switch {
	case errors.Is(err, errPatch):
		httpx.Invalid(w, err.Error())
	case errors.Is(err, errPatchStart):
		httpx.Unavailable(w, "the process that patches", err)
	case err != nil:
		httpx.Unavailable(w, "the dead-letter store", err)
	default:
		httpx.Answer(w, http.StatusOK, t)
	}
}

func (h *trials) read(w http.ResponseWriter, r *http.Request) (*Spec, *TrialWish, error) {
	wish := new(TrialWish)
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, trialBody))
	d.DisallowUnknownFields()
	if err := d.Decode(wish); err != nil {
		return nil, nil, fmt.Errorf("reading the body: %w", err)
	}
	if wish.Limit == nil {
		standard := trialLetters
		wish.Limit = &standard
	}
	switch own := apikey.FleetFrom(r.Context()); {
	case *wish.Limit < 1 || *wish.Limit > trialLimit:
		return nil, nil, fmt.Errorf("limit: expected 1 to %d", trialLimit)
	case own != "" && wish.Fleet != "" && wish.Fleet != own:
		return nil, nil, fmt.Errorf("fleet: the request is of the fleet %q", own)
	case own != "":
		wish.Fleet = own
	}
	spec := &Spec{Mode: Redrive, Log: h.stored.log, From: wish.From, To: wish.To, Fleet: wish.Fleet, Devices: wish.Devices,
		Stages: wish.Stages, Codes: wish.Codes, IDs: wish.IDs, Patch: wish.Patch, Reason: "a trial"}
	return spec, wish, spec.check(h.now().UTC())
}

// errEnough ends a scan: as many as were asked for have been tried.
var errEnough = errors.New("enough")

// try does with the first dead letters of a redrive what the job would do, but
// for sending: the same choice, the same patch in a process of its own, the
// same schemas. The spec has been checked.
func (s Stored) try(ctx context.Context, spec *Spec, limit int, judging *validate.Judging) (*Trial, error) {
	patch := newPatcher(ctx, spec.Patch, shippedLimits())
	defer patch.close()
	t := &Trial{Failures: []FailsAgain{}, Examples: []Sample{}}
	var told Progress // which counts reasons
	k := newLook(s.letters, spec, trialBatch)
	err := k.over(ctx, spec.failed(), func(l *letter) error {
		if t.Tried == limit {
			t.More = true
			return errEnough
		}
		return t.one(l, spec, patch, judging, &told)
	})
	t.Resolved, t.Foreign, t.Because = k.found.Resolved, k.found.Foreign, append([]Reason{}, told.Reasons...)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		why := fmt.Sprintf("it took longer than %s", trialMost)
		t.Cut, t.More = &why, true
	case err != nil && !errors.Is(err, errEnough):
		return nil, err
	}
	return t, nil
}

// one tries a dead letter.
func (t *Trial) one(l *letter, spec *Spec, patch *patcher, judging *validate.Judging, told *Progress) error {
	value, ok, err := patch.whole(l)
	if patch.fatal(err) {
		return err
	}
	example := Sample{ID: l.ID, Fleet: l.Fleet, Stage: l.Stage, Code: l.Code, Message: l.Message, Device: l.Device,
		FailedAt: l.FailedAt.UTC(), Original: cut(l.Original)}
	_, judged := spec.back(l)
	var failure *FailsAgain
	switch {
	case err != nil:
		failure = &FailsAgain{ID: l.ID, Message: err.Error()}
	case !ok:
		t.Deleted++
	case judged:
		if why := judging.Reject(value); why != nil {
			failure = &FailsAgain{ID: l.ID, Code: why.Code, Message: why.Error(),
				Errors: slices.Clone(why.Errors[:min(len(why.Errors), 20)])}
		}
	default:
		t.Unjudged++
	}
	t.Tried++
	if err == nil && ok {
		patched := cut(value)
		example.Patched = &patched
	}
	switch {
	case failure != nil:
		t.Failing++
		told.because(failure.Message)
		example.Problem = failure.Message
		if failure.Errors == nil {
			failure.Errors = []event.FieldError{}
		}
		if len(t.Failures) < failuresShown {
			t.Failures = append(t.Failures, *failure)
		}
	case ok:
		t.Accepted++
	default:
		example.Problem = "the patch deletes it: it would not be redriven"
	}
	if len(t.Examples) < samplesMost {
		t.Examples = append(t.Examples, example)
	}
	return nil
}
