package raw

import (
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// redriven is a record of replay-events that was first delivered at raw-events/0/5
// in another log than today's.
func redriven(offset int64, log, body string, received time.Time) *service.Message {
	msg := record(0, offset, body, received)
	msg.MetaSetMut("kafka_topic", "replay-events")
	msg.MetaSetMut(event.HeaderDelivery, event.Coordinates{Topic: "raw-events", Offset: 5}.In(log))
	return msg
}

func (o *output) written(t *testing.T, batch ...*service.Message) {
	t.Helper()
	if err := o.WriteBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

// rowsOf returns how many rows a device has.
func (o *output) rowsOf(t *testing.T, device string) (n int) {
	t.Helper()
	_, err := NewReader(o.Store).Scan(t.Context(), Query{Devices: []string{device}}, func(*Row) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A dead letter of a log that was replaced is redriven: at its coordinates lies
// another event of the new log, and that is no reason not to store it.
func TestRawStore_ARedriveOfAnotherLogIsStoredOnce(t *testing.T) {
	for _, log := range []string{"00000000000000a1", event.UnknownLog} {
		o := connected(t, lake.FileURL(t.TempDir()), "recall: 1h")
		old := time.Now().Add(-10 * time.Minute)
		o.written(t, record(0, 5, body("new", 1, time.Now()), time.Now()))
		o.written(t, redriven(0, log, body("old", 2, old), old), redriven(1, log, body("old", 2, old), old))
		o.written(t, redriven(2, log, body("old", 2, old), old)) // after a crash of the job
		if n := o.rowsOf(t, "old"); n != 1 {
			t.Errorf("log %s: the redriven event has %d rows, expected 1", log, n)
		}
		for offset := range int64(3) {
			if !o.Memory.Has(event.Coordinates{Topic: "replay-events", Offset: offset}, old) {
				t.Errorf("log %s: no object accounts for record %d", log, offset)
			}
		}
	}
}

// The old log's events are stored under its coordinates: what was dead-lettered
// for another stage comes back, and is a duplicate of the row that is there.
func TestRawStore_ARedriveOfWhatTheOldLogStoredIsADuplicate(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "recall: 1h")
	old := time.Now().Add(-10 * time.Minute)
	o.written(t, record(0, 5, body("old", 2, old), old))
	o.written(t, redriven(0, "00000000000000a1", body("old", 2, old), old))
	if n := o.rowsOf(t, "old"); n != 1 {
		t.Errorf("the redriven event has %d rows, expected 1", n)
	}
	other := redriven(1, "00000000000000a1", body("old", 2, old), old)
	other.MetaSetMut(event.HeaderFleet, "another")
	o.written(t, other)
	if n := o.rowsOf(t, "old"); n != 2 {
		t.Errorf("another fleet's event of the same id: %d rows, expected 2", n)
	}
}

// The topic of replays was made anew, too: what the store knows at the record's own
// coordinates is older than the record, however old its event is.
func TestRawStore_ARedriveIsNotARecordOfTheOldLog(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "recall: 1h")
	old := time.Now().Add(-10 * time.Minute)
	o.written(t, redriven(0, "00000000000000a1", body("first", 1, old), old))
	elsewhere := redriven(0, "00000000000000b2", body("second", 2, old), old)
	today := redriven(0, "", body("third", 3, old), old)
	today.MetaSetMut(event.HeaderDelivery, "dead-letter/0/7")
	for _, msg := range []*service.Message{elsewhere, today} {
		msg.MetaSetMut("kafka_timestamp_ms", time.Now().Add(time.Minute).UnixMilli())
		o.written(t, msg)
		o.written(t, msg) // and delivered again it is stored once
	}
	for _, device := range []string{"first", "second", "third"} {
		if n := o.rowsOf(t, device); n != 1 {
			t.Errorf("the %s event has %d rows, expected 1", device, n)
		}
	}
}
