package rollup

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

func testEvent(n int, device string, at time.Time, metrics string) string {
	return fmt.Sprintf(`{"event_id":"00000000-0000-4000-8000-%012x","device_id":%q,"device_firmware_version":"1.0.0","timestamp":%q,"metrics":%s}`,
		n, device, at.UTC().Format(time.RFC3339Nano), metrics)
}

func testMessage(body, fleet string) *service.Message {
	m := service.NewMessage([]byte(body))
	m.MetaSetMut(event.HeaderFleet, fleet)
	return m
}

// startStream runs a stream that ends in a rollup_store, and returns the function that feeds it.
func startStream(t *testing.T, url string, more ...string) service.MessageBatchHandlerFunc {
	t.Helper()
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	send, err := b.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: ERROR"); err != nil {
		t.Fatal(err)
	}
	if err := b.AddOutputYAML(fmt.Sprintf(`
rollup_store:
  url: %q
  %s
  batching:
    count: 10000
    period: 20ms
    processors:
      - rollup: {}
`, url, strings.Join(more, "\n  "))); err != nil {
		t.Fatal(err)
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := s.StopWithin(10 * time.Second); err != nil {
			t.Error(err)
		}
		<-done
	})
	return send
}

func openStore(t testing.TB, url string) *Store {
	t.Helper()
	db, err := sqldb.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := Open(context.Background(), db, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRollup_AcknowledgedEventIsInTheRollups(t *testing.T) {
	url := "sqlite://" + t.TempDir() + "/r.db"
	send := startStream(t, url)
	now := time.Now()
	batch := service.MessageBatch{
		testMessage(testEvent(1, "a", now, `{"t":20.5,"h":-3}`), "acme"),
		testMessage(testEvent(2, "a", now, `{"t":21.5}`), "acme"),
		testMessage(testEvent(1, "a", now, `{"t":20.5,"h":-3}`), "acme"), // sent twice within a batch
		testMessage(testEvent(1, "a", now, `{"t":99}`), "other"),         // the same event_id, another tenant
	}
	for range 3 { // delivered three times
		if err := send(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	}
	l, err := openStore(t, url).latest(context.Background(), "acme", "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	if m := l.Metrics["t"]; m.Count != 2 || m.Sum.Hi != 42 || m.Min != 20.5 || m.Max != 21.5 {
		t.Errorf("t is %+v", m)
	}
	if m := l.Metrics["h"]; m.Count != 1 || m.Last != -3 {
		t.Errorf("h is %+v", m)
	}
}

// The engine acknowledges a batch whose processors return nothing, of which nothing is to be
// stored.
func TestRollup_BatchWithoutWindowsIsAcknowledged(t *testing.T) {
	send := startStream(t, "sqlite://"+t.TempDir()+"/r.db")
	dup := testMessage(testEvent(1, "a", time.Now(), `{"t":1}`), "acme")
	dup.MetaSetMut(event.MetaDuplicateOf, "raw-events/0/1")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := send(ctx, service.MessageBatch{dup}); err != nil {
		t.Fatal(err)
	}
}
