package rollup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
)

// entryOf returns the journal entry of a batch of new events.
func entryOf(windows []*Window) []byte {
	var w entryWriter
	w.begin()
	for _, win := range windows {
		w.window(win.Key)
		for n := range win.events {
			w.event(win.Bucket, &win.events[n])
		}
	}
	return w.body
}

func TestRollup_EntriesReadBackAsWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for n := range 50 {
		windows := gather(history(r, n*4))
		for _, w := range windows {
			for i := range w.events {
				w.events[i].replayed = r.IntN(2) == 0
				if w.events[i].readings == nil {
					w.events[i].readings = []reading{}
				}
			}
		}
		back, err := decodeEntry(entryOf(windows))
		if err != nil {
			t.Fatal(err)
		}
		if len(back) != len(windows) {
			t.Fatalf("%d windows of %d", len(back), len(windows))
		}
		for i, w := range windows {
			if back[i].Key != w.Key || !reflect.DeepEqual(back[i].events, w.events) {
				t.Fatalf("%+v\nwas\n%+v", back[i], w)
			}
		}
	}
}

// A damaged entry causes an error, never a panic.
func FuzzDamagedEntriesAreNoticed(f *testing.F) {
	f.Add(entryOf(gather(history(rand.New(rand.NewPCG(1, 1)), 20))))
	f.Fuzz(func(t *testing.T, body []byte) {
		windows, err := decodeEntry(body)
		if err != nil && !errors.Is(err, errCorrupt) {
			t.Error(err)
		}
		for _, w := range windows {
			for _, e := range w.events {
				if minuteOf(time.UnixMicro(e.at)) != w.Bucket {
					t.Errorf("an event at %d is in window %d", e.at, w.Bucket)
				}
			}
		}
	})
}

// openLazy opens a store with a memory of its own, like a process, which writes no rows by itself.
func openLazy(t *testing.T, url string) *Store {
	t.Helper()
	db, err := sqldb.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return onHandle(t, db)
}

func onHandle(t *testing.T, db *sqldb.DB) *Store {
	t.Helper()
	limits := DefaultLimits()
	limits.WriteEvery = time.Hour
	s, err := Open(context.Background(), db, limits)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func handleOf(s *Store) *sqldb.DB { return s.db }

// stored counts rows of minutes and entries of the journal as SQL sees them.
func stored(t *testing.T, s *Store) (rows, entries int) {
	t.Helper()
	err := handleOf(s).QueryRow(`SELECT (SELECT count(*) FROM rollup_window_1m), (SELECT count(*) FROM rollup_journal)`).Scan(&rows, &entries)
	if err != nil {
		t.Fatal(err)
	}
	return rows, entries
}

// A crash leaves batches in the journal that no row has. The next process finds them, and counts
// none of them again.
func TestRollup_WhatOnlyTheJournalHasOutlivesACrash(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		url := fresh()
		events := history(rand.New(rand.NewPCG(3, 3)), 300)
		clean := openStore(t, fresh())
		add(t, clean, noon, gather(events))
		writeOut(t, clean)

		s := openLazy(t, url)
		for n := 0; n < len(events); n += 100 {
			add(t, s, noon, gather(events[n:n+100]))
		}
		if rows, entries := stored(t, s); rows != 0 || entries != 3 {
			t.Fatalf("%d rows, %d entries", rows, entries)
		}
		next := openLazy(t, url)
		takeOver(t, next)
		if res := add(t, next, noon, gather(events)); res.Events[outcomeDuplicate] != len(events) ||
			res.Events[outcomeCounted] != 0 {
			t.Errorf("delivered again: %+v", res)
		}
		if rows, entries := stored(t, next); rows == 0 || entries != 0 {
			t.Errorf("%d rows, %d entries", rows, entries)
		}
		compareStores(t, dump(t, clean), dump(t, openLazy(t, url)))

		// The first process was not dead, but its memory is invalid now.
		late := history(rand.New(rand.NewPCG(4, 4)), 20)
		add(t, clean, noon, gather(late))
		if res := add(t, s, noon, gather(append(late, events...))); res.Events[outcomeDuplicate] != len(events) ||
			res.Events[outcomeCounted] != len(late) {
			t.Errorf("by the first: %+v", res)
		}
		compareStores(t, dump(t, clean), dump(t, openLazy(t, url)))
	})
}

