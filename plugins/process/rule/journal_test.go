package rule

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// writeRows writes the rows of all keys that changed, in all partitions, which empties their journals.
func (o *output) writeRows(t testing.TB) {
	t.Helper()
	o.lock()
	defer o.unlock()
	each := o.rowsEach
	o.rowsEach = math.MaxInt32
	defer func() { o.rowsEach = each }()
	set, seq, err := o.inForce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for at, h := range o.places {
		h.since = time.Time{}
		if err := o.commit(t.Context(), seq, func(tx *sql.Tx, _ *tombstone.Set) ([]*held, error) {
			h, err := o.hold(t.Context(), tx, set, at, "", h.upcoming)
			return []*held{h}, err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// journal returns all entries in the store, one after the other.
func (b *bench) journal() (all []byte) {
	b.Helper()
	db, err := sqldb.Open(b.Context(), b.url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	err = journalOf(b.Context(), db, func(entry []byte) ([]byte, error) {
		all = append(all, entry...)
		return nil, nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return all
}

// A batch writes an entry of the journal and no rows, until rows are due: then the journal is emptied.
func TestJournal_RowsAreWrittenNowAndThen(t *testing.T) {
	b := newBench(t, perMinute)
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)))
	first := len(b.journal())
	b.apply(o, message(0, 1, at(1*s, 1)))
	if second := len(b.journal()); first == 0 || second <= first {
		t.Errorf("the journal has %d bytes, and after the next batch %d", first, second)
	}
	o.journalMost = 1
	b.apply(o, message(0, 2, at(2*s, 1)))
	if left := b.journal(); len(left) > 0 {
		t.Errorf("%d bytes are left", len(left))
	}
	b.apply(b.operator(), message(0, 3, at(70*s, 1)))
	if got := b.count("minute"); len(got) != 1 || got[0] != "pump-1 0s 3" {
		t.Errorf("%q", got)
	}
}

// Of events that no rule counts, the journal has only how far time moved on. After a crash time goes
// on from there.
func TestJournal_EventsThatNoRuleCountsAreTime(t *testing.T) {
	b := newBench(t, strings.Replace(perMinute, "rules: [{", "rules: [{ where: this.metrics.v > 0,", 1))
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)))
	before := len(b.journal())
	batch := []*service.Message{}
	for i := 1; i < 100; i++ {
		batch = append(batch, message(0, int64(i), at(time.Duration(i)*700*time.Millisecond, -1)))
	}
	b.apply(o, batch...)
	if grown := len(b.journal()) - before; grown == 0 || grown > 64 {
		t.Errorf("99 events that no rule counts take %d bytes of the journal", grown)
	}
	b.apply(b.operator(), message(0, 100, at(14*s, 1)), message(0, 101, at(130*s, -1)))
	if got := b.count("minute"); len(got) != 1 || got[0] != "pump-1 0s 1" {
		t.Errorf("the event of 14 s is late, and the results are %q", got)
	}
}

// The entries of a journal are counted again by the rules and the limits by which they were counted
// first, whatever is in force when they are read.
func TestJournal_IsCountedAgainAsItWas(t *testing.T) {
	two := strings.Replace(perMinute, "rules: [", `rules: [{ name: other, key: [device_id], select: { n: count() },
		window: { type: tumbling, size: 1m, allowed_lateness: 0s } }, `, 1)
	b := newBench(t, perMinute)
	b.extra = "keys_per_fleet: 1"
	another := func(offset int64, after time.Duration) string {
		return strings.Replace(at(after, float64(offset)), "pump-1", "pump-2", 1)
	}
	b.apply(b.operator(), message(0, 0, at(0, 1)), message(0, 1, another(1, 1*s)), message(0, 2, at(2*s, 1)))
	b.write(two) // while weir is down; pump-2 was refused as one key too many
	b.extra = "keys_per_fleet: 10"
	b.apply(b.operator(), message(0, 3, at(3*s, 1)), message(0, 4, another(4, 4*s)))
	b.apply(b.operator(), message(0, 5, at(70*s, 1)))
	want := "[pump-1 0s 3 pump-2 0s 1] [pump-1 0s 1 pump-2 0s 1]"
	if got := fmt.Sprint(b.count("minute"), b.count("other")); got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

// An erased device is in no entry any more, and the events of all other devices are counted as they
// were, late ones too.
func TestJournal_ErasureLeavesTheOthers(t *testing.T) {
	const erased = "pump-0-1"
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 5))
		log := records(r, 100)
		told := func(kept string) map[string]string {
			b := newBench(t, everything)
			o := b.operator()
			if kept != "entries" {
				o.journalMost = 0
			}
			if kept == "some rows" {
				o.rowsEach = 2
			}
			b.apply(o, log[:len(log)/4]...)
			b.apply(o, log[len(log)/4:len(log)/2]...)
			if kept == "rows" {
				o.writeRows(t)
			}
			b.erase(erased)
			if left := b.journal(); bytes.Contains(left, []byte(erased)) || kept != "rows" && len(left) == 0 {
				t.Errorf("%s: the journal has the erased device, or nothing: %d bytes", kept, len(left))
			}
			b.apply(b.operator(), log[len(log)/2:]...)
			return b.results()
		}
		want := told("rows")
		for _, kept := range []string{"entries", "some rows"} {
			if got := told(kept); len(want) < 50 || !maps.Equal(want, got) {
				t.Fatalf("seed %d: %d results, and with %s %d", seed, len(want), kept, len(got))
			}
		}
	}
}

