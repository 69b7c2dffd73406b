package rule

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// rows returns how many keys have a row with a state, and how many a grave: a row without one.
func (b *bench) rows() (n, graves int) {
	b.Helper()
	db, err := sqldb.Open(b.Context(), b.url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT count(*) - count(*) FILTER (WHERE length(state) = 0),
		count(*) FILTER (WHERE length(state) = 0) FROM rule_state`).Scan(&n, &graves); err != nil {
		b.Fatal(err)
	}
	return n, graves
}

// round returns a batch with one event of each of so many devices.
func round(devices int, offset *int64, after time.Duration) (batch []*service.Message) {
	for d := range devices {
		raw := strings.Replace(at(after, 1), "pump-1", fmt.Sprint("pump-", d), 1)
		batch = append(batch, message(0, *offset, raw))
		*offset++
	}
	return batch
}

// However many keys changed, a batch writes at most rowsEach rows, until all keys have one and the
// journal from before the checkpoint is gone. A checkpoint writes one row of a key, also if the key
// changes with each batch.
func TestCheckpoint_ABatchWritesAFewRows(t *testing.T) {
	const devices, each = 40, 7
	b := newBench(t, perMinute)
	o := b.operator()
	o.rowsEach = each
	offset := int64(0)
	b.apply(o, round(devices, &offset, 0)...)
	before := len(b.journal())
	h := o.places[place{"raw-events", 0}]
	h.since = time.Time{} // a checkpoint is due
	b.apply(o, round(devices, &offset, s)...)
	have, _ := b.rows()
	if have != each {
		t.Fatalf("%d rows were written with the first batch of the checkpoint", have)
	}
	for batches := 1; len(b.journal()) > before; batches++ {
		b.apply(o, round(devices, &offset, 2*s)...)
		now, _ := b.rows()
		if now-have > each || batches > devices/each+1 {
			t.Fatalf("after %d batches there are %d rows, and the last batch wrote %d", batches, now, now-have)
		}
		if have = now; now == devices {
			break
		}
	}
	if have != devices {
		t.Errorf("%d rows of %d keys", have, devices)
	}
	if h.until != 0 || h.covered != 0 || h.lag == 0 || len(h.lists) > 0 {
		t.Fatalf("the checkpoint is not over: %+v", h)
	}
	text := len(h.set.text)
	if left := len(b.journal()); left > 7*devices*40+text {
		t.Errorf("%d bytes of the journal are left", left)
	}
	next := b.operator()
	b.apply(next, round(devices, &offset, 66*s)...)
	if n := len(b.count("minute")); n != devices {
		t.Errorf("%d results", n)
	}
	want := b.count("minute")[1][len("pump-1 "):]
	for _, told := range b.count("minute") {
		if !strings.HasSuffix(told, want) {
			t.Errorf("the result %s does not end in %s, as that of another device", told, want)
		}
	}
}

// A key that is gone has a grave for as long as the journal has the events that made it go.
func TestCheckpoint_GravesGoWithTheJournal(t *testing.T) {
	b := newBench(t, perMinute)
	o := b.operator()
	offset := int64(0)
	b.apply(o, round(3, &offset, 0)...)
	o.writeRows(t)
	if n, graves := b.rows(); n != 3 || graves != 0 {
		t.Fatalf("%d rows, %d graves", n, graves)
	}
	b.apply(o, round(1, &offset, 70*s)...) // all windows close; pump-0 has a new one
	o.rowsEach, o.journalMost = 1, 1
	b.apply(o, round(1, &offset, 71*s)...) // a checkpoint begins, and writes one row
	b.apply(o, round(1, &offset, 72*s)...)
	if n, graves := b.rows(); n+graves != 3 || graves == 0 {
		t.Errorf("%d rows, %d graves", n, graves)
	}
	told := len(b.results())
	b.apply(b.operator(), round(1, &offset, 73*s)...) // an output that reads the partition anew emits nothing again
	if now := len(b.results()); now != told || told != 3 {
		t.Errorf("%d results, and then %d", told, now)
	}
	next := b.operator()
	next.journalMost = 1
	for n := range 10 {
		b.apply(next, round(1, &offset, time.Duration(74+n)*s)...)
	}
	if n, graves := b.rows(); n != 1 || graves != 0 {
		t.Errorf("%d rows, %d graves", n, graves)
	}
}

// Outputs that read the partition anew for each batch, while keys close and come again and their
// rows are written some at a time, emit the same results as one output that has all in memory.
func TestCheckpoint_ReadingAnewChangesNoResult(t *testing.T) {
	rules := strings.Replace(everything, "rules:", "rules: # read anew", 1)
	for _, most := range []int{0, 300, 2000, 5000} {
		kept, anew := newBench(t, rules), newBench(t, rules)
		one := kept.operator()
		offset, other := int64(0), int64(0)
		for n := range 60 {
			after := time.Duration(n*n%17*9+n) * s
			kept.apply(one, round(6, &offset, after)...)
			o := anew.operator()
			o.journalMost, o.rowsEach = most, 1+n%4
			anew.apply(o, round(6, &other, after)...)
		}
		if n, _ := anew.rows(); n == 0 {
			t.Error("there are no rows")
		}
		want, got := kept.results(), anew.results()
		if len(want) < 20 {
			t.Fatalf("%d results", len(want))
		}
		for id, told := range want {
			if got[id] != told {
				t.Fatalf("the result is %q, want %q", got[id], told)
			}
		}
	}
}

// A key that was refused because its fleet had too many is refused again when the journal is counted
// again, although by then other keys have rows already, or are gone.
func TestCheckpoint_ARefusedKeyIsRefusedAgain(t *testing.T) {
	told := func(anew bool) map[string]string {
		b := newBench(t, perMinute)
		b.extra = "keys_per_fleet: 3"
		o := b.operator()
		offset := int64(0)
		for n := range 40 {
			if anew {
				o = b.operator()
			}
			o.journalMost, o.rowsEach = 1, 1
			b.apply(o, round(2+n%4, &offset, time.Duration(n*13)*s)...)
		}
		return b.results()
	}
	want, got := told(false), told(true)
	if len(want) < 10 || !maps.Equal(want, got) {
		t.Fatalf("%d results, and when the journal is counted again %d", len(want), len(got))
	}
}

// When rules change, the journal is written as rows. A key that has gone since a checkpoint wrote its
// row has no row then.
func TestCheckpoint_KeysThatWentHaveNoRowWhenRulesChange(t *testing.T) {
	b := newBench(t, perMinute)
	o := b.operator()
	offset := int64(0)
	b.apply(o, round(3, &offset, 0)...)
	o.places[place{"raw-events", 0}].since = time.Time{}
	b.apply(o, round(3, &offset, s)...)
	if n, _ := b.rows(); n != 3 {
		t.Fatalf("%d rows", n)
	}
	b.apply(o, round(1, &offset, 70*s)...) // all windows close, and the keys of the other two are gone
	told := fmt.Sprint(b.count("minute"))
	b.write(strings.Replace(perMinute, "rules: [", `rules: [{ name: other, key: [device_id], select: { n: count() },
		window: { type: tumbling, size: 1m, allowed_lateness: 0s } }, `, 1))
	b.apply(b.operator(), round(1, &offset, 71*s)...)
	if n, graves := b.rows(); n != 1 || graves > 0 {
		t.Errorf("%d rows, %d graves, want one row", n, graves)
	}
	b.apply(b.operator(), round(1, &offset, 72*s)...)
	if now := fmt.Sprint(b.count("minute")); now != told {
		t.Errorf("the results were %s, and are now %s", told, now)
	}
}

// While a rule drains, rows are written with each batch, also over those that a checkpoint has
// written. A key that goes in that time has no row left.
func TestCheckpoint_KeysThatGoWhileARuleDrainsHaveNoRow(t *testing.T) {
	const two = `rules: [{ name: minute, key: [device_id], select: { n: count() }, window: { type: tumbling, size: 1m, allowed_lateness: 0s } },
		{ name: other, key: [device_id], select: { n: count() }, window: { type: tumbling, size: 1h, allowed_lateness: 0s } }]`
	b := newBench(t, two)
	o := b.operator()
	offset := int64(0)
	b.apply(o, round(3, &offset, 0)...)
	o.places[place{"raw-events", 0}].since = time.Time{}
	b.apply(o, round(3, &offset, s)...)
	b.write(strings.Replace(two, "size: 1h", "size: 2h", 1)) // other drains
	o = b.operator()
	b.apply(o, round(1, &offset, 2*s)...)
	b.apply(o, round(1, &offset, 70*s)...) // the minutes of all devices close
	minutes := 0
	if err := o.db.QueryRow(`SELECT count(*) FROM rule_state WHERE epoch = $1`,
		o.places[place{"raw-events", 0}].ops[0].Epoch).Scan(&minutes); err != nil {
		t.Fatal(err)
	}
	if minutes != 1 {
		t.Errorf("%d rows of the rule minute, want 1", minutes)
	}
}

// A journal in which an earlier weir has left an image is written as rows when it is read.
func TestJournalBefore_IsWrittenAsRows(t *testing.T) {
	told := func(before bool) map[string]string {
		b := newBench(t, perMinute)
		b.extra = "keys_per_fleet: 2"
		o := b.operator()
		offset := int64(0)
		b.apply(o, round(2, &offset, 0)...)
		b.apply(o, round(3, &offset, s)...)
		if before {
			if err := tombstone.Update(t.Context(), o.db, func(tx *sql.Tx) error {
				var image []byte
				var version int64
				h := o.places[place{"raw-events", 0}]
				image = head{imageVersion, h.set.Version, h.set.text, h.time, h.delay, h.perFleet}.append(image)
				image = appendText(append(image, tagEpoch), h.ops[0].Epoch)
				for _, name := range slices.Sorted(maps.Keys(h.ops[0].keys)) {
					state := h.ops[0].keys[name].append(nil)
					image = appendText(appendText(append(image, tagKey), name), "pump-1")
					image = append(binary.AppendUvarint(image, uint64(len(state))), state...)
				}
				if err := tx.QueryRow(`SELECT max(seq) FROM rule_journal`).Scan(&version); err != nil {
					return err
				}
				_, err := tx.Exec(`UPDATE rule_journal SET entry = $2 WHERE seq = $1`, version, image)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		b.apply(b.operator(), round(2, &offset, 2*s)...)
		if rows, _ := b.rows(); (rows == 2) != before {
			t.Errorf("%d rows", rows)
		}
		if err := journalOf(t.Context(), o.db, func(entry []byte) ([]byte, error) {
			if isImage(entry) {
				t.Error("the image is still there")
			}
			return nil, nil
		}); err != nil {
			t.Fatal(err)
		}
		b.apply(b.operator(), round(2, &offset, 70*s)...)
		return b.results()
	}
	if want, got := told(false), told(true); len(want) != 2 || !maps.Equal(want, got) {
		t.Errorf("%q, not %q", got, want)
	}
}