// takeOver makes a process take over what others have left; in SQLite it does so by itself.
func takeOver(t *testing.T, s *Store) {
	t.Helper()
	for range 2 { // the first call finds them, the second that they were silent
		if err := s.adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
		for id, of := range s.silent {
			of.since = of.since.Add(-silentFor)
			s.silent[id] = of
		}
	}
}

// A reader sees what was acknowledged before, and only the rows that it reads are written for
// that.
func TestRollup_ReadersSeeWhatIsNotWritten(t *testing.T) {
	url := "sqlite://" + t.TempDir() + "/r.db"
	s := openLazy(t, url)
	for n, device := range []string{"a", "b", "c"} {
		add(t, s, noon, windowsOf(t, "acme", testEvent(n, device, noon, `{"x":1}`)))
	}
	add(t, s, noon, windowsOf(t, "other", testEvent(3, "a", noon, `{"x":1}`)))
	steps := []struct {
		what          string
		reader        *Store
		q             query
		lines         int
		rows, entries int // after reading
	}{
		{"another minute", s, query{Devices: []string{"a"}, From: noon.Unix() - 60, To: noon.Unix()}, 0, 0, 4},
		{"a device", onHandle(t, handleOf(s)), query{Devices: []string{"a"}, From: noon.Unix(), To: noon.Unix() + 60}, 1, 1,
			3},
		{"the fleet's hour", s, query{Resolution: byHour, Merge: true, From: noon.Unix(), To: noon.Unix() + 60}, 1, 3, 1},
		{"again, elsewhere", openLazy(t, url), query{Resolution: byHour, Merge: true, From: noon.Unix(),
			To: noon.Unix() + 60},
			1, 4, 0},
	}
	for _, step := range steps {
		step.q.Fleet, step.q.Limit = "acme", 10
		if step.q.Resolution.Width == 0 {
			step.q.Resolution = byMinute
		}
		lines, _, err := step.reader.run(t.Context(), step.q)
		if err != nil || len(lines) != step.lines {
			t.Errorf("%s: %d lines, %v", step.what, len(lines), err)
		}
		if step.q.Merge && len(lines) == 1 && lines[0].devices != 3 {
			t.Errorf("%s: %d devices", step.what, lines[0].devices)
		}
		if rows, entries := stored(t, s); rows != step.rows || entries != step.entries {
			t.Errorf("after %s, there are %d rows and %d entries, expected %d and %d", step.what, rows, entries, step.rows,
				step.entries)
		}
	}
	add(t, s, noon, windowsOf(t, "acme", testEvent(9, "a", noon, `{"x":1}`)))
	l, err := s.latest(t.Context(), "acme", "a", 0)
	if err != nil || l.Metrics["x"].Count != 2 {
		t.Errorf("%+v, %v", l, err)
	}
}

// leaving is a backend whose reader goes away when the write begins.
type leaving struct {
	backend
	leave func()
}

func (l leaving) update(ctx context.Context, fn func(tx) error) error {
	l.leave()
	return l.backend.update(ctx, fn)
}

// A reader that goes away does not invalidate what is in memory.
func TestRollup_AReaderThatLeavesVoidsNothing(t *testing.T) {
	s := openLazy(t, "sqlite://"+t.TempDir()+"/r.db")
	add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":1}`)))
	term := s.term
	ctx, cancel := context.WithCancel(t.Context())
	s.backend = leaving{s.backend, cancel}
	if _, err := s.latest(ctx, "acme", "a", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("who has left gets %v", err)
	}
	s.backend = s.backend.(leaving).backend
	if rows, _ := stored(t, s); rows != 1 || s.term != term || len(s.cache.rows) != 1 {
		t.Errorf("%d rows, term %d after %d, %d rows in memory", rows, s.term, term, len(s.cache.rows))
	}
}

