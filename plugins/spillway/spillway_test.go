package spillway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // what every stream needs
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/plugins/event"
	"weir/tests/integration/require"
)

// testLog is a log with one topic of the test's own, and group names likewise.
type testLog struct {
	*testing.T
	brokers string
	topic   string
	client  *kgo.Client
	admin   *kadm.Client
}

// onEveryLog runs a test on kfake and on a real Kafka.
func onEveryLog(t *testing.T, partitions int32, test func(t *testing.T, l testLog)) {
	t.Run("kfake", func(t *testing.T) {
		c, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		test(t, newLog(t, c.ListenAddrs()[0], partitions))
	})
	t.Run("kafka", func(t *testing.T) {
		test(t, newLog(t, require.Env(t, "WEIR_TEST_KAFKA_BROKERS"), partitions))
	})
}

func newLog(t *testing.T, brokers string, partitions int32) testLog {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	l := testLog{t, brokers, fmt.Sprintf("spillway-%x", rand.Uint64()), client, kadm.NewClient(client)}
	retention := "14400000"
	created, err := l.admin.CreateTopic(context.Background(), partitions, 1, map[string]*string{"retention.ms": &retention}, l.topic)
	if err == nil {
		err = created.Err
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// group is a name of the test's own that ends in a stage's.
func (l testLog) group(stage string) string { return l.topic + "-" + stage }

// remove deletes the records before an offset, as retention would.
func (l testLog) remove(partition int32, before int64) {
	l.Helper()
	o := kadm.Offsets{}
	o.AddOffset(l.topic, partition, before, -1)
	deleted, err := l.admin.DeleteRecords(context.Background(), o)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		l.Fatal(err)
	}
}

// add writes n records of an age, a second apart, the oldest first.
func (l testLog) add(partition int32, n int, age time.Duration, headers ...kgo.RecordHeader) {
	l.Helper()
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{
			Topic: l.topic, Partition: partition, Key: []byte("d-1"), Value: fmt.Appendf(nil, `{"n":%d}`, i),
			Timestamp: time.Now().Add(-age + time.Duration(i)*time.Second), Headers: headers,
		})
	}
	if err := l.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		l.Fatal(err)
	}
}

func (l testLog) commit(group string, partition int32, offset int64) {
	l.Helper()
	o := kadm.Offsets{}
	o.AddOffset(l.topic, partition, offset, -1)
	if err := l.admin.CommitAllOffsets(context.Background(), l.group(group), o); err != nil {
		l.Fatal(err)
	}
}

func (l testLog) committed(group string, partition int32) int64 {
	l.Helper()
	o, err := l.admin.FetchOffsets(context.Background(), l.group(group))
	if err != nil {
		l.Fatal(err)
	}
	got, ok := o.Lookup(l.topic, partition)
	if !ok {
		return -1
	}
	return got.At
}

// sink collects what a spillway emits.
type sink struct {
	mu      sync.Mutex
	records []string // partition/offset
	errs    map[string]*event.Rejection
	devices map[string]string
	alerts  []event.Alert
	refuse  int // batches to nack first
}

func (s *sink) take(_ context.Context, batch service.MessageBatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		return errors.New("the dead letters are down")
	}
	for _, msg := range batch {
		raw, err := msg.AsBytes()
		if err != nil {
			return err
		}
		if event.Meta(msg, event.MetaAlert) == "1" {
			var a event.Alert
			if err := json.Unmarshal(raw, &a); err != nil {
				return err
			}
			s.alerts = append(s.alerts, a)
			continue
		}
		record, _, ok := event.CoordinatesOf(msg)
		if !ok {
			return fmt.Errorf("no coordinates: %s", raw)
		}
		at := fmt.Sprintf("%d/%d", record.Partition, record.Offset)
		s.records = append(s.records, at)
		s.errs[at] = event.RejectionOf(msg)
		s.devices[at] = event.Meta(msg, event.MetaDevice)
	}
	return nil
}

