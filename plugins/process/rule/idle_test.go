package rule

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The time of a partition that was read to its end moves on with the clock. While records wait in the
// log, it does not.
func TestEventRules_TimeOfAnIdlePartitionFollowsTheClock(t *testing.T) {
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	produce := func() {
		t.Helper()
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "raw-events",
			Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t, perMinute)
	b.extra = fmt.Sprintf("idle: 1h\nseed_brokers: [%q]\n", log.ListenAddrs()[0])
	o := b.operator()
	o.now = func() time.Time { return noon().Add(3 * time.Hour) }
	produce()
	produce()
	b.apply(o, message(0, 0, at(0, 1)))
	later := func() {
		t.Helper()
		o.idle = time.Nanosecond // the last record came longer ago than this
		o.now = func() time.Time { return noon().Add(4 * time.Hour) }
		if err := o.moveIdle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	later()
	if got := b.count("minute"); len(got) > 0 {
		t.Errorf("a record waits in the log, and time has moved on: %q", got)
	}
	b.apply(o, message(0, 1, at(1*s, 1)))
	o.now = func() time.Time { return noon().Add(5 * time.Hour) }
	if err := o.moveIdle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 2"}) {
		t.Errorf("the last window has no result: %q", got)
	}
	// A process that has just started, and has read no record, moves the time as well.
	produce()
	b.apply(o, message(0, 2, at(5*time.Hour, 1)))
	other := b.operator()
	other.idle = time.Nanosecond
	other.now = func() time.Time { return noon().Add(7 * time.Hour) }
	if err := other.moveIdle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.count("minute"); len(got) != 2 {
		t.Errorf("after a restart the last window has no result: %q", got)
	}
	// It takes other rules up as well, although no timer is due.
	v := b.versions()
	two := v.put(t, otherwise())
	for _, act := range []func() (Activation, error){
		func() (Activation, error) { return v.ActivateFor(t.Context(), two.Number, []string{"plant-*"}, "ann") },
		func() (Activation, error) { return v.Activate(t.Context(), two.Number, "ann") }} {
		a, err := act()
		if err != nil {
			t.Fatal(err)
		}
		behind := func() int {
			t.Helper()
			partitions, err := v.Partitions(t.Context())
			if err != nil || len(partitions) != 1 {
				t.Fatalf("%+v %v", partitions, err)
			}
			return Groups(a, partitions)[0].Behind
		}
		if n := behind(); n != 1 {
			t.Errorf("before the version is taken up, %d partitions are behind, want 1", n)
		}
		began := other.now().Add(time.Hour)
		other.now = func() time.Time { return began }
		if err := other.moveIdle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := behind(); n != 0 {
			t.Errorf("an idle partition does not take up %+v", a)
		}
	}
}

// After the last event of a transaction comes its marker, which no consumer is given: the partition
// was read to its end nevertheless. Aborted events are not waited for either.
func TestEventRules_MarkersOfTransactionsDelayNothing(t *testing.T) {
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...), kgo.TransactionalID("t"),
		kgo.DefaultProduceTopic("raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	transaction := func(end kgo.TransactionEndTry) {
		t.Helper()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t, perMinute)
	b.extra = fmt.Sprintf("idle: 1h\nseed_brokers: [%q]\n", log.ListenAddrs()[0])
	o := b.operator()
	o.now = func() time.Time { return noon().Add(3 * time.Hour) }
	transaction(kgo.TryCommit)
	b.apply(o, message(0, 0, at(0, 1)))
	o.idle = time.Nanosecond
	later := func(hours int) []string {
		t.Helper()
		o.now = func() time.Time { return noon().Add(time.Duration(hours) * time.Hour) }
		if err := o.moveIdle(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b.count("minute")
	}
	if got := later(4); len(got) != 1 {
		t.Errorf("a marker at the end of the log delays the window: %q", got)
	}
	transaction(kgo.TryCommit)
	transaction(kgo.TryAbort)
	b.apply(o, message(0, 2, at(5*time.Hour, 1)))
	if got := later(7); len(got) != 2 {
		t.Errorf("an aborted transaction at the end of the log delays the window: %q", got)
	}
	transaction(kgo.TryCommit)
	b.apply(o, message(0, 6, at(8*time.Hour, 1)))
	transaction(kgo.TryCommit)
	if got := later(10); len(got) != 2 {
		t.Errorf("an event waits in the log, and time has moved on: %q", got)
	}
}

// After a step of the machine's clock, ahead or back, the clock is not used for as long as the step
// was.
func TestClock_StepsStopIdleness(t *testing.T) {
	const hour = time.Hour
	for _, step := range []time.Duration{2 * hour, -2 * hour} {
		var c clock
		for i, look := range []struct {
			wall, ran time.Duration
			steady    bool
		}{{100 * hour, 0, true}, {101 * hour, hour, true}, {102*hour + step, 2 * hour, false}, {103*hour + step, 3 * hour,
			false},
			{104*hour + step, 4 * hour, true}} {
			if got := c.steady(look.wall, look.ran, time.Minute); got != look.steady {
				t.Errorf("step of %s: at look %d the clock is used: %v", step, i, got)
			}
		}
	}
}

// The two clocks are never read at the same moment: nanoseconds between them are not a step, however
// small max_ahead is.
func TestClock_ReadingTwoClocksIsNoStep(t *testing.T) {
	var c clock
	for i := range time.Duration(5) {
		if !c.steady(100*time.Hour+i*time.Second+i*i, i*time.Second, 0) {
			t.Errorf("at look %d the difference is taken for a step", i)
		}
	}
	if c.steady(101*time.Hour, 5*time.Second, 0) {
		t.Error("a step of an hour is not noticed")
	}
}
