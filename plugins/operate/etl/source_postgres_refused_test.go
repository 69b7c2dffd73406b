package etl

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// A change of the columns stops the stream before anything of it is written, by the
// names of what is otherwise; what is new comes by the option.
func TestPostgresChanges_ColumnsThatChange(t *testing.T) {
	f := follow(t, "etl_ddl", "id bigint PRIMARY KEY, v text")
	f.exec("INSERT INTO etl_ddl VALUES (1, 'a')")
	dir, o := t.TempDir(), options(t)
	p, adding := f.into(dir, allFacts, toFolder), f.into(dir, allFacts+`, "changes": "additions"`, toFolder)
	streams(t, p, o)
	fails := func(p *Pipeline, says string) {
		t.Helper()
		if _, err := p.Stream(t.Context(), untilEnd(o)); !Final(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
	f.exec("INSERT INTO etl_ddl VALUES (2, 'b')", "ALTER TABLE etl_ddl ADD COLUMN w int",
		"INSERT INTO etl_ddl VALUES (3, 'c', 7)")
	fails(p, `column "w" (int32) is new`)
	streams(t, adding, o)
	// while it goes on
	ctx, stop := context.WithCancel(t.Context())
	o.Watch = func(now Progress) {
		switch now.Counts.Read {
		case 3:
			f.exec("INSERT INTO etl_ddl VALUES (4, 'd', 8)", "ALTER TABLE etl_ddl ADD COLUMN x text",
				"INSERT INTO etl_ddl VALUES (5, 'e', 9, 'new')")
		case 5:
			stop()
		}
	}
	if _, err := adding.Stream(ctx, o); err != nil {
		t.Fatal(err)
	}
	o.Watch = nil
	var got []string
	for _, one := range foundIn(t, dir, "all") {
		got = append(got, fmt.Sprintf("%v %v %v", one["id"], one["w"], one["x"]))
	}
	if want := []string{"1 <nil> <nil>", "2 <nil> <nil>", "3 7 <nil>", "4 8 <nil>", "5 9 new"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	f.exec("INSERT INTO etl_ddl VALUES (6, 'f', 10, 'x')", "ALTER TABLE etl_ddl DROP COLUMN x",
		"ALTER TABLE etl_ddl ALTER COLUMN w TYPE bigint", "INSERT INTO etl_ddl VALUES (7, 'g', 11)")
	before := len(foundIn(t, dir, "all"))
	fails(adding, `column "w" was int32 and is int64; column "x" (text) is gone`)
	if n := len(foundIn(t, dir, "all")); n != before {
		t.Errorf("%d rows came with columns that had changed", n-before)
	}
	o.Accept = true
	streams(t, adding, o)
	o.Accept = false
	f.exec("DELETE FROM etl_ddl WHERE id = 7")
	if r := streams(t, adding, o); r.Counts.Read != 8 {
		t.Errorf("%+v", r.Counts)
	}
}

// What a stream cannot follow ends it by its name, and says what to do.
func TestPostgresChanges_WhatCannotBeFollowedIsNamed(t *testing.T) {
	f := follow(t, "etl_refused", "id bigint PRIMARY KEY, v text, doc text")
	dir, o := t.TempDir(), options(t)
	fails := func(p *Pipeline, says string) {
		t.Helper()
		if _, err := p.Stream(t.Context(), untilEnd(o)); !Final(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
	p := f.into(dir, allFacts, toFolder)
	f.exec("ALTER TABLE etl_refused REPLICA IDENTITY NOTHING")
	fails(p, "has no replica identity")
	f.exec("ALTER TABLE etl_refused REPLICA IDENTITY DEFAULT")
	fails(f.into(dir, allFacts, `"sinks": [`+f.sink(`, "mode": "merge", "key": ["v"]`)+`]`), `merges by "v", which the log`)
	f.exec("DROP PUBLICATION "+f.slot, "CREATE PUBLICATION "+f.slot+" FOR TABLE etl_refused WITH (publish = 'insert')")
	fails(p, "leaves out inserts, updates, deletes or truncates: ALTER PUBLICATION")
	f.exec("DROP PUBLICATION "+f.slot, "CREATE PUBLICATION "+f.slot)
	fails(p, "does not have table etl_refused: ALTER PUBLICATION")
	f.exec("DROP PUBLICATION " + f.slot)
	fails(f.into(dir, `, "metadata": {"operation": "v"}`, toFolder), `the table has a column "v"`)
	streams(t, p, o)
	// a long value that an update leaves as it was
	f.exec("ALTER TABLE etl_refused ALTER COLUMN doc SET STORAGE EXTERNAL",
		"INSERT INTO etl_refused VALUES (1, 'a', repeat('long', 4000))", "UPDATE etl_refused SET v = 'b'")
	fails(p, `column "doc": an update has left it as it was, and the log does not have it: ALTER TABLE "public"."etl_refused" REPLICA IDENTITY FULL`)
	rejecting := f.into(dir, allFacts+`, "on_failure": "reject"`, toFolder+`, "rejects": {"url": "file://DIR", "object": "no"}`)
	if r := streams(t, rejecting, o); r.Counts.Rejected != 1 || r.Counts.Written != 1 {
		t.Errorf("%+v", r.Counts)
	}
	f.exec("ALTER TABLE etl_refused REPLICA IDENTITY FULL", "UPDATE etl_refused SET v = 'c'")
	streams(t, rejecting, o)
	all := foundIn(t, dir, "all")
	if last := all[len(all)-1]; last["op"] != operationUpdate || len(fmt.Sprint(last["doc"])) != 16000 {
		t.Errorf("%v", last["op"])
	}
	f.exec("TRUNCATE etl_refused")
	fails(rejecting, `was emptied by TRUNCATE`)
	emptying := f.into(dir, allFacts+`, "truncate": "apply"`, toFolder)
	streams(t, emptying, o)
	if all := foundIn(t, dir, "all"); all[len(all)-1]["op"] != operationTruncate {
		t.Error(all)
	}
	// a transaction that is too large
	small := f.into(dir, allFacts, toFolder+`, "memory_mib": 1`)
	f.exec("INSERT INTO etl_refused SELECT i, 'x', repeat('y', 1000) FROM generate_series(10, 2000) i")
	fails(small, "needs more than 1 MiB, and is taken whole: raise memory_mib")
	streams(t, emptying, o)
	// a slot that somebody else has read, or dropped
	f.exec("INSERT INTO etl_refused VALUES (3, 'a')",
		"SELECT pg_replication_slot_advance('"+f.slot+"', pg_current_wal_lsn())")
	fails(emptying, "somebody else has read the slot")
	f.exec("SELECT pg_drop_replication_slot('" + f.slot + "')")
	fails(emptying, "slot "+f.slot+" is gone, and with it what was changed since")
	f.exec("ALTER PUBLICATION " + f.slot + " DROP TABLE etl_refused")
	fails(emptying, "does not have table etl_refused")
}

// What merges has no row that is gone, that a filter takes out, or that had another
// key; a step that asks something of rows asks nothing of one that is gone.
func TestPostgresChanges_StepsKnowWhatIsGone(t *testing.T) {
	f := follow(t, "etl_steps", "id bigint PRIMARY KEY, v text, n numeric(10,2)")
	f.exec("INSERT INTO etl_steps VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (4, 'd', 4), (5, 'e', 5)")
	dir, o := t.TempDir(), options(t)
	const merge = `, "mode": "merge", "key": ["k"]`
	p := f.into(dir, "", `"steps": [{"filter": "this.n < \"9\""}, {"validate": {"column": "v", "not_null": true}},
		{"derive": {"column": "long", "type": "text", "mapping": "this.v.uppercase()"}}, {"rename": {"id": "k"}}, {"select": ["k", "long"]}],
		"sinks": [`+f.sink(merge)+`, {"format": "delta", "url": "file://DIR", "table": "t"`+merge+`}]`)
	streams(t, p, o)
	f.exec("DELETE FROM etl_steps WHERE id = 1", "UPDATE etl_steps SET n = 9 WHERE id = 2",
		"UPDATE etl_steps SET id = 30 WHERE id = 3", "UPDATE etl_steps SET v = 'x' WHERE id = 4",
		"INSERT INTO etl_steps VALUES (1, 'again', 1)", "DELETE FROM etl_steps WHERE id = 1")
	r := streams(t, p, o)
	want := map[string]string{"30": "C", "4": "X", "5": "E"}
	if got := f.rows("SELECT k::text, long FROM etl_steps_merged"); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	got := map[string]string{}
	for _, r := range rowsOfDelta(t, dir, "t") {
		got[r[0].text] = r[1].text
	}
	if !maps.Equal(got, want) || r.Counts.Filtered != 1 || r.Counts.unexplained() != 0 {
		t.Errorf("%v, want %v; %+v", got, want, r.Counts)
	}
	f.exec("TRUNCATE etl_steps", "INSERT INTO etl_steps VALUES (7, 'g', 1)")
	emptying := f.into(dir, `, "truncate": "apply"`, `"steps": [{"select": ["id", "v"]}, {"rename": {"id": "k", "v": "long"}}],
		"sinks": [`+f.sink(merge)+`, {"format": "delta", "url": "file://DIR", "table": "t"`+merge+`}]`)
	streams(t, emptying, o)
	if got := f.rows("SELECT k::text, long FROM etl_steps_merged"); !maps.Equal(got, map[string]string{"7": "g"}) {
		t.Error(got)
	}
	if got := rowsOfDelta(t, dir, "t"); len(got) != 1 || got[0][0].text != "7" {
		t.Error(got)
	}
}

// The server forgets what all sinks have, and nothing else; of what others change it
// forgets, too, when nothing comes for this stream.
func TestPostgresChanges_TheSlotFollowsTheSinks(t *testing.T) {
	f := follow(t, "etl_slot", "id bigint PRIMARY KEY, v text")
	dir, o := t.TempDir(), options(t)
	p := f.into(dir, allFacts, toFolder)
	confirmed := func() (at string) {
		t.Helper()
		if err := f.conn.QueryRow(t.Context(), "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE "+
			"slot_name = $1",
			f.slot).Scan(&at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	streams(t, p, o)
	hears := func(at string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); confirmed() != at; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the slot is at %s, and the sinks at %s", confirmed(), at)
			}
		}
	}
	f.exec("INSERT INTO etl_slot VALUES (0, 'a')")
	first := place(streams(t, p, o).Stream.To.Next[0])
	hears(first)
	f.exec("INSERT INTO etl_slot VALUES (1, 'a')")
	o.wrap = func(s streamSink) streamSink { return away{s} }
	if _, err := p.Stream(t.Context(), untilEnd(o)); err == nil {
		t.Fatal("a sink that is away took a batch")
	}
	if got := confirmed(); got != first {
		t.Errorf("the slot went from %s to %s, and no sink has that", first, got)
	}
	o.wrap = nil
	r := streams(t, p, o)
	if hears(place(r.Stream.To.Next[0])); r.Stream.Unit != UnitBytes {
		t.Errorf("%+v", r.Stream)
	}
	if f.rows("SELECT 'slots', count(*)::text FROM pg_replication_slots WHERE slot_name LIKE " +
		"'weir_etl_snapshot_%'")["slots"] != "0" {
		t.Error("the slot of the snapshot is still there")
	}
	// 17 MiB of somebody else's
	s, err := p.source.(logSource).dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.begin(t.Context(), []marks{r.Stream.To}, true); err != nil {
		t.Fatal(err)
	}
	f.exec("CREATE TABLE IF NOT EXISTS etl_others (x text)", "ALTER TABLE etl_others ALTER x SET STORAGE EXTERNAL",
		"INSERT INTO etl_others SELECT repeat('x', 100000) FROM generate_series(1, 200)", "DROP TABLE etl_others")
	for deadline := time.Now().Add(time.Minute); ; {
		b, err := s.batch(t.Context(), trigger{rows: 10, bytes: 1000, every: time.Second, idle: 100 * time.Millisecond})
		if err != nil || time.Now().After(deadline) {
			t.Fatal("nothing is due: ", err)
		}
		if b.due {
			if b.to.Next[0]-r.Stream.To.Next[0] < mostQuiet || b.changes != 0 {
				t.Errorf("%+v", b)
			}
			break
		}
	}
}

type away struct{ streamSink }

func (away) bring(context.Context, delivery) error { return errLost }

const changing = `{"name": "s", "mode": "stream", "source": {"type": "postgres", "host": "h", "database": "d", "user": "u",
	"table": "t", "slot": "s", "publication": "p", "truncate": "apply", "metadata": {"operation": "op", "position": "p", "number": "n",
		"committed": "c"}}, "steps": [], "sinks": [{"format": "csv", "url": "file://o", "object": "x"}]}`

func TestPostgresChanges_WhatThePipelineCannotIsNamed(t *testing.T) {
	right := changing
	for _, c := range [][3]string{
		{`"steps": []`, `"steps": [{"unnest": {"column": "a", "columns": [{"name": "b", "type": "text"}]}}]`, "/steps/0: unnest makes rows"},
		{`"operation": "op", `, ``, "/sinks/0: it keeps all changes, and none says what it is"},
		{`"table": "t"`, `"table": "t", "key": "id"`, "/source/key: a stream reads the changes of a whole table"},
		{`"slot": "s"`, `"slot": "A-b"`, "/source/slot: a slot has a name of small letters"},
		{`"operation": "op"`, `"operation": "p"`, "expected the name of a column, each once"},
		{`"mode": "stream", `, ``, "/source/metadata"},
	} {
		_, err := loaded(t, map[string]string{"p.json": strings.Replace(right, c[0], c[1], 1)})
		if err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s: %v", c[1], err)
		}
	}
	if _, err := loaded(t, map[string]string{"p.json": right}); err != nil {
		t.Error(err)
	}
}
