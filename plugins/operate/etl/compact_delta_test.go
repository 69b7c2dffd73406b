package etl

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/plugins/operate/etl/delta"
	"weir/plugins/store/lake"
)

func compaction(t *testing.T, now time.Time) Compaction {
	t.Helper()
	return Compaction{Small: 1 << 20, Least: 2, Keep: 24 * time.Hour, Now: func() time.Time { return now },
		Tell: func(line string) { t.Log(line) }}
}

func compacts(t *testing.T, p *Pipeline, now time.Time) Compacted {
	t.Helper()
	all, err := p.Compact(t.Context(), compaction(t, now))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return all[0]
}

// What is compacted has the same rows, of every type and partition, in fewer files; what
// was of the table before goes when it was to be kept no longer, and no sooner.
func TestCompact_RowsStayAndOldFilesGo(t *testing.T) {
	dir, o := t.TempDir(), options(t)
	more := appends + `, "partition_by": ["bool", "text"]`
	rows := borderRows()
	rows[2][indexOf(everyType(), "text")].text = "ü/=% "
	for range 5 {
		runs(t, toDelta(t, dir, "p", more, everyType(), rows), o)
	}
	p := toDelta(t, dir, "p", more, everyType(), rows)
	before := sortedRows(rowsOfDelta(t, dir, "shop/t"))
	now := time.Now()
	if got := compacts(t, p, now); got.Files != 15 || got.Into != 3 || got.Vacuumed != 0 {
		t.Fatalf("%+v", got)
	}
	if after := sortedRows(rowsOfDelta(t, dir, "shop/t")); len(before) != 15 || !slices.Equal(before, after) {
		t.Errorf("%v\nwas\n%v", after, before)
	}
	if got := compacts(t, p, now.Add(23*time.Hour)); got != (Compacted{Table: "shop/t"}) {
		t.Errorf("again: %+v", got)
	}
	parquets := func() int { return len(files(t, dir, "shop/t/*/*/*.parquet")) }
	if n := parquets(); n != 18 {
		t.Errorf("%d files before they are old", n)
	}
	if got := compacts(t, p, now.Add(25*time.Hour)); got.Vacuumed != 15 || parquets() != 3 {
		t.Errorf("%+v, %d files", got, parquets())
	}
	if after := sortedRows(rowsOfDelta(t, dir, "shop/t")); !slices.Equal(before, after) {
		t.Errorf("%v\nwas\n%v", after, before)
	}
	runs(t, p, o) // goes on
	log := strings.Join(lines(t, files(t, dir, "shop/t/_delta_log/00000000000000000005.json")), "\n")
	if strings.Contains(log, `"dataChange":true`) || strings.Count(log, `"dataChange":false`) != 18 {
		t.Error(log)
	}
	got := python(t, readDelta, filepath.Join(dir, "shop/t"))
	if n := strings.Count(got, "\n"); n != 20 {
		t.Errorf("delta-rs reads %d lines: %s", n, got)
	}
}

// Compactions beside those who append, merge and replace lose no row and bring none back.
func TestCompact_GoesOnBesideOthers(t *testing.T) {
	dir := t.TempDir()
	runs(t, toDelta(t, dir, "m", `"mode": "merge", "key": ["id"]`, idAndText(), numberedRows(1, 3)), options(t))
	var group sync.WaitGroup
	for n := range 2 {
		o := options(t)
		group.Go(func() {
			for i := range 6 {
				from := 100 + n*100 + i
				p := toDelta(t, dir, fmt.Sprintf("w%d", n), appends, idAndText(), numberedRows(from, from))
				if _, err := p.Run(t.Context(), o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	o := options(t)
	group.Go(func() {
		for range 4 { // each takes the places of the one before
			p := toDelta(t, dir, "m", `"mode": "merge", "key": ["id"]`, idAndText(), numberedRows(1, 3))
			if _, err := p.Run(t.Context(), o); err != nil {
				t.Error(err)
			}
		}
	})
	p := toDelta(t, dir, "w0", appends, idAndText(), nil)
	group.Go(func() {
		for range 8 {
			if _, err := p.Compact(t.Context(), compaction(t, time.Now())); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	compacts(t, p, time.Now())
	rows := rowsOfDelta(t, dir, "shop/t")
	seen := map[string]int{}
	for _, r := range rows {
		seen[r[0].text]++
	}
	if len(rows) != 15 || len(seen) != 15 {
		t.Errorf("%d rows, %d of them apart: %v", len(rows), len(seen), seen)
	}
}

// A file that was taken out of the table meanwhile ends the attempt: nothing comes back.
func TestCompact_WhatIsGoneStaysGone(t *testing.T) {
	dir, o := t.TempDir(), options(t)
	for i := range 3 {
		runs(t, toDelta(t, dir, "p", appends, idAndText(), numberedRows(i, i)), o)
	}
	store, err := lake.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	at := delta.Table{Store: store, Folder: "shop/t"}
	was, err := at.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	o.TakeOver = true
	runs(t, toDelta(t, dir, "p", replaces, idAndText(), numberedRows(7, 7)), o)
	c := compaction(t, time.Now())
	small, err := smallFiles(was, c)
	if err != nil || len(small) != 3 {
		t.Fatal(small, err)
	}
	next, into, err := putTogether(t.Context(), at, was, small, c)
	if err != nil || len(into) != 0 || next.Version != 3 {
		t.Fatal(next, into, err)
	}
	if rows := rowsOfDelta(t, dir, "shop/t"); len(rows) != 1 || rows[0][0].text != "7" {
		t.Error(rows)
	}
	if found := files(t, dir, "shop/t/*.parquet"); len(found) != 4 {
		t.Errorf("what no version has stays: %v", found)
	}
}

func TestCompact_WhatItCannotIsNamed(t *testing.T) {
	p := pipeline(t, 1)
	if _, err := p.Compact(t.Context(), compaction(t, time.Now())); !Final(err) {
		t.Error(err)
	}
	c := compaction(t, time.Now())
	c.Keep = time.Minute
	if _, err := p.Compact(t.Context(), c); !Final(err) || !strings.Contains(err.Error(), "1h0m0s at least") {
		t.Error(err)
	}
}
