package raw

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// replayed runs a stream from raw_replay, and returns the deliveries it gave,
// in order. take is asked before each is accepted; a crash ends the stream
// without any goodbye.
func replayed(t *testing.T, conf string, take func(n int) (crash bool, err error)) []string {
	t.Helper()
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.AddInputYAML("raw_replay:\n" + conf); err != nil {
		t.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: none"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var mu sync.Mutex
	var got []string
	if err := b.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
		mu.Lock()
		defer mu.Unlock()
		crash, err := take(len(got))
		if crash {
			cancel()
			return errors.New("crashed")
		}
		if err != nil {
			return err
		}
		for _, msg := range batch {
			got = append(got, event.Meta(msg, event.HeaderDelivery))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return got
}

func always(int) (bool, error) { return false, nil }

func TestAReplayGivesEveryEventOnce(t *testing.T) {
	o, rows := history(t, rand.New(rand.NewPCG(4, 2)), "")
	conf := fmt.Sprintf("  url: %q\n  from: 2026-11-20T00:00:00Z\n  to: 2026-12-01T00:00:00Z\n  fleet: acme\n  batch_size: 17\n", o.url)
	want := positions(rows, func(r *Row) bool { return r.Fleet == "acme" })
	failures := 0
	got := replayed(t, conf, func(n int) (bool, error) {
		if failures < 5 && n > 100 { // an output that is down at times
			failures++
			return false, errors.New("down")
		}
		return false, nil
	})
	if len(got) != len(want) {
		t.Fatalf("got %d events, want %d", len(got), len(want))
	}
	seen := map[string]bool{}
	for _, d := range got {
		seen[d] = true
	}
	for _, p := range want {
		if !seen[p.Delivery.String()] {
			t.Fatalf("%s is missing", p.Delivery)
		}
	}
}

func TestAReplayGoesOnWhereItWasAcknowledged(t *testing.T) {
	o, rows := history(t, rand.New(rand.NewPCG(4, 3)), "")
	conf := fmt.Sprintf("  url: %q\n  from: 2026-11-20T00:00:00Z\n  to: 2026-12-01T00:00:00Z\n  batch_size: 10\n  checkpoint: sqlite://%s\n",
		o.url, filepath.Join(t.TempDir(), "control.db"))
	seen := map[string]int{}
	total := 0
	for run := range 4 {
		got := replayed(t, conf, func(n int) (bool, error) { return run < 3 && n >= 200, nil })
		for _, d := range got {
			seen[d]++
		}
		total += len(got)
	}
	for _, r := range rows {
		if seen[r.Delivery.String()] == 0 {
			t.Fatalf("%s was never given", r.Delivery)
		}
	}
	if total > len(rows)+3*200 {
		t.Fatalf("%d events were given of %d: nothing was remembered", total, len(rows))
	}
	if got := replayed(t, conf, always); len(got) != 0 {
		t.Fatalf("a replay that had ended gave %d events", len(got))
	}
}

func TestAReplayedEventIsWhatWasSentWithItsFirstDelivery(t *testing.T) {
	o, _ := history(t, rand.New(rand.NewPCG(4, 4)), "")
	conf, err := replaySpec().ParseYAML(fmt.Sprintf("url: %q\nfrom: 2026-11-20T00:00:00Z\nto: 2026-12-01T00:00:00Z\ntargets: [rollup, detect]", o.url), nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := newReplay(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	defer func() { _ = in.Close(ctx) }()
	if err := in.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	batch, ack, err := in.ReadBatch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ack(ctx, nil) }()
	msg := batch[0]
	raw, err := msg.AsBytes()
	if err != nil {
		t.Fatal(err)
	}
	var e event.Event
	if err := event.Parse(raw, &e); err != nil {
		t.Fatal(err)
	}
	received, ok := event.ReceivedAt(msg)
	if !ok || !received.Equal(e.Time) || event.Meta(msg, event.MetaDevice) != e.Device || event.Targeted(msg, event.TargetRaw) ||
		!event.Targeted(msg, event.TargetDetect) || event.Meta(msg, event.HeaderSchema) != "telemetry/2" || event.FleetOf(msg) == "" {
		t.Fatalf("got %s", raw)
	}
}
