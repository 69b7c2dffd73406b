package dedupe

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

func recordOf(topic, id string, offset int64) *service.Message {
	msg := record(id, 0, offset)
	msg.MetaSetMut("kafka_topic", topic)
	return msg
}

// Events are claimed where the other groups of their topic claim them: an id of one log
// is none of another, and all who read a log agree.
func TestDedupe_ATopicMayHaveAStoreOfItsOwn(t *testing.T) {
	stores, id := newTestPool(), uuid.NewString()
	rules := newTestProcessor(t, stores, "url: memory://all\nalso: [ { topic: user-events, url: 'memory://users' }, "+
		"{ topic: orders, url: 'memory://all' }, { topic: payments } ]")
	raw, users := newTestProcessor(t, stores, "url: memory://all"), newTestProcessor(t, stores, "url: memory://users")
	if len(rules.also) != 1 {
		t.Errorf("%d stores beside the first, expected one", len(rules.also))
	}
	out := process(t, rules, recordOf("raw-events", id, 1), recordOf("user-events", id, 2), recordOf("raw-events", id, 3),
		recordOf("user-events", id, 4))
	for i, want := range []string{"", "", "raw-events/0/1", "user-events/0/2"} {
		if got := duplicateOf(out[i]); got != want {
			t.Errorf("message %d is a duplicate of %q, expected %q", i, got, want)
		}
	}
	if got := duplicateOf(process(t, raw, recordOf("raw-events", id, 5))[0]); got != "raw-events/0/1" {
		t.Errorf("in the store of all it is a duplicate of %q", got)
	}
	if got := duplicateOf(process(t, users, recordOf("user-events", id, 6))[0]); got != "user-events/0/2" {
		t.Errorf("in the store of users it is a duplicate of %q", got)
	}
	again := recordOf("user-replay-events", id, 7)
	again.MetaSetMut(event.HeaderDelivery, "user-events/0/2")
	if got := duplicateOf(process(t, rules, again)[0]); got != "" {
		t.Errorf("what is published again is a duplicate of %q", got)
	}
}

// Of two stores one may be down: events of its topics alone go without a claim.
func TestDedupe_OneOfTwoStoresIsDown(t *testing.T) {
	stores := newTestPool()
	p := newTestProcessor(t, stores, "url: memory://all\nalso: [ { topic: user-events, url: 'memory://users' } ]")
	users := p.also["user-events"]
	down := &downStore{store: users.store}
	users.store = down
	if p.answering() != 1 {
		t.Error("a store counts as down before anybody has asked")
	}
	id := uuid.NewString()
	out := process(t, p, recordOf("user-events", id, 1), recordOf("raw-events", id, 1))
	if event.Meta(out[0], event.MetaUnclaimed) == "" || event.Meta(out[1], event.MetaUnclaimed) != "" {
		t.Error("not those alone go without a claim whose store is down")
	}
	if p.answering() != 0 {
		t.Error("a store that is down counts as up")
	}
	if got := duplicateOf(process(t, p, recordOf("raw-events", id, 2))[0]); got != "raw-events/0/1" {
		t.Errorf("a duplicate of %q while another store is down", got)
	}
	if p.answering() != 0 {
		t.Error("the answer of one store makes the other one up")
	}
}

func TestDedupe_TopicsThatAreNamedWrongly(t *testing.T) {
	for also, want := range map[string]string{
		"{ topic: a, url: 'memory://x' }, { topic: a, url: 'memory://y' }": "each once",
		"{ topic: '', url: 'memory://x' }":                                 "each once",
		"{ topic: a, url: 'http://u:secret@x' }":                           "expected a URL",
		"{ topic: a, url: 'redis://u:secret@[bad' }":                       "",
	} {
		conf, err := dedupeSpec().ParseYAML("url: memory://\nalso: [ "+also+" ]", nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := newProcessor(conf, service.MockResources(), newTestPool())
		if err == nil {
			_ = p.Close(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", also, err)
		}
	}
}
