package rule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/sqldb"
)

// Results are handed on as soon as they are committed, before the input polls the store.
func TestRuleResults_AreHandedOnWithTheCommit(t *testing.T) {
	b := newBench(t, perMinute)
	b.res = service.MockResources()
	o := b.operator()
	parsed, err := ruleResultsSpec().ParseYAML(fmt.Sprintf("url: %q\npoll: 10h", b.url), nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := newResults(parsed, b.res)
	if err == nil {
		err = in.Connect(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(context.Background()) }()
	if again := in.pause(sqldb.SQLite, in.bell); again != 4*in.poll {
		t.Errorf("a file that this process writes is polled each %s", again)
	}
	if again := in.pause(sqldb.Postgres, in.bell); again != in.poll {
		t.Errorf("a server that other processes write to is polled each %s", again)
	}
	for n := range int64(3) {
		came := make(chan error, 1)
		go func() {
			batch, ack, err := in.ReadBatch(t.Context())
			if err == nil && len(batch) == 0 {
				err = errors.New("ReadBatch returned no result")
			}
			if err == nil {
				err = ack(t.Context(), nil)
			}
			came <- err
		}()
		time.Sleep(20 * time.Millisecond) // ReadBatch waits by now, or finds the bell rung later
		b.apply(o, message(0, 2*n, at(time.Duration(n)*120*s, 1)), message(0, 2*n+1, at(time.Duration(n)*120*s+66*s, 1)))
		select {
		case err := <-came:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("result %d waits until the store is polled", n)
		}
		in.bell.take()
	}
}

func (b *bell) take() {
	select {
	case <-b.rung:
	default:
	}
}

// Batches are taken in the order in which they joined, at most groupMost messages at a time, unless
// the first batch alone is larger.
func TestRules_BatchesTakeTheirTurn(t *testing.T) {
	var g group
	batch := func(n int) *asked { return &asked{batch: make(service.MessageBatch, n)} }
	large, a, b, c := batch(2*groupMost), batch(groupMost-1), batch(1), batch(1)
	for _, one := range []*asked{large, a, b, c} {
		g.join(one)
	}
	for _, want := range [][]*asked{{large}, {a, b}, {c}, {}} {
		if got := g.take(); !slices.Equal(got, want) {
			t.Fatalf("%d batches, not %d", len(got), len(want))
		}
	}
}

// Batches of several partitions at the same time, some of them twice, are counted as one after the
// other. A batch whose context ends meanwhile does not fail the others.
func TestEventRules_BatchesThatComeTogetherAreCountedOnce(t *testing.T) {
	b := newBench(t, everything)
	b.env, b.extra = service.NewEnvironment(), "processors: [ { seen: {} } ]\n"
	if err := b.env.RegisterBatchProcessor("seen", service.NewConfigSpec(),
		func(*service.ParsedConfig, *service.Resources) (service.BatchProcessor, error) {
			return passing{},
				nil
		}); err != nil {
		t.Fatal(err)
	}
	const partitions, rounds, each = 6, 8, 20
	of := func(p, round int) (batch service.MessageBatch) {
		for i := range each {
			n := int64(round*each + i)
			raw := strings.Replace(at(time.Duration(n)*7*s, float64(n%13)), "pump-1", fmt.Sprint("pump-", p), 1)
			batch = append(batch, message(p, n, raw))
		}
		return batch
	}
	o := b.operator()
	var all sync.WaitGroup
	for p := range partitions {
		all.Go(func() {
			for round := range rounds {
				if p%2 == 0 {
					stopped, stop := context.WithCancel(t.Context())
					gone := make(chan error, 1)
					go func() { gone <- o.WriteBatch(stopped, of(p, round)) }()
					stop()
					if err := <-gone; err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				}
				if err := o.WriteBatch(t.Context(), of(p, round)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got := b.results()
	accounts, err := Accounts(t.Context(), o.db)
	if err != nil || len(accounts) != partitions {
		t.Fatalf("%d accounts, %v", len(accounts), err)
	}
	for _, a := range accounts {
		if a.Read != rounds*each || len(a.Problems()) > 0 {
			t.Errorf("%+v %q", a, a.Problems())
		}
	}
	single := newBench(t, everything)
	one := single.operator()
	for p := range partitions {
		for round := range rounds {
			single.apply(one, of(p, round)...)
		}
	}
	want := single.results()
	if len(got) != len(want) || len(want) == 0 {
		t.Errorf("%d results of batches at the same time, %d of those one after the other", len(got), len(want))
	}
	for id, result := range want {
		if got[id] != result {
			t.Fatalf("%s: %q, not %q", id, got[id], result)
		}
	}
}

// passing is a processor that changes nothing.
type passing struct{}

func (passing) ProcessBatch(_ context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	return []service.MessageBatch{batch}, nil
}

func (passing) Close(context.Context) error { return nil }
