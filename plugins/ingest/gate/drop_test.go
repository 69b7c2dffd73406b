package gate

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // mapping
	"github.com/twmb/franz-go/pkg/kfake"
)

// dropping is a gate before a mapping that drops what one device sends.
func dropping(t *testing.T, conf string) *world {
	t.Helper()
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "raw-events"),
		kfake.SeedTopics(1, "dead-letter"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	return setup{
		gate:    conf,
		mapping: `root = if !errored() && this.device_id == "unwanted" { deleted() }`,
		output: fmt.Sprintf(`event_log:
  seed_brokers: [ %q ]
  topic: raw-events
  dead_letter: { topic: dead-letter, processors: [ { dead_letter: { stage: ingest } } ] }`, log.ListenAddrs()[0]),
	}.start(t)
}

func eventOf(device string) string {
	return fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":"1.0","timestamp":"2026-11-21T10:00:00Z","metrics":{"a":1}}`, uuid.NewString(), device)
}

// The engine acknowledges what a processor drops. Nobody is told that weir has
// what it does not have.
func TestGate_ADroppedEventIsNotAcknowledged(t *testing.T) {
	w := dropping(t, "")
	if r := w.post(eventOf("unwanted")); r.status != 400 || *r.Accepted != 0 {
		t.Errorf("the first event ever: %d %s", r.status, r.body)
	}
	r := w.post("[" + eventOf("d-1") + "," + eventOf("unwanted") + `,{"event_id":"bad"},` + eventOf("d-2") + "]")
	if r.status != 207 || *r.Accepted != 2 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if e := r.Events[1]; e.Status != 400 || e.Code != "processing_failed" || e.Errors[0] != errDropped.Errors[0] {
		t.Errorf("the dropped one: %+v", e)
	}
	if e := r.Events[2]; e.Status != 400 || e.Code != "invalid_event" {
		t.Errorf("the bad one: %+v", e)
	}
}

// When requests share a batch of the engine, dropping an event of one hands its
// context on to an event of another: no verdict may go with it.
func TestGate_ADroppedEventChangesNoVerdictOfAnother(t *testing.T) {
	w := dropping(t, "")
	var clients sync.WaitGroup
	for n := range 60 {
		clients.Go(func() {
			for i := range 20 {
				body, status := eventOf("d-1"), 202
				switch (n + i) % 3 {
				case 1:
					body, status = eventOf("unwanted"), 400
				case 2:
					body, status = `{"event_id":"bad"}`, 400
				}
				if r := w.post(body); r.status != status {
					t.Errorf("%s is answered %d %s, want %d", body, r.status, r.body, status)
				}
			}
		})
	}
	clients.Wait()
}

func TestGate_ADroppedEventIsAcknowledgedWhereThatIsWanted(t *testing.T) {
	w := dropping(t, "    acknowledge_unwritten: true")
	if r := w.post("[" + eventOf("d-1") + "," + eventOf("unwanted") + `,{"event_id":"bad"}]`); r.status != 207 ||
		*r.Accepted != 2 || r.Events[2].Status != 400 {
		t.Errorf("%d %s", r.status, r.body)
	}
}
