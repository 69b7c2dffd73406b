package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/tests/integration/testbed"
)

func TestReconcile_TheScheduledRunTellsEachFindingOnce(t *testing.T) {
	w := filled(t)
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.AddInputYAML(fmt.Sprintf("reconcile:\n  seed_brokers: [%q]\n  raw: %s\n  dead_letter: %s\n  interval: "+
		"100ms\n  wait: 0s\n",
		w.brokers, w.rawURL, w.deadURL)); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var alerts []event.Alert
	refused := false
	if err := b.AddConsumerFunc(func(_ context.Context, msg *service.Message) error {
		mu.Lock()
		defer mu.Unlock()
		if !refused {
			refused = true
			return fmt.Errorf("the log is down")
		}
		raw, err := msg.AsBytes()
		if err != nil {
			return err
		}
		var a event.Alert
		if err := json.Unmarshal(raw, &a); err != nil {
			return err
		}
		if event.Meta(msg, event.MetaAlert) != "1" {
			t.Error("the alert is not marked as one")
		}
		alerts = append(alerts, a)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: OFF"); err != nil {
		t.Fatal(err)
	}
	defer testbed.Run(t, b)()
	told := func() int { mu.Lock(); defer mu.Unlock(); return len(alerts) }
	time.Sleep(time.Second)
	if told() != 0 {
		t.Fatalf("%+v", alerts)
	}
	w.commit("weir-raw", "raw-events", 0, 95) // 90 to 94 are in no store
	for deadline := time.Now().Add(20 * time.Second); told() == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was told")
		}
	}
	time.Sleep(2 * time.Second)
	mu.Lock()
	defer mu.Unlock()
	if len(alerts) != 1 || alerts[0].Rule != ruleUnexplained || alerts[0].Details["unexplained"] != 5.0 {
		t.Errorf("%+v", alerts)
	}
}
