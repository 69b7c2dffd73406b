package rollup

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/tests/integration/require"
)

// onPostgres returns the URL of an empty PostgreSQL database, where each process has a journal.
func onPostgres(t testing.TB) string {
	t.Helper()
	return freshSchema(t, require.Env(t, "WEIR_TEST_POSTGRES_URL"))
}

// A reader in another process sees at once, in every resolution, what processes have in their
// journals, and it is the same as in the rows later.
func TestRollup_ReadersMergeTheJournalsOfAllProcesses(t *testing.T) {
	url := onPostgres(t)
	events := history(rand.New(rand.NewPCG(8, 8)), 300)
	clean := openStore(t, onPostgres(t))
	add(t, clean, noon, gather(events))
	finish(t, clean)

	one, two, reader := openLazy(t, url), openLazy(t, url), openLazy(t, url)
	add(t, one, noon, gather(events[:100]))
	writeOut(t, one)
	finish(t, one) // hours and days, without the events that follow
	add(t, one, noon, gather(events[50:250]))
	add(t, two, noon, gather(events[200:])) // the other process has fifty of them as well
	rows, entries := stored(t, reader)
	if entries == 0 {
		t.Fatal("nothing is in the journals")
	}
	queries := []query{}
	for _, res := range []resolution{byMinute, byHour, byDay} {
		for _, q := range []query{{Devices: []string{"dev-0"}}, {Devices: []string{"dev-0", "dev-1", "dev-2"}},
			{Merge: true}} {
			q.Fleet, q.From, q.To, q.Resolution, q.Limit = "acme", noon.Unix()-86400, noon.Unix()+86400, res, 10_000
			queries = append(queries, q)
		}
	}
	same := func(when string) {
		t.Helper()
		for _, q := range queries {
			want, _, err := clean.run(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := reader.run(t.Context(), q)
			if err != nil || len(got) != len(want) || len(got) == 0 {
				t.Fatalf("%s, %+v: %d lines, expected %d, %v", when, q, len(got), len(want), err)
			}
			for i := range got {
				g, w := got[i], want[i]
				if g.position != w.position || g.devices != w.devices || g.metric.Count != w.metric.Count ||
					g.metric.Sum.Hi != w.metric.Sum.Hi || g.metric.Last != w.metric.Last || g.metric.Max != w.metric.Max {
					t.Errorf("%s, %+v: %+v, expected %+v", when, q, *g.metric, *w.metric)
				}
			}
		}
		want, err := clean.latest(t.Context(), "other", "dev-1", 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := reader.latest(t.Context(), "other", "dev-1", 0)
		if err != nil || len(got.Recent) != len(want.Recent) || len(got.Metrics) != len(want.Metrics) {
			t.Fatalf("%s: %+v, expected %+v, %v", when, got, want, err)
		}
		for name, m := range want.Metrics {
			if g := got.Metrics[name]; g.Count != m.Count || g.LastAt != m.LastAt {
				t.Errorf("%s: latest %s: %+v, expected %+v", when, name, *g, *m)
			}
		}
	}
	same("before rows are written")
	if r, e := stored(t, reader); r != rows || e != entries {
		t.Errorf("reading has written: %d rows, %d entries, and there were %d and %d", r, e, rows, entries)
	}
	writeOut(t, reader)
	if _, entries := stored(t, reader); entries != 0 {
		t.Errorf("%d entries are left", entries)
	}
	same("after")
	finish(t, reader)
	compareStores(t, dump(t, clean), dump(t, reader))
}

// A process whose part was taken over notices it with the next batch, and no working process
// counts as silent.
func TestRollup_OnlySilentProcessesAreTakenOver(t *testing.T) {
	url := onPostgres(t)
	busy, left, other := openLazy(t, url), openLazy(t, url), openLazy(t, url)
	add(t, busy, noon, windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":1}`)))
	add(t, left, noon, windowsOf(t, "acme", testEvent(2, "b", noon, `{"x":1}`)))
	if err := other.adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows, entries := stored(t, other); rows != 0 || entries != 2 {
		t.Errorf("at first sight, there are %d rows and %d entries", rows, entries)
	}
	add(t, busy, noon, windowsOf(t, "acme", testEvent(3, "a", noon, `{"x":1}`)))
	for id, of := range other.silent {
		other.silent[id] = silence{of.batches, of.since.Add(-silentFor)}
	}
	if err := other.adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows, entries := stored(t, other); rows != 1 || entries != 2 {
		t.Errorf("there are %d rows and %d entries, expected those of b, and the batches of a", rows, entries)
	}
	term := busy.term
	add(t, busy, noon, windowsOf(t, "acme", testEvent(4, "a", noon, `{"x":1}`)))
	if busy.term != term || busy.Use().Read != 0 {
		t.Error("who works was taken over")
	}
	if err := busy.leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, err := other.writers(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v: expected none, since both have ended", list, err)
	}
	for device, n := range map[string]int64{"a": 3, "b": 1} {
		if l, err := other.latest(t.Context(), "acme", device, 0); err != nil || l.Metrics["x"].Count != n {
			t.Errorf("%s: %+v, %v", device, l, err)
		}
	}
}

// What a process has in memory of an erased row is not merged into a row that takes its place,
// whatever its version.
func TestRollup_MemoryOfAnErasedRowIsVoid(t *testing.T) {
	url := onPostgres(t)
	writer, eraser := openLazy(t, url), openLazy(t, url)
	ctx, until := t.Context(), noon.Add(30*time.Second)
	add(t, writer, noon, []*Window{arrived("gone", 1, noon, noon)})
	writeOut(t, writer) // version 1
	if err := tombstone.Bury(ctx, eraser.db, tombstone.Of("acme", "gone", until)); err != nil {
		t.Fatal(err)
	}
	// It reads the row, which will be deleted, and adds an event that is only in the journal.
	add(t, writer, noon, []*Window{arrived("gone", 2, noon, until.Add(time.Second))})
	target := tombstone.Target{Job: "j", Fleet: "acme", Device: "gone", Until: until.UnixMicro()}
	if err := eraser.erase(ctx, eraser.db, target, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	found := 0
	if err := eraser.db.QueryRow(`SELECT count(*) FROM rollup_journal WHERE position('gone'::bytea IN body) > 0`).Scan(
		&found); err != nil || found != 0 {
		t.Errorf("%d entries have the device: %v", found, err)
	}
	eraser.limits.WriteEvery = 0
	add(t, eraser, noon, []*Window{arrived("gone", 2, noon, until.Add(time.Second))}) // version 1 again
	add(t, writer, noon, []*Window{arrived("gone", 3, noon, until.Add(time.Second))})
	writeOut(t, writer)
	if got := fmt.Sprint(counts(t, eraser, byMinute)); got != "map[gone:2]" {
		t.Errorf("%s: expected the two events that came later", got)
	}
}

// A ledger is dropped only if no journal has an event of its row. Other events in a journal count,
// replayed or not.
func TestRollup_LedgersOutliveTheJournal(t *testing.T) {
	url := onPostgres(t)
	writer, keeper := openLazy(t, url), openLazy(t, url)
	seal := func(now time.Time) int64 {
		t.Helper()
		done, err := expireRows(t.Context(), keeper.db, expire.Pass{Now: now}, 0, 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return done.Ledgers.Rows
	}
	add(t, writer, noon, windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":1}`), testEvent(2, "b", noon, `{"x":1}`)))
	if err := writer.exclusive(t.Context(), func(t tx) error {
		return writer.writeFirst(context.Background(), t, 1)
	}); err != nil {
		t.Fatal(err)
	}
	if rows, entries := stored(t, keeper); rows != 1 || entries != 1 {
		t.Fatalf("%d rows, %d entries", rows, entries)
	}
	if n := seal(noon.Add(30 * time.Minute)); n != 0 {
		t.Errorf("%d ledgers were dropped that the journal needs", n)
	}
	takeOver(t, keeper)
	if n := seal(noon.Add(30 * time.Minute)); n != 2 {
		t.Errorf("%d ledgers were dropped, expected both", n)
	}
	// An event that was counted while the window had its ledger.
	add(t, writer, noon.Add(40*time.Minute), windowsOf(t, "acme", testEvent(3, "c", noon, `{"x":1}`)))
	writeOut(t, writer)
	again := windowsOf(t, "acme", testEvent(4, "c", noon, `{"x":1}`))
	again[0].events[0].replayed = true
	later := noon.Add(2 * time.Hour)
	if r := add(t, writer, later, again); r.Events[outcomeCounted] != 1 {
		t.Fatalf("%+v", r)
	}
	if n := seal(later.Add(time.Minute)); n != 1 {
		t.Errorf("%d ledgers were dropped, expected that of c", n)
	}
	if l, err := keeper.latest(t.Context(), "acme", "c", 0); err != nil || l.Metrics["x"].Count != 2 {
		t.Errorf("before it is written: %+v, %v", l, err)
	}
	writeOut(t, writer)
	if l, err := keeper.latest(t.Context(), "acme", "c", 0); err != nil || l.Metrics["x"].Count != 2 {
		t.Errorf("after it is written: %+v, %v", l, err)
	}
}

// A rebuild does not change a window that counts, in a row or a journal, an event that the raw
// store does not have yet.
func TestRollup_ARebuildSeesTheJournals(t *testing.T) {
	url := onPostgres(t)
	writer, rebuilder := openLazy(t, url), openLazy(t, url)
	one, two := testEvent(1, "a", noon, `{"x":1}`), testEvent(2, "a", noon, `{"x":1}`)
	add(t, writer, noon, windowsOf(t, "acme", one, two))
	r, err := rebuilder.Replace(t.Context(), windowsOf(t, "acme", one), noon)
	if err != nil || r.Windows != 0 || len(r.Behind) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	both := windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":5}`), testEvent(2, "a", noon, `{"x":5}`))
	if r, err = rebuilder.Replace(t.Context(), both, noon); err != nil || r.Windows != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	add(t, writer, noon, windowsOf(t, "acme", testEvent(3, "a", noon, `{"x":5}`)))
	writeOut(t, writer)
	if l, err := rebuilder.latest(t.Context(), "acme", "a", 0); err != nil || l.Metrics["x"].Count != 3 ||
		l.Metrics["x"].Min != 5 {
		t.Errorf("%+v, %v", l.Metrics["x"], err)
	}
}

// Old windows are written to rows at once: no event of a window that may have been moved stays in
// a journal.
func TestRollup_OldWindowsAreRowsAtOnce(t *testing.T) {
	url := onPostgres(t)
	s := openLazy(t, url)
	old := noon.Add(-aloneAfter - time.Minute)
	add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a", old, `{"x":1}`), testEvent(2, "a", noon, `{"x":1}`)))
	if rows, entries := stored(t, s); rows != 1 || entries != 1 {
		t.Errorf("%d rows, %d entries", rows, entries)
	}
	crashed := openLazy(t, url)
	takeOver(t, crashed)
	if rows, _ := stored(t, crashed); rows != 2 {
		t.Errorf("%d rows", rows)
	}
}

// knownNode is the node of device-1 of acme, in every version of weir.
const knownNode = 1408

// Every device is in one node of each level, which is a half of its node of the level before.
func TestRollup_NodesHalve(t *testing.T) {
	for n := range 1000 {
		device := fmt.Sprint("device-", n)
		on := nodesOf("acme", []string{device})
		for level := range nodeLevels + 1 {
			if at := nodeAt("acme", device, level); at>>level != 1 || int32(at) != on[nodeLevels-level] {
				t.Fatalf("%s is in %d at level %d, and in %v", device, at, level, on)
			}
		}
	}
	if n := nodeAt("acme", "device-1", nodeLevels); n != knownNode {
		t.Errorf("node %d: other processes look for it at %d", n, knownNode)
	}
	var of note
	of.begin(100 * nodeBytes)
	w := windowsOf(t, "acme", testEvent(1, "device-1", noon, `{"x":1}`))[0]
	e := of.of(w.Key)
	e.window(w.Key)
	e.event(w.Bucket, &w.events[0])
	if list := of.filled(); len(list) != 1 || list[0].node != nodeAt("acme", "device-1", 7) || list[0].first != w.Bucket ||
		!bytes.Equal(list[0].body, e.body) {
		t.Errorf("%+v", list)
	}
}