// Rows are written when there is no room for more in memory, when the journal is full, and when
// they are due.
func TestRollup_RowsAreWrittenInTime(t *testing.T) {
	s := openLazy(t, "sqlite://"+t.TempDir()+"/r.db")
	n := 0
	more := func(devices int) (rows int64) {
		t.Helper()
		var windows []*Window
		for range devices {
			n++
			windows = append(windows, windowsOf(t, "acme", testEvent(n, fmt.Sprint("device-", n), noon, `{"x":1}`))...)
		}
		before := s.Use().Written
		add(t, s, noon, windows)
		return s.Use().Written - before
	}
	expect := func(what string, written, rows int64, entries int) {
		t.Helper()
		if _, have := stored(t, s); written != rows || have != entries {
			t.Errorf("%s: %d rows written, %d entries; expected %d and %d", what, written, have, rows, entries)
		}
	}
	due := func() int64 {
		t.Helper()
		before := s.Use().Written
		if err := s.writeDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s.Use().Written - before
	}
	pass := func(d time.Duration) { s.begun = s.begun.Add(-d) }
	s.limits.Cache = 12
	expect("with room", more(8), 0, 1)
	expect("without room: the oldest, until there is some", more(4), 3, 2)
	if len(s.cache.rows) != 12 {
		t.Errorf("%d rows in memory", len(s.cache.rows))
	}
	expect("without room again: what no row lacks has left the journal", more(6), 6, 2)
	if use := s.Use(); use.Held != 12 || use.Evicted != 6 {
		t.Errorf("%+v, expected 12 rows in memory and 6 that found no room", use)
	}
	expect("too early", due(), 0, 2)
	pass(s.limits.WriteEvery)
	s.added = s.clock() // another batch has just come
	more(2)
	expect("in time, but not those of the last batch", due(), 9, 1)
	pass(quiet)
	expect("when no more batches come", due(), 2, 0)
	more(4)
	s.bytes = journalMost
	expect("with a full journal", more(4), 2, 2)
	s.limits.WriteEvery = 0
	expect("with each batch", more(3), 9, 0)
	if s.Use().Written != 31 {
		t.Errorf("%d rows were written", s.Use().Written)
	}
}

// Rows are written in steps, between which batches are added.
func TestRollup_ManyRowsAreWrittenInSteps(t *testing.T) {
	s := openLazy(t, "sqlite://"+t.TempDir()+"/r.db")
	var windows []*Window
	for n := range 2*writeMost + 1 {
		windows = append(windows, windowsOf(t, "acme", testEvent(n, fmt.Sprint("device-", n), noon, `{"x":1}`))...)
	}
	add(t, s, noon, windows)
	steps := &counting{backend: s.backend}
	s.backend, s.begun = steps, s.begun.Add(-quiet)
	err := s.writeDue(t.Context())
	if s.backend = steps.backend; err != nil {
		t.Fatal(err)
	}
	if rows, entries := stored(t, s); rows != len(windows) || entries != 0 || steps.n != 3 {
		t.Errorf("%d rows of %d in %d steps, %d entries", rows, len(windows), steps.n, entries)
	}
}

type counting struct {
	backend
	n int
}

func (c *counting) update(ctx context.Context, fn func(tx) error) error {
	c.n++
	return c.backend.update(ctx, fn)
}

