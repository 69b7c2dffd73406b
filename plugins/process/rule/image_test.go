package rule

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// images is how many the journal has.
func (b *bench) images() (n int) {
	b.Helper()
	db, err := sqldb.Open(b.Context(), b.url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := journalOf(b.Context(), db, func(entry []byte) ([]byte, error) {
		if isImage(entry) {
			n++
		}
		return nil, nil
	}); err != nil {
		b.Fatal(err)
	}
	return n
}

// round is a batch with an event of each of some devices.
func round(devices int, offset *int64, after time.Duration) (batch []*service.Message) {
	for d := range devices {
		raw := strings.Replace(at(after, 1), "pump-1", fmt.Sprint("pump-", d), 1)
		batch = append(batch, message(0, *offset, raw))
		*offset++
	}
	return batch
}

// However many keys changed, a batch writes a few rows of them, until all have one; and
// what changes all the time is in the next image, and no row before.
func TestImage_ABatchWritesAFewRows(t *testing.T) {
	const devices, each = 40, 7
	b := newBench(t, perMinute)
	o := b.operator()
	o.rowsEach = each
	offset := int64(0)
	rows := func() (n int) {
		if err := o.db.QueryRow(`SELECT count(*) FROM rule_state`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	b.apply(o, round(devices, &offset, 0)...)
	o.journalMost = 1
	b.apply(o, round(devices, &offset, s)...)
	if n, images := rows(), b.images(); n != 0 || images != 1 {
		t.Fatalf("%d rows and %d images of the batch that is due", n, images)
	}
	o.journalMost = journalMost
	have := 0
	for batches := 0; b.images() > 0; batches++ {
		b.apply(o, round(1, &offset, 2*s)...)
		now := rows()
		if now-have > each || batches > devices {
			t.Fatalf("after %d batches %d rows, of which the last one wrote %d", batches, now, now-have)
		}
		have = now
	}
	if have != devices {
		t.Errorf("%d rows of %d keys", have, devices)
	}
	o.journalMost = 1
	b.apply(o, round(devices, &offset, 3*s)...)
	for n := range 5 { // each due, and each with all keys
		b.apply(o, round(devices, &offset, time.Duration(4+n)*s)...)
	}
	if n := b.images(); n > 6 || n == 0 {
		t.Errorf("%d images", n)
	}
	next := b.operator()
	b.apply(next, round(devices, &offset, 66*s)...)
	for _, told := range b.count("minute") {
		if !strings.HasSuffix(told, "s 8") && !strings.HasPrefix(told, "pump-0 ") {
			t.Errorf("told %s of 8 events", told)
		}
	}
	if n := len(b.count("minute")); n != devices {
		t.Errorf("%d results", n)
	}
}

// Keys that close and come again while images wait for their rows are what they were to
// whoever reads them anew, after each batch.
func TestImage_WhoReadsThemAnewHasTheSame(t *testing.T) {
	rules := strings.Replace(everything, "rules:", "rules: # read anew", 1)
	for _, c := range []struct{ journalMost, imageMost int }{{0, imageMost}, {2000, imageMost}, {0, 1}, {2000, 900}} {
		kept, anew := newBench(t, rules), newBench(t, rules)
		one := kept.operator()
		offset, other := int64(0), int64(0)
		for n := range 30 {
			after := time.Duration(n*n%17*9) * s
			kept.apply(one, round(6, &offset, after)...)
			o := anew.operator()
			o.journalMost, o.rowsEach, o.imageMost = c.journalMost, 1+n%4, c.imageMost
			anew.apply(o, round(6, &other, after)...)
		}
		if (anew.images() == 0) != (c.imageMost == 1) && c.imageMost != 900 {
			t.Errorf("there are %d images of at most %d bytes", anew.images(), c.imageMost)
		}
		want, got := kept.results(), anew.results()
		if len(want) < 20 {
			t.Fatalf("%d results", len(want))
		}
		for id, told := range want {
			if got[id] != told {
				t.Fatalf("told %q, not %q", got[id], told)
			}
		}
	}
}

// An image that is damaged is refused, and nothing is changed.
func TestImage_WhatCannotBeReadIsRefused(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"cut":     func(e []byte) []byte { return e[:len(e)-1] },
		"unknown": func(e []byte) []byte { return append(e, 99) },
		"long":    func(e []byte) []byte { return append(e, tagKey, 255, 255, 3) },
	} {
		b := newBench(t, perMinute)
		o := b.operator()
		o.journalMost, o.rowsEach = 0, 1
		offset := int64(0)
		b.apply(o, round(5, &offset, 0)...)
		b.apply(o, round(5, &offset, s)...)
		if b.images() != 1 {
			t.Fatal("there is no image")
		}
		if err := tombstone.Update(t.Context(), o.db, func(tx *sql.Tx) error {
			return journalOf(t.Context(), tx, func(e []byte) ([]byte, error) { return spoil(e), nil })
		}); err != nil {
			t.Fatal(err)
		}
		if err := b.operator().WriteBatch(t.Context(), round(1, &offset, 2*s)); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
