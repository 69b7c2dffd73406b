package eventlog

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"

	"weir/internal/event"
)

// Platform engineers put processors between the gate and the log: what they
// change is what is written, what they drop is not, what they fail is a dead
// letter, and the batch is acknowledged as a whole.
func TestProcessorsBeforeTheLogHaveTheirWay(t *testing.T) {
	w := newWorld(t, "")
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	if err := env.RegisterProcessor("envelope", service.NewConfigSpec(), func(*service.ParsedConfig, *service.Resources) (service.Processor, error) {
		return envelope{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	send, err := b.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: none"); err != nil {
		t.Fatal(err)
	}
	if err := b.AddProcessorYAML(`
mapping: |
  root = match {
    this.kind == "drop" => deleted(),
    this.kind == "fail" => throw("not for us"),
    _ => this.assign({"site": @weir_fleet + "/north"}),
  }
  meta weir_site = "north"
  meta weir_fleet = @weir_fleet.uppercase()
`); err != nil {
		t.Fatal(err)
	}
	if err := b.AddOutputYAML(fmt.Sprintf("event_log:\n  seed_brokers: [ %q ]\n  topic: raw-events\n  dead_letter: { topic: dead-letter, processors: [ { envelope: {} } ] }", w.log.ListenAddrs()[0])); err != nil {
		t.Fatal(err)
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- send(ctx, service.MessageBatch{
			healthy("d-1", `{"kind":"keep"}`, event.HeaderFleet, "acme"),
			healthy("d-1", `{"kind":"drop"}`, event.HeaderFleet, "acme"),
			healthy("d-1", `{"kind":"fail"}`, event.HeaderFleet, "acme"),
		})
		_ = s.StopWithin(5 * time.Second)
	}()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	kept := w.written("raw-events", 1)[0]
	headers := map[string]string{}
	for _, h := range kept.Headers {
		headers[h.Key] = string(h.Value)
	}
	if string(kept.Value) != `{"kind":"keep","site":"acme/north"}` || fmt.Sprint(headers) != "map[weir_fleet:ACME weir_site:north]" {
		t.Errorf("%s with %v", kept.Value, headers)
	}
	if r := w.written("dead-letter", 1)[0]; string(r.Value) != `letter: {"kind":"fail"}` {
		t.Errorf("dead letter %s", r.Value)
	}
}