// A sum of all devices keeps what an erased device has added, whether that is in rows or in the
// journal.
func TestJournal_SumsOfAllDevicesKeepWhatIsErased(t *testing.T) {
	for name, prepare := range map[string]func(*bench){"sqlite": func(*bench) {}, "postgres": (*bench).postgres} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, acrossRules)
			prepare(b)
			o := b.operator()
			other := func(after time.Duration) string { return strings.Replace(at(after, 5), "pump-1", "pump-2", 1) }
			b.apply(o, message(0, 0, at(0, 5)), message(0, 1, other(1*s)))
			o.writeRows(t)
			b.apply(o, message(0, 2, at(2*s, 5)), message(0, 3, other(3*s)))
			b.apply(o, message(0, 4, at(4*s, 5)))
			b.erase("pump-1")
			if left := b.journal(); bytes.Contains(left, []byte("pump-1")) {
				t.Error("the journal has the erased device")
			}
			b.apply(b.operator(), message(0, 5, other(1000*s)))
			kinds, visits := 0, 0
			for _, raw := range b.results() {
				told := parseTold(t, []byte(raw))
				if told.Rule == "kinds" && told.Values["n"] == 5.0 {
					kinds++
				}
				if told.Rule == "visits" {
					visits++
				}
			}
			if kinds != 1 || visits != 1 {
				t.Errorf("%d sums of 5 events, %d visits: %q", kinds, visits, b.results())
			}
		})
	}
}

func (b *bench) erase(device string) {
	b.Helper()
	ctx, until := b.Context(), time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	db, err := sqldb.Open(ctx, b.url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := errors.Join(tombstone.Bury(ctx, db, tombstone.Of("plant-1", device, until)),
		erase(ctx, db, tombstone.Target{Fleet: "plant-1", Device: device, Job: "j", Until: until.UnixMicro()})); err != nil {
		b.Fatal(err)
	}
	left, err := count(ctx, db, "plant-1", device)
	if err != nil || left[countState]+left[countJournal]+left[countResults] > 0 {
		b.Fatal(left, err)
	}
}

// An entry that is damaged, or of a newer weir, is refused.
func TestJournal_WhatCannotBeReadIsRefused(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"newer":   func(e []byte) []byte { return append([]byte{entryVersion + 1}, e[1:]...) },
		"cut":     func(e []byte) []byte { return e[:len(e)-1] },
		"unknown": func(e []byte) []byte { return append(e, 99) },
	} {
		b := newBench(t, perMinute)
		o := b.operator()
		b.apply(o, message(0, 0, at(0, 1)))
		if err := tombstone.Update(t.Context(), o.db, func(tx *sql.Tx) error {
			return journalOf(t.Context(), tx, func(e []byte) ([]byte, error) { return spoil(e), nil })
		}); err != nil {
			t.Fatal(err)
		}
		next := b.operator()
		err := next.WriteBatch(context.Background(), service.MessageBatch{message(0, 1, at(1*s, 1))})
		if !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
