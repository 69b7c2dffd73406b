package spillway

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
)

func TestSpillway_ExpiringRecordsLeaveOnceNamingWhoMissedThem(t *testing.T) {
	onEveryLog(t, 2, func(t *testing.T, l testLog) {
		l.add(0, 20, 3*time.Hour+50*time.Minute)
		l.add(0, 10, time.Minute)
		l.add(1, 5, 3*time.Hour+55*time.Minute)
		l.commit("raw", 0, 12)
		l.commit("raw", 1, 5)
		l.commit("rollup", 0, 5) // and nothing in partition 1
		s := newSink()
		stop := l.run(s, "")
		l.eventually("15 + 5 records", func() bool { r, _ := s.count(); return r >= 20 })
		l.quiet(s, 20, 2)

		if !slices.Equal(s.records[:5], []string{"1/0", "1/1", "1/2", "1/3", "1/4"}) {
			t.Errorf("the oldest did not go first: %v", s.records)
		}
		for i := range 30 {
			c := fmt.Sprintf("0/%d", i)
			r := s.errs[c]
			if spilled := i >= 5 && i < 20; spilled != (r != nil) {
				t.Fatalf("%s: %v", c, r)
			} else if !spilled {
				continue
			}
			named := fmt.Sprint(r.Errors)
			if r.Code != event.CodeExpired || !strings.Contains(named, "rollup") || strings.Contains(named, "raw") != (i >= 12) {
				t.Errorf("%s: %s %s", c, r.Code, named)
			}
			if s.devices[c] != "d-1" {
				t.Errorf("%s has record key %q", c, s.devices[c])
			}
		}
		groups := []string{s.alerts[0].Details["group"].(string), s.alerts[1].Details["group"].(string)}
		slices.Sort(groups)
		if s.alerts[0].Rule != ruleSpilled || !slices.Equal(groups, []string{l.group("raw"), l.group("rollup")}) {
			t.Errorf("alerts: %+v", s.alerts)
		}
		stop()
		if got := l.committed("spillway", 0); got != 20 {
			t.Errorf("progress was committed as %d", got)
		}
		again := newSink()
		l.run(again, "")
		l.quiet(again, 0, 0)
	})
}

func TestSpillway_BeyondTheDepthTheOldestGo(t *testing.T) {
	onEveryLog(t, 1, func(t *testing.T, l testLog) {
		l.add(0, 100, time.Hour)
		l.commit("raw", 0, 90)
		l.commit("rollup", 0, 10)
		s := newSink()
		l.run(s, "  max_depth: 60\n")
		l.eventually("30 records", func() bool { r, _ := s.count(); return r >= 30 })
		l.quiet(s, 30, 1)
		if s.records[0] != "0/10" || s.records[29] != "0/39" {
			t.Errorf("%v", s.records)
		}
		if r := s.errs["0/39"]; r.Code != event.CodeOverflow {
			t.Errorf("code %s", r.Code)
		}
		l.add(0, 5, time.Second)
		l.eventually("5 more", func() bool { r, _ := s.count(); return r >= 35 })
		l.quiet(s, 35, 1) // told once an hour
	})
}

func TestSpillway_ANackedRecordComesAgain(t *testing.T) {
	onEveryLog(t, 1, func(t *testing.T, l testLog) {
		l.add(0, 10, 3*time.Hour+50*time.Minute)
		l.commit("raw", 0, 10)
		l.commit("rollup", 0, 0)
		s := newSink()
		s.refuse = 4
		l.run(s, "")
		l.eventually("10 records", func() bool { r, _ := s.count(); return r >= 10 })
		l.quiet(s, 10, 1)
		for c, r := range s.errs {
			if r == nil || r.Code != event.CodeExpired {
				t.Errorf("%s came again without its reason: %v", c, r)
			}
		}
	})
}

func TestSpillway_LostRecordsAreReported(t *testing.T) {
	onEveryLog(t, 1, func(t *testing.T, l testLog) {
		l.add(0, 50, time.Hour)
		l.commit("raw", 0, 50)
		l.commit("rollup", 0, 10)
		l.remove(0, 30)
		s := newSink()
		l.run(s, "")
		l.eventually("an alert", func() bool { _, a := s.count(); return a >= 1 })
		l.quiet(s, 0, 1)
		a := s.alerts[0]
		if a.Rule != ruleGap || a.Details["first_offset"] != 10.0 || a.Details["last_offset"] != 29.0 ||
			a.Details["group"] != l.group("rollup") {
			t.Errorf("%+v", a)
		}
	})
}

