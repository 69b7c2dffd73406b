package eventlog

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"

	"weir/internal/event"
)

// Platform engineers put processors between the gate and the log: what they
// change is what is written, what they drop is not, what they fail is a dead
// letter, and the batch is acknowledged as a whole.
func TestEventLog_ProcessorsBeforeTheLogHaveTheirWay(t *testing.T) {
	w := newWorld(t, "")
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	if err := env.RegisterProcessor("envelope", service.NewConfigSpec(),
		func(*service.ParsedConfig, *service.Resources) (service.Processor, error) {
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
	if err := b.AddOutputYAML(fmt.Sprintf("event_log:\n  seed_brokers: [ %q ]\n  topic: raw-events\n  dead_letter: { "+
		"topic: dead-letter, processors: [ { envelope: {} } ] }", w.log.ListenAddrs()[0])); err != nil {
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
	if string(kept.Value) != `{"kind":"keep","site":"acme/north"}` ||
		fmt.Sprint(headers) != "map[weir_fleet:ACME weir_site:north]" {
		t.Errorf("%s with %v", kept.Value, headers)
	}
	if r := w.written("dead-letter", 1)[0]; string(r.Value) != `letter: {"kind":"fail"}` {
		t.Errorf("dead letter %s", r.Value)
	}
}

// What a processor makes another thing of is no event of the log: its own bytes
// are a dead letter, and its device is told. A mask of other fields has its way.
func TestEventLog_AnEventThatAProcessorMadeAnotherThingKeepsItsBytes(t *testing.T) {
	w := newWorld(t, letters)
	body := func(kind string) string {
		return fmt.Sprintf(`{"event_id":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f","device_id":"d-1","device_firmware_version":"2.1.0",`+
			`"timestamp":"2026-11-21T09:15:00Z","metrics":{"a":1},"diagnostics":{"user":%q}}`, kind)
	}
	mapping, err := bloblang.Parse(`
root = match {
  this.diagnostics.user == "mask" => this.assign({"diagnostics": {"user": "***"}}),
  this.diagnostics.user == "lose" => {"diagnostics": {"user": "***"}},
  this.diagnostics.user == "fail" => throw("no"),
}`)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := &event.Verdicts{}
	var batch service.MessageBatch
	for i, kind := range []string{"mask", "lose", "fail"} {
		raw := []byte(body(kind))
		msg := service.NewMessage(raw)
		msg.MetaSetMut(event.MetaDevice, "d-1")
		event.KeepOriginal(msg, &raw)
		verdicts.Attach(msg, i)
		if mapped, err := msg.BloblangQuery(mapping); err != nil {
			msg.SetError(err)
		} else {
			msg = mapped
		}
		batch = append(batch, msg)
	}
	for range 2 { // the engine may hand the batch in again
		if err := w.out.WriteBatch(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range w.written("raw-events", 2) {
		if event, err := service.NewMessage(r.Value).AsStructured(); err != nil ||
			fmt.Sprint(event.(map[string]any)["diagnostics"], event.(map[string]any)["device_id"]) != "map[user:***]d-1" {
			t.Errorf("the log has %s", r.Value)
		}
	}
	got := map[string]int{}
	for _, r := range w.written("dead-letter", 4) {
		got[string(r.Value)]++
	}
	if got["letter: "+body("lose")] != 2 || got["letter: "+body("fail")] != 2 {
		t.Errorf("the dead letters are %v", got)
	}
	if missing := verdicts.Unwritten(3); len(missing) > 0 {
		t.Errorf("%v count as dropped", missing)
	}
}
