package rule

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/sqldb"
)

// blocked gives an output, which has two partitions in memory, a batch of partition 0, whose write
// waits until between has returned, and then a batch of partition 1. It returns the errors of both.
func blocked(t *testing.T, b *bench, o *output, between func()) (first, other error) {
	t.Helper()
	b.apply(o, message(0, 0, at(0, 1)), message(1, 0, second(0)))
	applied := make(chan struct{}, 16)
	o.now = func() time.Time {
		select {
		case applied <- struct{}{}:
		default:
		}
		return time.Now()
	}
	ended := [2]chan error{make(chan error, 1), make(chan error, 1)}
	o.store.Lock() // as a batch that is being written does
	release := sync.OnceFunc(o.store.Unlock)
	defer release()
	go func() { ended[0] <- o.WriteBatch(t.Context(), service.MessageBatch{message(0, 1, at(1*s, 1))}) }()
	select {
	case <-applied:
	case err := <-ended[0]:
		t.Fatalf("the batch did not wait for the write before it: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("the batch was not applied while another was written")
	}
	between()
	release()
	go func() { ended[1] <- o.WriteBatch(t.Context(), service.MessageBatch{message(1, 1, second(1*s))}) }()
	return <-ended[0], <-ended[1]
}

// second returns an event of the device of partition 1.
func second(after time.Duration) string { return strings.Replace(at(after, 1), "pump-1", "pump-2", 1) }

// While a batch waits to be written, one of another partition is applied. Neither is acknowledged
// before it is written.
func TestAhead_BatchesAreAppliedWhileOthersAreWritten(t *testing.T) {
	b := newBench(t, perMinute)
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)), message(1, 0, second(0)))
	other, err := sqldb.Open(t.Context(), b.url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil) // it has the write lock of the store
	if err != nil {
		t.Fatal(err)
	}
	applied := make(chan struct{}, 16)
	o.now = func() time.Time {
		applied <- struct{}{}
		return time.Now()
	}
	ended := make(chan error, 2)
	for p, raw := range []string{at(70*s, 1), second(70 * s)} {
		go func() { ended <- o.WriteBatch(t.Context(), service.MessageBatch{message(p, 1, raw)}) }()
		select {
		case <-applied:
		case <-time.After(time.Minute):
			t.Fatalf("the batch of partition %d is not applied while the store is locked", p)
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("a batch was acknowledged before it was written: %v", err)
	default:
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if got := b.count("minute"); len(got) != 2 {
		t.Errorf("%q", got)
	}
	accounts, err := Accounts(t.Context(), o.db)
	if err != nil || len(accounts) != 2 || accounts[0].Read != 2 || accounts[1].Read != 2 {
		t.Errorf("%+v, %v", accounts, err)
	}
}

// A batch that was applied is applied again if, before it is written, a device is erased, other
// rules come into force, or another process writes its partition.
func TestAhead_ABatchIsAppliedAgainIfTheStoreHasChanged(t *testing.T) {
	t.Run("erased", func(t *testing.T) {
		b := newBench(t, perMinute)
		o := b.operator()
		first, other := blocked(t, b, o, func() { b.erase("pump-1") })
		if first != nil || other != nil {
			t.Fatal(first, other)
		}
		b.apply(b.operator(), message(0, 2, strings.Replace(at(70*s, 1), "pump-1", "pump-3", 1)))
		if got := b.count("minute"); len(got) != 0 {
			t.Errorf("results of the erased device: %q", got)
		}
		accounts, err := Accounts(t.Context(), o.db)
		if err != nil || accounts[0].Erased != 1 || accounts[0].Read != 3 {
			t.Errorf("%+v, %v", accounts, err)
		}
	})
	t.Run("other rules", func(t *testing.T) {
		b := newBench(t, "rules: []")
		v := b.versions()
		v.activate(t, v.put(t, perMinute).Number)
		o := b.operator()
		first, other := blocked(t, b, o, func() {
			v.activate(t, v.put(t, strings.Replace(perMinute, "name: minute", "name: others", 1)).Number)
		})
		if first != nil || other != nil {
			t.Fatal(first, other)
		}
		list, err := v.Partitions(t.Context())
		if err != nil || len(list) != 2 || list[0].Offset != 1 || list[1].Offset != 1 {
			t.Errorf("%+v, %v", list, err)
		}
	})
	t.Run("another process", func(t *testing.T) {
		b := newBench(t, perMinute)
		o := b.operator()
		first, other := blocked(t, b, o, func() {
			b.apply(b.operator(), message(0, 1, at(1*s, 1)), message(0, 2, at(2*s, 1)))
		})
		if first != nil || other != nil {
			t.Fatal(first, other)
		}
		b.apply(o, message(0, 3, at(70*s, 1)), message(1, 2, second(70*s)))
		if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 3", "pump-2 0s 2"}) {
			t.Errorf("%q", got)
		}
	})
}

// A batch that could not be written leaves nothing in memory, whether its retry comes next, a batch
// of another partition, or a write of rows: its event is counted once.
func TestAhead_AFailedWriteLeavesNothingInMemory(t *testing.T) {
	b := newBench(t, perMinute)
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)), message(1, 0, second(0)))
	for n := range int64(3) {
		stopped, stop := context.WithCancel(t.Context())
		o.now = func() time.Time {
			stop()
			return time.Now()
		}
		if err := o.WriteBatch(stopped, service.MessageBatch{message(0, 1+n, at(1*s, 1))}); err == nil {
			t.Fatal("a batch was written although its context had ended")
		}
		o.now = time.Now
		switch n {
		case 1:
			b.apply(o, message(1, 1, second(1*s))) // another partition goes on first
		case 2:
			o.writeRows(t)
		}
		b.apply(o, message(0, 1+n, at(1*s, 1)))
	}
	b.apply(o, message(0, 4, at(70*s, 1)), message(1, 2, second(70*s)))
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 4", "pump-2 0s 2"}) {
		t.Errorf("%q", got)
	}
	accounts, err := Accounts(t.Context(), o.db)
	if err != nil || accounts[0].Read != 5 || accounts[1].Read != 3 {
		t.Errorf("%+v, %v", accounts, err)
	}
}
