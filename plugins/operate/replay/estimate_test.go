package replay

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/internal/event"
	"weir/plugins/operate/recount"
	"weir/plugins/store/raw"
)

func (w *world) stored() Stored {
	return Stored{log: event.LogTelemetry, events: w, letters: lettersOf{w}}
}

// kept is what an api has of each log: of either the same.
func (w *world) kept() map[string]Stored {
	users := w.stored()
	users.log = event.LogUsers
	return map[string]Stored{event.LogTelemetry: w.stored(), event.LogUsers: users}
}

// estimated asks for an estimate over HTTP, which must make no job.
func (w *world) estimated(spec Spec) *Estimate {
	w.t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		w.t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		w.t.Fatal(err)
	}
	delete(fields, "reason") // an estimate needs none
	raw, _ = json.Marshal(fields)
	before, err := w.jobs.list(w.t.Context(), "", "", time.Now().Add(time.Minute), 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	status, body := ask(w.t, Handler(w.jobs, testGroups, w.kept()), "POST", "/v1/replays/estimate", string(raw))
	e := new(Estimate)
	if err := json.Unmarshal([]byte(body), e); err != nil || status != http.StatusOK {
		w.t.Fatalf("%d %s %v", status, body, err)
	}
	after, err := w.jobs.list(w.t.Context(), "", "", time.Now().Add(time.Minute), 1000)
	if err != nil || len(after) != len(before) {
		w.t.Fatalf("%d jobs became %d, %v", len(before), len(after), err)
	}
	return e
}

// What is told before is what the job then does, whatever its mode.
func TestEstimate_TheJobDoesWhatWasTold(t *testing.T) {
	w := newWorld(t)
	w.fill(400)
	w.deadLetters(30)
	w.letters[3].Stage = "elsewhere"
	before := []outcome{{ID: w.letters[5].ID, Published: true}}
	if err := (lettersOf{w}).resolve(t.Context(), "before", before); err != nil {
		t.Fatal(err)
	}
	w.stream("", nil)
	hours := w.hours()
	rebuild := hours
	rebuild.Mode = Rebuild
	for _, spec := range []Spec{hours, rebuild, {Mode: Redrive}} {
		e := w.estimated(spec)
		if len(w.got) > 0 && spec.Mode == Reprocess || e.Events == nil || e.Seconds != nil || e.Unknown["seconds"] == "" {
			t.Fatalf("%s: %+v", spec.Mode, e)
		}
		j := w.until(w.create(spec).ID, ended)
		if j.State != Done || j.Progress.Read != *e.Events {
			t.Errorf("%s: the job read %d (%s), and %d were told", spec.Mode, j.Progress.Read, j.Error, *e.Events)
		}
		if j.Progress.Published != e.Writes.Events {
			t.Errorf("%s: it published %d, and %d were told", spec.Mode, j.Progress.Published, e.Writes.Events)
		}
		if spec.Mode == Rebuild && (e.Writes.Windows == nil || j.Progress.Windows > *e.Writes.Windows) {
			t.Errorf("%d windows were replaced, and %+v were told", j.Progress.Windows, e.Writes)
		}
		if spec.Mode == Redrive && (!e.Exact || e.Letters.Resolved != 1 || e.Letters.Foreign != 4 ||
			j.Progress.Skipped != 5) {
			t.Errorf("%+v, and %d were skipped", e.Letters, j.Progress.Skipped)
		}
		dry := spec
		dry.DryRun = true
		if e := w.estimated(dry); e.Writes.Events != 0 || !strings.Contains(e.Writes.Does, "writes nothing") {
			t.Errorf("%s: a dry run writes %+v", spec.Mode, e.Writes)
		}
	}
}

// The pace is that of the last job of the mode, and not faster than the rate.
func TestEstimate_TimeIsToldByTheLastJobOfItsMode(t *testing.T) {
	w := newWorld(t)
	w.fill(4000)
	now := time.Now().UTC().Truncate(time.Second)
	w.jobs.now = func() time.Time { return now }
	j := w.create(w.hours())
	if _, err := w.jobs.take(t.Context(), "me", event.LogTelemetry); err != nil {
		t.Fatal(err)
	}
	j, err := w.jobs.get(t.Context(), j.ID)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(10 * time.Second)
	if _, err := w.jobs.save(t.Context(), "me", j, Progress{Read: 8000}, json.RawMessage("null")); err != nil {
		t.Fatal(err)
	}
	if err := w.jobs.release(t.Context(), "me", j, Done, ""); err != nil {
		t.Fatal(err)
	}
	for rate, seconds := range map[int]float64{0: 5, 100: 40, 8000: 5} { // 800 events a second, 4,000 to read
		spec := w.hours()
		spec.Rate = rate
		if e := w.estimated(spec); e.Seconds == nil || *e.Seconds != seconds || e.Unknown["seconds"] != "" {
			t.Errorf("at the rate %d: %+v", rate, e)
		}
	}
	other := w.hours()
	other.Mode, other.Rate = Rebuild, 400
	if e := w.estimated(other); e.Seconds == nil || *e.Seconds != 10 ||
		!strings.Contains(e.Unknown["seconds"], "at least") {
		t.Errorf("another mode, with a rate: %+v", e)
	}
}

// slow stores have not found everything when their time is over.
type slow struct{ lettersOf }

func (s slow) Size(context.Context, recount.Range) (raw.Size, error) {
	return raw.Size{}, context.DeadlineExceeded
}

func (s slow) scan(ctx context.Context, q letterQuery, each func(*letter) error) error {
	if err := s.lettersOf.scan(ctx, q, each); err != nil {
		return err
	}
	return context.DeadlineExceeded
}

func TestEstimate_WhatTakesTooLongIsUnknownAndNotZero(t *testing.T) {
	w := newWorld(t)
	w.deadLetters(estimateBatch + 20)
	s := Stored{events: slow{lettersOf{w}}, letters: slow{lettersOf{w}}}
	hours := w.hours()
	e, err := s.estimate(t.Context(), &hours, w.jobs)
	if err != nil || e.Events != nil || e.Seconds != nil || e.Unknown["events"] == "" || e.Unknown["seconds"] == "" ||
		!strings.Contains(e.Writes.Does, "unknown number") {
		t.Errorf("%+v %v", e, err)
	}
	e, err = s.estimate(t.Context(), &Spec{Mode: Redrive}, w.jobs)
	if err != nil || e.Events == nil || *e.Events != estimateBatch || e.Exact ||
		!strings.Contains(e.Unknown["events"], "at least") {
		t.Errorf("%+v %v", e, err)
	}
	if e, err = (Stored{}).estimate(t.Context(), &hours, w.jobs); err != nil || e.Events != nil ||
		!strings.Contains(e.Unknown["events"], "raw") {
		t.Errorf("without a raw store: %+v %v", e, err)
	}
}

func TestEstimate_WhatIsWrongIsSaidAsForMakingIt(t *testing.T) {
	h := Handler(newWorld(t).jobs, testGroups, newWorld(t).kept())
	for body, says := range map[string]string{
		`{"mode":"reprocess"}`:                  "from and to",
		`{"mode":"redrive","patch":"root = ("}`: "patch",
		`{"mode":"redrive","now":true}`:         "now",
	} {
		if status, answer := ask(t, h, "POST", "/v1/replays/estimate", body); status != 400 ||
			!strings.Contains(answer, says) {
			t.Errorf("%s was answered %d %s", body, status, answer)
		}
	}
}
