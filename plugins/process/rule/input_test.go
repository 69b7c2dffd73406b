package rule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// The metadata of a result says whether its rule has an alert. A value with the name alert does not
// matter.
func TestRuleResults_AlertsAreMarked(t *testing.T) {
	b := newBench(t, strings.Replace(strings.Replace(alerting, "n: count()", "n: count(), alert: count()", 1), "rules:\n",
		`rules:
  - name: silent
    key: [device_id]
    window: { type: tumbling, size: 1m, allowed_lateness: 1h }
    select: { alert: count() }
`, 1))
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)), message(0, 1, at(70*s, 1)))
	batch, _, err := unsent(t.Context(), o.db, 10)
	if err != nil || len(batch) != 2 {
		t.Fatalf("%d results, %v", len(batch), err)
	}
	for _, msg := range batch {
		if marked := event.Meta(msg, event.MetaAlerts) != ""; marked != (event.Meta(msg, event.HeaderRule) == "minute") {
			t.Errorf("a result of rule %s is marked as an alert: %t", event.Meta(msg, event.HeaderRule), marked)
		}
	}
}

// Results are handed on in order, again until they are acknowledged, and not after that.
func TestRuleResults_AreHandedOnUntilAcknowledged(t *testing.T) {
	b := newBench(t, strings.Replace(perMinute, "}, window", "}, emit: { on: update }, window", 1))
	o := b.operator()
	now := time.Now()
	input := func() *results {
		t.Helper()
		parsed, err := ruleResultsSpec().ParseYAML(fmt.Sprintf("url: %q\npoll: 1ms", b.url), nil)
		if err != nil {
			t.Fatal(err)
		}
		in, err := newResults(parsed, service.MockResources())
		if err == nil {
			err = in.Connect(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close(context.Background()) })
		in.now = func() time.Time { return now }
		return in
	}
	read := func(in *results) (told []string, ack service.AckFunc) {
		t.Helper()
		batch, ack, err := in.ReadBatch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, msg := range batch {
			raw, err := msg.AsBytes()
			if err != nil {
				t.Fatal(err)
			}
			r := parseTold(t, raw)
			if event.Meta(msg, event.HeaderResult) != r.ID || event.Meta(msg, event.HeaderRevision) != fmt.Sprint(r.Revision) ||
				event.Meta(msg, event.HeaderFleet) != "plant-1" || event.Meta(msg, event.MetaDevice) != "pump-1" {
				t.Errorf("%s has the metadata of another result", raw)
			}
			told = append(told, fmt.Sprintf("%s/%d", r.Status, r.Revision))
		}
		return told, ack
	}
	b.apply(o, message(0, 0, at(0, 1)), message(0, 1, at(1*s, 1)))
	in := input()
	want := []string{"provisional/0", "provisional/1"}
	told, ack := read(in)
	expect(t, told, want...)
	if err := ack(t.Context(), errors.New("refused")); err != nil {
		t.Fatal(err)
	}
	told, _ = read(in) // and the process is killed
	expect(t, told, want...)
	in = input()
	if batch, _, err := in.next(t.Context(), in.db); err != nil || batch != nil {
		t.Fatalf("while another input has the lease: %v, %v", batch, err)
	}
	now = now.Add(handLease)
	told, ack = read(in)
	expect(t, told, want...)
	if err := ack(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	b.apply(o, message(0, 2, at(66*s, 1)))
	told, ack = read(in)
	slices.Sort(told)
	expect(t, told, "final/2", "provisional/0")
	if err := ack(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	b.apply(o, message(0, 3, at(67*s, 1)))
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	told, _ = read(input()) // at once: Close has released the lease
	expect(t, told, "provisional/1")
}

// Revisions are handed on in their order, also if the clock of the process that emits the next one is
// behind.
func TestRuleResults_AreInOrderWhenTheClockGoesBack(t *testing.T) {
	b := newBench(t, strings.Replace(perMinute, "}, window", "}, emit: { on: update }, window", 1))
	first, second := b.operator(), b.operator()
	second.now = func() time.Time { return time.Now().Add(-time.Minute) }
	b.apply(first, message(0, 0, at(0, 1)))
	b.apply(second, message(0, 1, at(1*s, 1)))
	batch, _, err := unsent(t.Context(), first.db, handedLeast)
	if err != nil || len(batch) != 2 {
		t.Fatalf("%d results, %v", len(batch), err)
	}
	for i, msg := range batch {
		if event.Meta(msg, event.HeaderRevision) != fmt.Sprint(i) {
			t.Errorf("revision %s is handed on as number %d", event.Meta(msg, event.HeaderRevision), i)
		}
	}
	if got := following(int64(2*time.Hour/time.Microsecond), 5); got != 5 {
		t.Errorf("after a clock that was hours ahead, results are recorded at %d, want 5", got)
	}
}

// Results that are marked as sent in PostgreSQL are not read again.
func TestRuleResults_AreMarkedAsSentInPostgres(t *testing.T) {
	b := newBench(t, strings.Replace(perMinute, "}, window", "}, emit: { on: update }, window", 1))
	b.postgres()
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)), message(0, 1, at(1*s, 1)), message(0, 2, at(2*s, 1)))
	_, keys, err := unsent(t.Context(), o.db, 2)
	if err == nil {
		err = sent(t.Context(), o.db, keys)
	}
	if err != nil || len(keys) != 2 {
		t.Fatal(len(keys), err)
	}
	if _, left, err := unsent(t.Context(), o.db, 2); err != nil || len(left) != 1 || left[0].revision != 2 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// Batches of results grow while their sink is fast. For a slow sink they shrink, so that a batch does
// not take longer than the lease.
func TestRuleResults_BatchesFollowThePaceOfTheirSink(t *testing.T) {
	var p pace
	for _, step := range []struct {
		results int
		took    time.Duration
		want    int
	}{
		{500, time.Millisecond, 1000}, {1000, time.Millisecond, 2000}, {10, time.Millisecond, 2000},
		{2000, handLease / 5, 2000}, {2000, time.Millisecond, 4000}, {4000, time.Millisecond, handedMost},
		{4000, handLease, 2000}, {1, handLease, 1000}, {1, handLease, 500}, {1, handLease, handedLeast},
	} {
		if p.took(step.results, step.took); p.limit() != step.want {
			t.Fatalf("after %d in %s: %d at a time, not %d", step.results, step.took, p.limit(), step.want)
		}
	}
}
