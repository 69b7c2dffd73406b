package replay

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/jobs"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/recount"
	"weir/plugins/store/raw"
)

func TestReplay_AJobPublishesEveryStoredEvent(t *testing.T) {
	w := newWorld(t)
	w.fill(4000)
	w.events[7].Row.Delivery.Partition = -1
	w.fail = 1 // the raw store goes away half way
	var refusals atomic.Int32
	w.stream("", func(service.MessageBatch) error {
		if refusals.Add(1)%5 == 3 {
			return errors.New("the log is down at times")
		}
		return nil
	})
	j := w.until(w.create(w.hours()).ID, ended)
	once, all := w.distinct()
	if j.State != Done || j.Progress.Read != 4000 || j.Progress.Published != 4000 || once != 4000 || all != 4000 {
		t.Fatalf("%s %q: %+v; published %d of 4000, %d times", j.State, j.Error, j.Progress, once, all)
	}
	if w.targets["raw,rollup"] != 3999 || w.targets["rollup"] != 1 || w.topics["replay-events"] != 4000 {
		t.Fatalf("alerts are muted unless asked, and what the raw store could not recognise is not for it: %v %v", w.targets,
			w.topics)
	}
	if len(w.requests) != 1 || w.requests[worldRequest] < 4000 || j.Request != worldRequest {
		t.Fatalf("what fails again has to name the request that asked for the job: %v, %q", w.requests, j.Request)
	}
}

func TestReplay_ARestartGoesOnBehindWhatTheLogHas(t *testing.T) {
	w := newWorld(t)
	w.fill(8000)
	spec := w.hours()
	spec.Rate = 4000
	stop := w.stream("", nil)
	j := w.create(spec)
	w.until(j.ID, func(j *Job) bool { return j.Progress.Read > 1000 })
	stop()
	if j := w.until(j.ID, func(j *Job) bool { return true }); j.State != Running || j.Progress.Read == 8000 {
		t.Fatalf("after a stop the job is %s at %d", j.State, j.Progress.Read)
	}
	w.stream("", nil)
	j = w.until(j.ID, ended)
	once, all := w.distinct()
	if j.State != Done || j.Progress.Read != 8000 || once != 8000 || all > 8000+parcelsMost*50 {
		t.Fatalf("%s %q: %+v; published %d of 8000, %d times", j.State, j.Error, j.Progress, once, all)
	}
}

