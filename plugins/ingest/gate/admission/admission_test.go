package admission

import (
	"math"
	"testing"
	"time"

	"weir/internal/platform/flow"
)

func testAdmission(l Limits, q Quotas) (*Admission, *time.Time) {
	now := time.Unix(1_800_000_000, 0)
	a := New(l, q, &flow.Line{})
	a.now = func() time.Time { return now }
	a.jitter = func() float64 { return 0 }
	return a, &now
}

var roomy = Limits{Requests: 1 << 20, Bytes: 1 << 40}

// send tries one request of n events that is over at once.
func (a *Admission) send(fleet string, n int) *Refusal {
	h, ref := a.Enter(fleet)
	if ref != nil {
		return ref
	}
	defer h.Release()
	return h.Charge(n)
}

func TestAdmission_QuotaHoldsInTheLongRun(t *testing.T) {
	a, now := testAdmission(roomy, Quotas{All: Quota{Rate: 100, Burst: 200}})
	took := 0
	for range 600 { // a minute, at ten times the quota
		if ref := a.send("acme", 100); ref == nil {
			took += 100
		} else if ref.After < time.Second || ref.Name != "quota-exceeded" {
			t.Fatalf("%+v", ref)
		}
		*now = now.Add(100 * time.Millisecond)
	}
	if took < 6000 || took > 6000+200+100 {
		t.Errorf("took %d events in a minute", took)
	}
	if ref := a.send("other", 100); ref != nil {
		t.Errorf("another fleet is refused: %v", ref)
	}
}

func TestAdmission_RetryAfterIsLongEnough(t *testing.T) {
	a, now := testAdmission(roomy, Quotas{All: Quota{Rate: 10, Burst: 10}})
	if ref := a.send("acme", 100); ref != nil {
		t.Fatal(ref)
	}
	ref := a.send("acme", 1)
	if ref == nil || seconded(ref) != 10 { // 90 events of debt and one more, at ten a second
		t.Fatalf("%+v", ref)
	}
	*now = now.Add(ref.After)
	if ref := a.send("acme", 1); ref != nil {
		t.Errorf("after the wait: %v", ref)
	}
}

func TestAdmission_RefundGivesBack(t *testing.T) {
	a, _ := testAdmission(roomy, Quotas{All: Quota{Rate: 10, Burst: 10}})
	for range 20 {
		h, ref := a.Enter("acme")
		if ref == nil {
			ref = h.Charge(10)
		}
		if ref != nil {
			t.Fatal(ref)
		}
		h.Refund()
		h.Release()
		h.Release()
	}
	if a.requests != 0 || a.bytes != 0 {
		t.Errorf("%d requests, %d bytes are left", a.requests, a.bytes)
	}
}

func TestAdmission_LoudFleetLeavesRoomForAnother(t *testing.T) {
	a, _ := testAdmission(Limits{Requests: 100, Bytes: 1 << 30}, Quotas{})
	fill := func(fleet string) (n int) {
		for {
			if _, ref := a.Enter(fleet); ref != nil {
				return n
			}
			n++
		}
	}
	loud := fill("loud")
	quiet := fill("quiet")
	third := fill("third")
	if loud != 80 || quiet < 10 || third < 2 {
		t.Errorf("in flight: %d, %d, %d", loud, quiet, third)
	}

	a, _ = testAdmission(Limits{Requests: 1000, Bytes: 1000}, Quotas{})
	bytes := func(fleet string) (n int) {
		for {
			h, ref := a.Enter(fleet)
			if ref != nil {
				t.Fatal(ref)
			}
			if h.Grow(10) != nil {
				return n
			}
			n += 10
		}
	}
	if loud, quiet := bytes("loud"), bytes("quiet"); loud < 700 || loud > 800 || quiet < 100 {
		t.Errorf("bytes: %d, %d", loud, quiet)
	}
}

