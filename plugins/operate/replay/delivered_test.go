package replay

import (
	"testing"
	"time"

	"weir/internal/event"
	"weir/internal/platform/requestid"
)

// A letter that goes back says which request its event came with, by its time or by a
// header: should it fail again, the next letter names it too.
func TestRedrive_ALetterNamesItsRequestAgain(t *testing.T) {
	made := requestid.New().String()
	stamp, ok := requestid.Stamp(made, time.Now().Add(time.Second))
	if !ok {
		t.Fatal(made)
	}
	const plain, own = "2026-11-28T03:27:39.123456Z", "0af7651916cd43dd8448eb211c80319c"
	for _, c := range []struct {
		received, request string
		header            bool
	}{{stamp, made, false}, {plain, own, true}, {stamp, own, true}, {plain, "", false}, {"", own, true}} {
		l := &letter{Headers: map[string]string{event.HeaderReceivedAt: c.received, event.HeaderRequest: c.request}}
		msg := letterMessage(l, nil, []byte("{}"), event.TargetRaw, "replay-events", false)
		if got := event.RequestOf(msg); got != c.request || (event.Meta(msg, event.HeaderRequest) != "") != c.header {
			t.Errorf("%+v: of request %q", c, got)
		}
	}
}

// Coordinates are told as today's only of a letter that names today's log.
func TestRedrive_ALetterOfAnotherLogSaysSo(t *testing.T) {
	today := map[string]string{"raw-events": "00000000000000b2", "dead-letter": ""}
	for _, c := range []struct {
		topic, log string
		today      map[string]string
		want       string
	}{
		{"raw-events", "00000000000000b2", today, "raw-events/1/7"},
		{"raw-events", "00000000000000a1", today, "raw-events@00000000000000a1/1/7"},
		{"dead-letter", "00000000000000a1", today, "dead-letter@00000000000000a1/1/7"}, // the topic is no more
		{"raw-events", "", today, "raw-events@?/1/7"},                                  // a letter of an older weir
		{"raw-events", "00000000000000b2", nil, "raw-events@?/1/7"},                    // no brokers to ask
	} {
		at := event.Coordinates{Topic: c.topic, Partition: 1, Offset: 7}
		l := &letter{Delivery: &at, Log: c.log}
		if got := l.delivered(c.today); got != c.want {
			t.Errorf("log %q: %s, expected %s", c.log, got, c.want)
		}
		msg := letterMessage(l, c.today, []byte("{}"), event.TargetRaw, "replay-events", false)
		msg.MetaSetMut("kafka_topic", "replay-events")
		msg.MetaSetMut("kafka_partition", 0)
		msg.MetaSetMut("kafka_offset", 3)
		record, delivery, ok := event.CoordinatesOf(msg)
		if own := c.want != at.String(); !ok || own != (delivery == record) || !own && delivery != at {
			t.Errorf("%s: a consumer takes it for %s (%t)", c.want, delivery, ok)
		}
		if first, log, ok := event.FirstDelivery(msg); !ok || first != at || (log == "") != (c.want == at.String()) {
			t.Errorf("%s reads as %s of log %q (%t)", c.want, first, log, ok)
		}
	}
}