func TestReplay_AJobIsPausedResumedAndCancelled(t *testing.T) {
	w := newWorld(t)
	w.fill(8000)
	spec := w.hours()
	spec.Rate = 600
	w.stream("", nil)
	j := w.create(spec)
	j = w.until(j.ID, func(j *Job) bool { return j.Progress.Read > 200 })
	if j.ETA == nil || *j.ETA <= 0 || j.Progress.Total != 8000 {
		t.Fatalf("a running job tells how long it will take: %v of %d", j.ETA, j.Progress.Total)
	}
	if _, err := w.jobs.pause(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2500 * time.Millisecond)
	paused := w.until(j.ID, func(*Job) bool { return true }).Progress.Read
	time.Sleep(1200 * time.Millisecond)
	if _, all := w.distinct(); int64(all) != paused {
		t.Fatalf("paused at %d, and %d are published", paused, all)
	}
	if _, err := w.jobs.resume(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	w.until(j.ID, func(j *Job) bool { return j.State == Running && j.Progress.Read > paused })
	if _, err := w.jobs.cancel(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.jobs.resume(t.Context(), j.ID); !errors.Is(err, errState) {
		t.Fatalf("resuming what was cancelled: %v", err)
	}
	time.Sleep(2 * time.Second)
	j = w.until(j.ID, ended)
	if j.State != Cancelled || j.EndedAt == nil || j.Progress.Read == 8000 {
		t.Fatalf("%s at %d", j.State, j.Progress.Read)
	}
	next := w.create(w.hours()) // the runner is free for others
	if next = w.until(next.ID, ended); next.State != Done {
		t.Fatal(next.State, next.Error)
	}
}

func TestReplay_AnotherRunnerTakesOverWhenTheLeaseEnds(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.jobs.now = func() time.Time { return now }
	j := w.create(w.hours())
	first, err := w.jobs.take(t.Context(), "a", event.LogTelemetry)
	if err != nil || first == nil || first.ID != j.ID {
		t.Fatal(first, err)
	}
	if second, err := w.jobs.take(t.Context(), "b", event.LogTelemetry); second != nil || err != nil {
		t.Fatal("a job is with one runner at a time", second, err)
	}
	now = now.Add(lease + time.Second)
	if second, err := w.jobs.take(t.Context(), "b", event.LogTelemetry); second == nil || err != nil {
		t.Fatal("the lease has ended", err)
	}
	if _, err := w.jobs.save(t.Context(), "a", first, Progress{Read: 9}, nil); !errors.Is(err, jobs.ErrLost) {
		t.Fatalf("the first runner has lost it: %v", err)
	}
}

func (w *world) deadLetters(n int) {
	for i := range n {
		l := &letter{ID: fmt.Sprint("l", i), Fleet: "f", Stage: "ingest", Code: event.CodeSchemaViolation,
			FailedAt: time.Date(2026, 11, 20, 10, 0, i, 0, time.UTC),
			Original: fmt.Appendf(nil, `{"n":%d}`, i), Delivery: &event.Coordinates{Topic: "dead-letter", Offset: int64(i)}}
		switch i % 10 {
		case 8:
			l.Stage, l.Code = "rollup", event.CodeStoreRejected
		case 9:
			l.Stage = "notify"
		}
		w.letters = append(w.letters, l)
	}
}

func TestReplay_EachDeadLetterIsRedrivenOnce(t *testing.T) {
	w := newWorld(t)
	w.deadLetters(1000)
	broken := true
	w.stream("", func(batch service.MessageBatch) error {
		for _, msg := range batch {
			validated := event.Meta(msg, metaValidate) == "1"
			if validated != (event.Meta(batch[0], metaValidate) == "1") {
				t.Error("a batch takes one way through the stream")
			}
			if raw, _ := msg.AsBytes(); broken && validated && raw[len(raw)-2] == '3' {
				event.MarkRejected(msg, event.Reject(event.CodeSchemaViolation, "/n", "still wrong"))
			}
		}
		return nil
	})
	j := w.until(w.create(Spec{Mode: Redrive}).ID, ended)
	if p := j.Progress; j.State != Done || p.Published != 800 || p.Refused != 100 || len(p.Reasons) == 0 ||
		p.Skipped != 100 || p.Read != 1000 {
		t.Fatalf("%s %q %+v", j.State, j.Error, p)
	}
	if w.targets["rollup"] != 100 || w.targets["raw,rollup"] != 700 {
		t.Fatalf("each goes back to the stage that failed: %v", w.targets)
	}
	if why := w.outcomes["l3"]; why.Published || why.Reason == "" {
		t.Fatalf("what was refused again says why: %+v", why)
	}
	broken = false // the schema was fixed
	j = w.until(w.create(Spec{Mode: Redrive}).ID, ended)
	if p := j.Progress; p.Published != 100 || p.Skipped != 900 {
		t.Fatalf("the second redrive takes what the first did not: %+v", p)
	}
	if once, all := w.distinct(); once != 900 || all != 900 {
		t.Fatalf("published %d dead letters, %d times", once, all)
	}
}

func TestReplay_APreviewPublishesNothingAndShowsThePatch(t *testing.T) {
	w := newWorld(t)
	w.deadLetters(100)
	w.outcomes["l0"] = outcome{ID: "l0", Published: true}
	w.stream("", nil)
	j := w.until(w.create(Spec{Mode: Redrive, DryRun: true, Patch: `root.n = this.n + 1000`}).ID, ended)
	v := j.Preview
	if j.State != Done || v == nil || v.Letters != 100 || v.Resolved != 1 || v.Foreign != 10 ||
		len(v.Samples) != samplesMost || len(v.Counts) != 2 {
		t.Fatalf("%s %q %+v", j.State, j.Error, v)
	}
	if s := v.Samples[0]; s.Original != `{"n":1}` || s.Patched == nil || *s.Patched != `{"n":1001}` {
		t.Fatalf("%+v", s)
	}
	if len(w.got) != 0 {
		t.Fatal("it published")
	}
}

func TestReplay_ARebuildReplacesWholeWindowsAndReportsThoseItLeft(t *testing.T) {
	w := newWorld(t)
	w.fill(4000)
	catching, never := w.events[100].Window(), w.events[3000].Window()
	w.behind[catching], w.behind[never] = 1, 1000
	w.stream("  settle: 50ms\n", nil)
	spec := w.hours()
	spec.Mode = Rebuild
	j := w.until(w.create(spec).ID, ended)
	want := map[recount.Window]int{}
	for _, e := range w.events {
		want[e.Window()]++
	}
	if j.State != Done || j.Progress.Left != 1 || len(j.Left) != 1 || j.Left[0] != never ||
		int(j.Progress.Windows) != len(want)-1 {
		t.Fatalf("%s %q %+v %v", j.State, j.Error, j.Progress, j.Left)
	}
	delete(want, never)
	for at, n := range want {
		if w.windows[at] != n {
			t.Fatalf("window %v has %d events of %d", at, w.windows[at], n)
		}
	}
}

// How long rollups are kept is configured elsewhere: windows of any age are replaced.
func TestReplay_ARebuildReplacesWindowsOlderThanTheDefaultRetention(t *testing.T) {
	db, err := sqldb.Open(t.Context(), "sqlite://"+t.TempDir()+"/rollups.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := stores().rollups(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	w := store.begin(nil)
	old := raw.Row{ID: [16]byte{1}, Fleet: "acme", Device: "d", At: time.Now().AddDate(-3, 0, 0).UnixMicro()}
	if err := w.Add(recount.Event{Row: &old}, nil); err != nil {
		t.Fatal(err)
	}
	if n, left, err := w.replace(t.Context()); n != 1 || len(left) > 0 || err != nil {
		t.Fatalf("%d windows were replaced, %v left, %v", n, left, err)
	}
}