// A row leaves memory when its minute is over; a later event reads it again.
func TestRollup_ColdRowsLeaveMemory(t *testing.T) {
	s := openLazy(t, "sqlite://"+t.TempDir()+"/r.db")
	add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":1}`)))
	later := noon.Add(10 * time.Minute)
	add(t, s, later, windowsOf(t, "acme", testEvent(2, "b", later, `{"x":1}`)))
	if use := s.Use(); use.Held != 2 {
		t.Errorf("%+v: a row that is not written must be in memory", use)
	}
	if err := s.WriteOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	later = later.Add(sweepEvery * time.Second)
	add(t, s, later, windowsOf(t, "acme", testEvent(3, "b", later, `{"x":1}`)))
	if use := s.Use(); use.Held != 1 || use.Evicted != 0 {
		t.Errorf("%+v, expected the row of b alone, and that none found no room", use)
	}
	add(t, s, later, windowsOf(t, "acme", testEvent(4, "a", noon, `{"x":1}`)))
	if use := s.Use(); use.Read != 1 {
		t.Errorf("%+v, expected the row of a to be read", use)
	}
	if l, err := s.latest(t.Context(), "acme", "a", 0); err != nil || l.Metrics["x"].Count != 2 {
		t.Errorf("%+v, %v", l, err)
	}
}

// The stream writes rows by itself, and when it stops.
func TestRollup_TheStreamWritesRows(t *testing.T) {
	url := "sqlite://" + t.TempDir() + "/r.db"
	s := openLazy(t, url)
	t.Run("running", func(t *testing.T) {
		send := startStream(t, url, "write_every: 100ms")
		if err := send(t.Context(), service.MessageBatch{testMessage(testEvent(1, "a", time.Now(), `{"x":1}`),
			"acme")}); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(10 * time.Second)
		for rows := 0; rows != 1; rows, _ = stored(t, s) {
			if time.Sleep(20 * time.Millisecond); time.Now().After(deadline) {
				t.Fatal("no row is written")
			}
		}
	})
	t.Run("stopped", func(t *testing.T) {
		send := startStream(t, url, "write_every: 1h")
		if err := send(t.Context(), service.MessageBatch{testMessage(testEvent(2, "b", time.Now(), `{"x":1}`),
			"acme")}); err != nil {
			t.Fatal(err)
		}
	})
	if rows, entries := stored(t, s); rows != 2 || entries != 0 {
		t.Errorf("after the stop there are %d rows and %d entries", rows, entries)
	}
}

// Retention that keeps windows for ever merges what it finds in the journal, however old that is.
func TestRollup_RetentionLosesNothingOfTheJournal(t *testing.T) {
	url := "sqlite://" + t.TempDir() + "/r.db"
	add(t, openLazy(t, url), noon, windowsOf(t, "acme", testEvent(1, "a", noon.Add(-48*time.Hour), `{"x":1}`)))
	s := openLazy(t, url)
	if _, err := expireRows(t.Context(), handleOf(s), expire.Pass{Now: noon.Add(100 * day)}, 0, time.Hour); err != nil {
		t.Fatal(err)
	}
	if rows, entries := stored(t, s); rows != 1 || entries != 0 {
		t.Errorf("%d rows, %d entries", rows, entries)
	}
}

// Close waits for the writing of rows, which must not wait for Close.
func TestRollup_ClosingWaitsForTheWritingOfRows(t *testing.T) {
	res := service.MockResources()
	m := res.Metrics()
	o := &output{url: "sqlite://" + t.TempDir() + "/r.db", limits: DefaultLimits(), policy: testPolicy,
		timeout: time.Minute, res: res,
		rows: m.NewCounter("rows"), rolled: m.NewCounter("rolled"), read: m.NewCounter("read"),
		evicted: m.NewCounter("evicted"), held: m.NewGauge("held")}
	o.limits.WriteEvery = time.Millisecond
	if err := o.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.store.mu.Lock()
	time.Sleep(writeInterval + 200*time.Millisecond) // the writer waits for the lock by now
	closed := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		closed <- o.Close(ctx)
	}()
	time.Sleep(100 * time.Millisecond)
	o.store.mu.Unlock()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