// Room comes when what is in flight is acknowledged: the wait is as long as that
// has been taking.
func TestAdmission_FullGateSaysHowSoonThereIsRoom(t *testing.T) {
	a, now := testAdmission(Limits{Requests: 1, Bytes: 1 << 30}, Quotas{})
	for range 100 {
		h, ref := a.Enter("acme")
		if ref != nil {
			t.Fatal(ref)
		}
		*now = now.Add(7 * time.Second)
		h.Release()
	}
	if _, ref := a.Enter("acme"); ref != nil {
		t.Fatal(ref)
	}
	if _, ref := a.Enter("acme"); ref == nil || seconded(ref) != 7 {
		t.Errorf("%+v", ref)
	}
}

func TestAdmission_BacklogDoesNotFlap(t *testing.T) {
	l := Bounds{Records: 1000, Age: time.Minute, Resume: 0.5}
	var b Backlog
	changes := []intake{}
	for i := range 1870 { // a backlog that trembles around the bound and its resume point
		level := 750 + 450*math.Sin(float64(i)/150) + 40*math.Sin(float64(i))
		was := b.state
		if b = b.next(reading{records: int(level), drain: 100}, l); b.state != was {
			changes = append(changes, b.state)
		}
	}
	if len(changes) != 4 { // twice up, twice down
		t.Errorf("changes: %v", changes)
	}
	for _, c := range []struct {
		was     intake
		records int
		age     time.Duration
		want    intake
	}{
		{flowing, 999, 0, flowing}, {flowing, 1000, 0, pressed}, {flowing, 1250, 0, stopped}, {pressed, 500, 0, pressed},
		{pressed, 499, 0, flowing},
		{stopped, 1100, 0, stopped}, {stopped, 999, 0, pressed}, {stopped, 400, 0, flowing},
		{flowing, 1, time.Minute, pressed}, {pressed, 1, 29 * time.Second, flowing},
	} {
		if got := (Backlog{state: c.was}).next(reading{records: c.records, age: c.age}, l).state; got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestAdmission_PressedGateAdmitsFairShares(t *testing.T) {
	a, now := testAdmission(roomy, Quotas{})
	l := Bounds{Records: 10_000, Age: time.Hour, Resume: 0.8}
	took := map[string]int{}
	refused := 0
	for tick := range 300 { // half a minute: one fleet floods, one sends a little
		if tick%10 == 0 {
			a.Measured(Backlog{}.next(reading{group: "weir-rollup", records: 11_000, drain: 1000}, l))
		}
		for range 20 {
			if ref := a.send("loud", 50); ref == nil {
				took["loud"] += 50
			} else if refused++; ref.Name != "backlog-full" || seconded(ref) < 3 { // 3,000 to drain at 1,000 a second
				t.Fatalf("%+v", ref)
			}
		}
		if tick%5 == 0 {
			if ref := a.send("quiet", 10); ref == nil {
				took["quiet"] += 10
			}
		}
		*now = now.Add(100 * time.Millisecond)
	}
	if total := took["loud"] + took["quiet"]; total > 30_000 {
		t.Errorf("took %d, more than is drained", total)
	}
	if took["quiet"] != 600 {
		t.Errorf("the quiet fleet was refused: took %d of 600", took["quiet"])
	}
	if took["loud"] < 10_000 || refused == 0 {
		t.Errorf("the loud fleet: took %d, refused %d times", took["loud"], refused)
	}

	a.Measured(Backlog{}.next(reading{records: 13_000, drain: 1000}, l))
	if ref := a.send("quiet", 1); ref == nil || seconded(ref) < 5 {
		t.Errorf("far above the bound: %+v", ref)
	}
	a.Measured(Backlog{}.next(reading{records: 11_000, watched: time.Minute}, l))
	if ref := a.send("quiet", 1); ref == nil || seconded(ref) != 60 {
		t.Errorf("nothing drains: %+v", ref)
	}
	a.Measured(Backlog{}.next(reading{records: 100, drain: 1000}, l))
	if ref := a.send("loud", 100); ref != nil {
		t.Errorf("the backlog is gone: %v", ref)
	}
}

func TestAdmission_JitterSpreadsTheReturn(t *testing.T) {
	a := New(roomy, Quotas{}, &flow.Line{})
	for _, want := range []time.Duration{0, time.Millisecond, time.Second, 20 * time.Second, time.Hour} {
		seen := map[int]int{}
		for range 1000 {
			seen[seconded(&Refusal{After: a.spread(want)})]++
		}
		least := int(max(time.Second, min(want, maxRetryAfter)) / time.Second)
		for s := range seen {
			if s < least || s > least+max(3, least/2+1) {
				t.Errorf("%v: %d seconds", want, s)
			}
		}
		if len(seen) < 3 {
			t.Errorf("%v: all at once: %v", want, seen)
		}
	}
}

func TestAdmission_IdleFleetsAreForgotten(t *testing.T) {
	a, now := testAdmission(roomy, Quotas{All: Quota{Rate: 1, Burst: 100}})
	for i := range 1000 {
		if ref := a.send(string(rune('a'+i%26))+time.Duration(i).String(), 50); ref != nil {
			t.Fatal(ref)
		}
	}
	*now = now.Add(20 * time.Second)
	a.Measured(Backlog{})
	if len(a.fleets) != 1000 {
		t.Errorf("%d fleets: a debt was forgotten", len(a.fleets))
	}
	*now = now.Add(time.Minute)
	a.Measured(Backlog{})
	if len(a.fleets) != 0 {
		t.Errorf("%d fleets", len(a.fleets))
	}
}

// ofBoth are offsets of the two partitions of a topic.
func ofBoth(first, second int64) offsets {
	return offsets{{Topic: "t", Number: 0}: first, {Topic: "t", Number: 1}: second}
}

func TestAdmission_LagMeterReadsTheSlowestGroup(t *testing.T) {
	l := Bounds{Records: 100_000, Age: 10 * time.Minute, Resume: 0.8}
	m := newLagMeter(l)
	start := time.Unix(1_800_000_000, 0)
	m.history.Note(start.Add(-time.Minute), ofBoth(500, 0))
	var r reading
	for i := range 121 { // 100 a second are written to each partition; fast takes all, slow half
		now := start.Add(time.Duration(i) * time.Second)
		end := int64(1000 + 100*i)
		r = m.read(now, ofBoth(0, 0), ofBoth(end, end), map[string]offsets{
			"fast": ofBoth(end, end-1),
			"slow": ofBoth(1000+int64(50*i), 1000+int64(50*i)),
		})
	}
	if r.group != "slow" || r.records != 2*6000 || r.age < 55*time.Second || r.age > 65*time.Second || r.drain < 95 ||
		r.drain > 105 {
		t.Errorf("%+v", r)
	}
	at := start.Add(2 * time.Minute)
	r = m.read(at, ofBoth(0, 0), ofBoth(13_000, 13_000), map[string]offsets{"new": ofBoth(-1, 0)})
	if r.records != 26_000 || r.age < 2*time.Minute {
		t.Errorf("a group that never committed: %+v", r)
	}
	r = m.read(at, ofBoth(12_900, 12_990), ofBoth(13_000, 13_000), map[string]offsets{"old": ofBoth(5, 5)})
	if r.records != 110 {
		t.Errorf("what the log has dropped is counted: %+v", r)
	}

	m.read(at.Add(time.Second), ofBoth(0, 0), ofBoth(13_000, 0), map[string]offsets{"back": ofBoth(9000, 0)})
	r = m.read(at.Add(2*time.Second), ofBoth(0, 0), ofBoth(13_000, 0), map[string]offsets{"back": ofBoth(1000, 0)})
	if r.drain != 0 || r.records != 12_000 {
		t.Errorf("a group whose offsets were set back: %+v", r)
	}
}

// seconded is how long a refusal sends away.
func seconded(r *Refusal) int { return int(r.After / time.Second) }