func (s *sink) count() (records, alerts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records), len(s.alerts)
}

func newSink() *sink { return &sink{errs: map[string]*event.Rejection{}, devices: map[string]string{}} }

// run starts a spillway stream and returns what stops it.
func (l testLog) run(s *sink, extra string) (stop func()) {
	l.Helper()
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		l.Fatal(err)
	}
	b := env.NewStreamBuilder()
	b.DisableLinting()
	if err := b.AddInputYAML(fmt.Sprintf("spillway:\n  seed_brokers: [%q]\n  topics: [%s, not-there]\n  groups: [%s, %s]\n  consumer_group: %s\n  interval: 50ms\n%s",
		l.brokers, l.topic, l.group("raw"), l.group("rollup"), l.group("spillway"), extra)); err != nil {
		l.Fatal(err)
	}
	if err := b.AddBatchConsumerFunc(s.take); err != nil {
		l.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: ERROR"); err != nil {
		l.Fatal(err)
	}
	stream, err := b.Build()
	if err != nil {
		l.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- stream.Run(context.Background()) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			if err := stream.StopWithin(10 * time.Second); err != nil {
				l.Errorf("stopping: %v", err)
			}
			<-done
		})
	}
	l.Cleanup(stop)
	return stop
}

func (l testLog) eventually(what string, ok func() bool) {
	l.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.Fatalf("waited in vain for %s", what)
		}
	}
}

// quiet waits for some cycles and checks that nothing more comes.
func (l testLog) quiet(s *sink, records, alerts int) {
	l.Helper()
	time.Sleep(500 * time.Millisecond)
	if r, a := s.count(); r != records || a != alerts {
		l.Errorf("%d records and %d alerts came, expected %d and %d", r, a, records, alerts)
	}
}

func TestExpiringRecordsLeaveOnceNamingWhoMissedThem(t *testing.T) {
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

func TestBeyondTheDepthTheOldestGo(t *testing.T) {
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

func TestANackedRecordComesAgain(t *testing.T) {
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

func TestLostRecordsAreReported(t *testing.T) {
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
		if a.Rule != ruleGap || a.Details["first_offset"] != 10.0 || a.Details["last_offset"] != 29.0 || a.Details["group"] != l.group("rollup") {
			t.Errorf("%+v", a)
		}
	})
}

func TestSpilledRecordsAreNoGap(t *testing.T) {
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

func TestAGroupThatNeverWasMissesNothing(t *testing.T) {
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

func TestAReplayCountsForItsTargetsOnly(t *testing.T) {
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

func TestInstancesShareThePartitions(t *testing.T) {
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

func TestAHoleInTheLogIsReported(t *testing.T) {
	in := &input{said: map[string]time.Time{}, now: time.Now}
	in.gaps = service.MockResources().Metrics().NewCounter("weir_spillway_gap_records_total", "group")
	in.log = service.MockResources().Logger()
	at := &position{committed: map[string]int64{"raw": 0, "rollup": 100}}
	in.lookForHoles(chunk{p: partition{"t", 0}, at: at, first: 5, next: 20, records: []*kgo.Record{{Offset: 7}, {Offset: 8}, {Offset: 12}}})
	var got []string
	for _, a := range in.pending {
		got = append(got, fmt.Sprint(a.Details["group"], a.Details["first_offset"], a.Details["last_offset"]))
	}
	if want := []string{"raw5 6", "raw9 11", "raw13 19"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestNothingIsDueTwiceAndNothingGoesUnsaid plays random histories of a
// partition: whatever the log deletes was processed by a group, dead-lettered,
// or reported as a gap, and nothing is dead-lettered twice.
func TestNothingIsDueTwiceAndNothingGoesUnsaid(t *testing.T) {
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

func TestTheMarginIsAtMostHalfTheRetention(t *testing.T) {
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