func TestSpillway_SpilledRecordsAreNoGap(t *testing.T) {
	onEveryLog(t, 1, func(t *testing.T, l testLog) {
		l.add(0, 50, 3*time.Hour+50*time.Minute)
		l.commit("raw", 0, 50)
		l.commit("rollup", 0, 10)
		s := newSink()
		stop := l.run(s, "")
		l.eventually("40 records", func() bool { r, _ := s.count(); return r >= 40 })
		stop()
		l.remove(0, 50)
		again := newSink()
		l.run(again, "")
		l.quiet(again, 0, 0)
	})
}

func TestSpillway_AGroupThatNeverWasMissesNothing(t *testing.T) {
	onEveryLog(t, 1, func(t *testing.T, l testLog) {
		l.add(0, 10, 3*time.Hour+50*time.Minute)
		l.commit("raw", 0, 10)
		l.add(0, 3, 3*time.Hour+49*time.Minute) // which raw has missed
		s := newSink()
		l.run(s, "")
		l.eventually("3 records", func() bool { r, _ := s.count(); return r >= 3 })
		l.quiet(s, 3, 1)
		for c, r := range s.errs {
			if strings.Contains(r.Error(), "rollup") {
				t.Errorf("%s: %s", c, r)
			}
		}
	})
}

func TestSpillway_AReplayCountsForItsTargetsOnly(t *testing.T) {
	onEveryLog(t, 1, func(t *testing.T, l testLog) {
		l.add(0, 4, 3*time.Hour+50*time.Minute, kgo.RecordHeader{Key: event.HeaderTarget, Value: []byte("detect,raw")})
		l.add(0, 4, 3*time.Hour+49*time.Minute)
		l.commit("raw", 0, 2)
		l.commit("rollup", 0, 0)
		s := newSink()
		l.run(s, "")
		l.eventually("6 records", func() bool { r, _ := s.count(); return r >= 6 })
		l.quiet(s, 6, 2)
		for i, want := range []string{"", "", "raw", "raw", "raw rollup"} {
			r := s.errs[fmt.Sprintf("0/%d", i)]
			var got []string
			if r != nil {
				for _, e := range r.Errors {
					got = append(got, strings.TrimPrefix(strings.Fields(e.Message)[1], l.topic+"-"))
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("record %d was missed by %q, expected %q", i, got, want)
			}
		}
		if got := l.committed("spillway", 0); got != 8 {
			t.Errorf("progress was committed as %d", got)
		}
	})
}

func TestSpillway_InstancesShareThePartitions(t *testing.T) {
	onEveryLog(t, 6, func(t *testing.T, l testLog) {
		for p := range int32(6) {
			l.commit("raw", p, 0)
			l.commit("rollup", p, 0)
		}
		a, b := newSink(), newSink()
		l.run(a, "")
		stop := l.run(b, "")
		time.Sleep(time.Second) // let the group settle
		for p := range int32(6) {
			l.add(p, 700, 3*time.Hour+50*time.Minute)
		}
		both := func() int { x, _ := a.count(); y, _ := b.count(); return x + y }
		l.eventually("4200 records", func() bool { return both() >= 4200 })
		stop()
		l.eventually("the end", func() bool { time.Sleep(300 * time.Millisecond); return true })
		all := append(slices.Clone(a.records), b.records...)
		slices.Sort(all)
		if n := len(slices.Compact(all)); n != 4200 || both() != n {
			t.Errorf("%d different records, %d in all", n, both())
		}
		x, _ := a.count()
		y, _ := b.count()
		if x == 0 || y == 0 {
			t.Errorf("one took %d records, the other %d", x, y)
		}
	})
}

func TestSpillway_AHoleInTheLogIsReported(t *testing.T) {
	in := &input{said: map[string]time.Time{}, now: time.Now}
	in.holds = func(context.Context, partition, run) (bool, error) { return false, nil }
	in.gaps = service.MockResources().Metrics().NewCounter("weir_spillway_gap_records_total", "group")
	in.log = service.MockResources().Logger()
	at := &position{committed: map[string]int64{"raw": 0, "rollup": 100}}
	c := chunk{p: partition{"t", 0}, at: at, first: 5, next: 20, records: []*kgo.Record{{Offset: 7}, {Offset: 8},
		{Offset: 12}}}
	if err := in.lookForHoles(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range in.pending {
		got = append(got, fmt.Sprint(a.Details["group"], a.Details["first_offset"], a.Details["last_offset"]))
	}
	if want := []string{"raw5 6", "raw9 11", "raw13 19"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestSpillway_NothingIsDueTwiceAndNothingGoesUnsaid plays random histories of a
// partition: whatever the log deletes was processed by a group, dead-lettered,
// or reported as a gap, and nothing is dead-lettered twice.
func TestSpillway_NothingIsDueTwiceAndNothingGoesUnsaid(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		p := &position{committed: map[string]int64{"a": 0, "b": 0}}
		letters := map[int64][]string{}
		said := map[string]map[int64]bool{"a": {}, "b": {}}
		look := func() {
			for g, gap := range p.gaps() {
				for o := gap.first; o < gap.limit; o++ {
					said[g][o] = true
				}
			}
			r := p.due()
			for o := r.first; o < r.limit; o++ {
				if letters[o] != nil {
					t.Fatalf("seed %d: offset %d is due twice", seed, o)
				}
				if letters[o] = p.missedBy(o); len(letters[o]) == 0 {
					t.Fatalf("seed %d: offset %d is due, but nobody missed it", seed, o)
				}
				p.spilled = o + 1
				if rng.IntN(20) == 0 {
					return // stopped half way
				}
			}
		}
		for range 200 {
			p.end += rng.Int64N(10)
			for g, next := range p.committed {
				if rng.IntN(3) > 0 {
					p.committed[g] = min(next+rng.Int64N(12), p.end)
				}
			}
			p.expiring = max(p.expiring, p.end-40)
			p.deep = p.end - 60
			if rng.IntN(4) > 0 { // else the spillway sleeps
				look()
			}
			if s := p.end - 50; s > p.start {
				p.start = s
			}
		}
		look()
		look()
		for g, next := range p.committed {
			for o := next; o < p.start; o++ {
				if !said[g][o] && !slices.Contains(letters[o], g) {
					t.Fatalf("seed %d: offset %d was deleted under group %s, and nobody said so", seed, o, g)
				}
			}
		}
	}
}

func TestSpillway_TheMarginIsAtMostHalfTheRetention(t *testing.T) {
	now := time.Now()
	for _, c := range []struct{ retention, margin, age time.Duration }{
		{4 * time.Hour, 30 * time.Minute, 3*time.Hour + 30*time.Minute},
		{time.Hour, 2 * time.Hour, 30 * time.Minute},
	} {
		if got := now.Sub(horizon(now, c.retention, c.margin)); got != c.age {
			t.Errorf("retention %s, margin %s: due at an age of %s", c.retention, c.margin, got)
		}
	}
}

// What was aborted is no event: it is not dead-lettered, no gap, and nothing to say.
func TestSpillway_WhatWasAbortedIsNoRecord(t *testing.T) {
	onEveryLog(t, 1, func(t *testing.T, l testLog) {
		client, err := kgo.NewClient(append(l.client.Opts(), kgo.TransactionalID(l.topic))...)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		testLog{l.T, l.access, l.topic, client, l.admin}.add(0, 3, time.Minute)
		if err := client.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		l.eventually("the marker", func() bool { // it follows the answer
			ends, err := l.admin.ListEndOffsets(t.Context(), l.topic)
			at, _ := ends.Lookup(l.topic, 0)
			return err == nil && at.Offset == 4
		})
		l.commit("raw", 0, 0)
		l.commit("rollup", 0, 0)
		l.commit("spillway", 0, 0)
		s := newSink()
		stop := l.run(s, "  max_depth: 1\n")
		l.eventually("what was aborted to pass", func() bool { return l.committed("spillway", 0) == 3 })
		l.quiet(s, 0, 0)
		l.add(0, 3, time.Minute) // 4 to 6
		l.eventually("the two oldest events", func() bool { return l.committed("spillway", 0) == 6 })
		l.quiet(s, 2, 2) // and one alert for each group
		stop()
	})
}

// A topic is made anew while the spillway runs: what went through of the old one
// says nothing of the new records.
func TestSpillway_ATopicMadeAnewIsAnother(t *testing.T) {
	onEveryLog(t, 1, func(t *testing.T, l testLog) {
		l.add(0, 20, 3*time.Hour+50*time.Minute)
		l.commit("raw", 0, 0)
		s := newSink()
		l.run(s, "")
		l.eventually("20 records", func() bool { r, _ := s.count(); return r >= 20 })
		if _, err := l.admin.DeleteTopic(t.Context(), l.topic); err != nil {
			t.Fatal(err)
		}
		retention := "14400000"
		l.eventually("the topic to be made again", func() bool {
			created, err := l.admin.CreateTopic(t.Context(), 1, 1, map[string]*string{"retention.ms": &retention}, l.topic)
			return err == nil && created.Err == nil
		})
		client, err := kgo.NewClient(l.client.Opts()...) // the other knows the old topic
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		anew := testLog{l.T, l.access, l.topic, client, kadm.NewClient(client)}
		anew.add(0, 5, 3*time.Hour+50*time.Minute)
		anew.commit("raw", 0, 0)
		l.eventually("the new records", func() bool { r, _ := s.count(); return r >= 25 })
	})
}
