package etl

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// followed is a table of the test that a stream follows, in the server of the tests.
type followed struct {
	t      *testing.T
	conn   *pgx.Conn
	fields string // of the server
	table  string
	slot   string
}

// follow makes a table, by its columns; the slot goes with the test.
func follow(t *testing.T, table, columns string) followed {
	t.Helper()
	conn, fields := server(t)
	f := followed{t, conn, fields, table, "weir_test_" + table}
	f.forget()
	exec1(t, conn, "DROP TABLE IF EXISTS "+table+", "+table+"_merged; DROP TYPE IF EXISTS etl_mood2; DROP DOMAIN IF "+
		"EXISTS etl_dom")
	exec1(t, conn, "CREATE TYPE etl_mood2 AS ENUM ('sad', 'ok'); CREATE DOMAIN etl_dom AS numeric(5,2)")
	exec1(t, conn, "CREATE TABLE "+table+" ("+columns+")")
	t.Cleanup(func() {
		f.forget()
		_, _ = conn.Exec(context.Background(), "DROP TABLE IF EXISTS "+table+", "+table+"_merged; DROP TYPE etl_mood2; "+
			"DROP DOMAIN etl_dom")
	})
	return f
}

func (f followed) forget() {
	ctx := context.Background()
	for range 50 { // the server may not know yet that who read it is gone
		if _, err := f.conn.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE "+
			"slot_name = $1",
			f.slot); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	_, _ = f.conn.Exec(ctx, "DROP PUBLICATION IF EXISTS "+f.slot)
}

func (f followed) exec(statements ...string) {
	f.t.Helper()
	for _, sql := range statements {
		exec1(f.t, f.conn, sql)
	}
}

func (f followed) source(more string) string {
	return fmt.Sprintf(`{%s, "table": %q, "slot": %q, "publication": %q%s}`, f.fields, f.table, f.slot, f.slot, more)
}

const allFacts = `, "metadata": {"operation": "op", "position": "at", "number": "n", "committed": "committed"}`

// into is a pipeline of its changes.
func (f followed) into(dir, more, rest string) *Pipeline {
	f.t.Helper()
	p, err := loaded(f.t, map[string]string{"p.json": fmt.Sprintf(`{"name": "c", "mode": "stream", "block": 50, "every": "10ms",
		"source": %s, %s}`, f.source(more), strings.ReplaceAll(rest, "DIR", dir))})
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

func (f followed) sink(more string) string {
	return "{" + strings.Replace(f.fields, `"type"`, `"format"`, 1) + `, "table": "` + f.table + `_merged"` + more + "}"
}

const toFolder = `"sinks": [{"format": "ndjson", "url": "file://DIR", "object": "all"}]`

// foundIn are the rows of a folder, in their order.
func foundIn(t *testing.T, dir, folder string) (all []map[string]any) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, folder, "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	for _, name := range found {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			var one map[string]any
			if err := json.Unmarshal([]byte(line), &one); err != nil {
				t.Fatal(err)
			}
			all = append(all, one)
		}
	}
	return all
}

// folded are the last rows of each key, of changes.
func folded(all []map[string]any) map[string]string {
	out := map[string]string{}
	for _, one := range all {
		id := fmt.Sprint(one["id"])
		switch one["op"] {
		case operationDelete:
			delete(out, id)
		default:
			out[id] = fmt.Sprint(one["v"])
		}
	}
	return out
}

func (f followed) rows(sql string) map[string]string {
	f.t.Helper()
	rows, err := f.conn.Query(f.t.Context(), sql)
	if err != nil {
		f.t.Fatal(err)
	}
	out := map[string]string{}
	for rows.Next() {
		var id, v string
		if err := rows.Scan(&id, &v); err != nil {
			f.t.Fatal(err)
		}
		out[id] = v
	}
	if rows.Err() != nil {
		f.t.Fatal(rows.Err())
	}
	return out
}

// work writes to the table until it is told to stop: transactions of several changes,
// some of which are rolled back.
func (f followed) work(chance *rand.Rand, stop <-chan struct{}) error {
	conn, err := pgx.Connect(context.Background(), f.conn.Config().ConnString())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		sql := "BEGIN;"
		for range 1 + chance.IntN(6) {
			id, v := chance.IntN(60), chance.IntN(1e6)
			switch chance.IntN(5) {
			case 0:
				sql += fmt.Sprintf("DELETE FROM %s WHERE id = %d;", f.table, id)
			case 1:
				sql += fmt.Sprintf("DELETE FROM %s WHERE id = %d; UPDATE %s SET id = %d WHERE id = %d;", f.table, id, f.table, id,
					(id+7)%60)
			case 2:
				sql += fmt.Sprintf("UPDATE %s SET v = 'u%d' WHERE id = %d;", f.table, v, id)
			default:
				sql += fmt.Sprintf("INSERT INTO %s VALUES (%d, 'i%d') ON CONFLICT (id) DO UPDATE SET v = excluded.v;", f.table, id,
					v)
			}
		}
		if chance.IntN(4) == 0 {
			sql += "ROLLBACK;"
		} else {
			sql += "COMMIT;"
		}
		if _, err := conn.Exec(context.Background(), sql); err != nil && !strings.Contains(err.Error(), "40P01") &&
			!strings.Contains(err.Error(), "23505") {
			return err
		} else if err != nil { // a deadlock, or a key that is there
			_, _ = conn.Exec(context.Background(), "ROLLBACK")
		}
		time.Sleep(time.Duration(chance.IntN(4)) * time.Millisecond)
	}
}

// A snapshot and what comes behind it, beside writers, with answers that are lost: each
// sink has every change once, and what is merged is what the table is.
func TestPostgresChanges_TheTableAsItIsWhateverIsLost(t *testing.T) {
	for _, identity := range []string{"DEFAULT", "FULL"} {
		t.Run(identity, func(t *testing.T) {
			f := follow(t, "etl_changes", "id bigint PRIMARY KEY, v text")
			f.exec("ALTER TABLE etl_changes REPLICA IDENTITY "+identity,
				"INSERT INTO etl_changes SELECT i, 's' || i FROM generate_series(0, 59) i")
			dir, o := t.TempDir(), options(t)
			p := f.into(dir, allFacts, `"sinks": [{"format": "ndjson", "url": "file://DIR", "object": "all"},
				{"format": "delta", "url": "file://DIR", "table": "log", "mode": "append"},
				{"format": "delta", "url": "file://DIR", "table": "t", "mode": "merge", "key": ["id"]},
				`+f.sink(`, "mode": "merge", "key": ["id"]`)+`]`)
			stop, done := make(chan struct{}), make(chan error, 2)
			seed := uint64(time.Now().UnixNano())
			for n := range 2 {
				go func() { done <- f.work(rand.New(rand.NewPCG(seed, uint64(n))), stop) }()
			}
			chance := rand.New(rand.NewPCG(seed, 9))
			for range 8 {
				o.wrap = func(s streamSink) streamSink { return unsure{s, chance} }
				if _, err := p.Stream(t.Context(), untilEnd(o)); err != nil && !strings.Contains(err.Error(), errLost.Error()) {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond)
			}
			close(stop)
			for range 2 {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			o.wrap = nil
			r := streams(t, p, o)
			if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 || r.Counts.unexplained() != 0 {
				t.Error(findings, err, r.Counts)
			}
			want := f.rows("SELECT id::text, v FROM etl_changes")
			changes := foundIn(t, dir, "all")
			if got := folded(changes); !maps.Equal(got, want) {
				t.Errorf("the changes make up %v\nwant %v", got, want)
			}
			seen := map[string]bool{}
			for _, one := range changes {
				place := fmt.Sprint(one["at"], one["n"])
				if seen[place] {
					t.Errorf("%v came twice", one)
				}
				seen[place] = true
			}
			log := rowsOfDelta(t, dir, "log") // of another snapshot than the folder
			slices.SortStableFunc(log, func(a, b row) int { return strings.Compare(a[3].text, b[3].text) })
			var logged []map[string]any
			for _, r := range log {
				logged = append(logged, map[string]any{"id": r[0].text, "v": r[1].text, "op": r[2].text})
			}
			if got := folded(logged); !maps.Equal(got, want) {
				t.Errorf("the log of Delta Lake makes up %v\nwant %v", got, want)
			}
			if got := f.rows("SELECT id::text, v FROM etl_changes_merged"); !maps.Equal(got, want) {
				t.Errorf("the table has %v\nwant %v", got, want)
			}
			got := map[string]string{}
			for _, r := range rowsOfDelta(t, dir, "t") {
				got[r[0].text] = r[1].text
			}
			if !maps.Equal(got, want) {
				t.Errorf("the table of Delta Lake has %v\nwant %v", got, want)
			}
		})
	}
}

// A sink that is added gets the rows as they are by then, and what comes behind them;
// the others nothing twice.
func TestPostgresChanges_ASinkThatIsAddedGetsASnapshot(t *testing.T) {
	f := follow(t, "etl_late", "id bigint PRIMARY KEY, v text")
	f.exec("INSERT INTO etl_late VALUES (1, 'a'), (2, 'b')")
	dir, o := t.TempDir(), options(t)
	streams(t, f.into(dir, allFacts, toFolder), o)
	f.exec("INSERT INTO etl_late VALUES (3, 'c')", "DELETE FROM etl_late WHERE id = 1")
	p := f.into(dir, allFacts, strings.Replace(toFolder, "]", `, {"format": "ndjson", "url": "file://DIR", "object": "late"}]`, 1))
	streams(t, p, o)
	f.exec("UPDATE etl_late SET v = 'd' WHERE id = 2")
	r := streams(t, p, o)
	ops := func(folder string) (all string) {
		for _, one := range foundIn(t, dir, folder) {
			all += fmt.Sprint(one["op"], " ", one["id"], "; ")
		}
		return all
	}
	if got := ops("all"); got != "snapshot 1; snapshot 2; insert 3; delete 1; update 2; " {
		t.Error(got)
	}
	if got := ops("late"); got != "snapshot 2; snapshot 3; update 2; " {
		t.Error(got)
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 || r.Counts.Read != 5 {
		t.Error(findings, err, r.Counts)
	}
}

// Every type comes by a change as it comes by a snapshot.
func TestPostgresChanges_TypesAreThoseOfTheSnapshot(t *testing.T) {
	f := follow(t, "etl_kinds", `id bigint PRIMARY KEY, "a.b" smallint, "é" int, "Select" real, d double precision,
		n numeric(38,10), small numeric(4,1), x text, c char(3), raw bytea, day date, local timestamp, at2 timestamptz,
		u uuid, j jsonb, ok boolean, mood etl_mood2, made int GENERATED ALWAYS AS (1) STORED, dom etl_dom`)
	insert := func(base int) string {
		return fmt.Sprintf(`INSERT INTO etl_kinds VALUES
		(%d, 32767, -2147483648, 0.1, 0.1, 1234567890123456789012345678.0123456789, -999.9, 'é "q", ', 'ab',
			'\x00ff', '2026-02-28', '2026-01-02 03:04:05.000001', '2026-01-02 03:04:05+05:30',
			'0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f', '{"a": [1.10, null]}', true, 'sad', DEFAULT, 1.5),
		(%d, -32768, 2147483647, 1e38, 5e-324, -1234567890123456789012345678.0123456789, 0, '', '', '',
			'0001-01-01', '9999-12-31 23:59:59.999999', '1969-12-31 23:59:59.5Z', '00000000-0000-0000-0000-000000000000',
			'""', false, 'ok', DEFAULT, NULL),
		(%d, NULL, NULL, 'NaN', '-Infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, DEFAULT, NULL)`,
			base, base+1, base+2)
	}
	f.exec(insert(1))
	dir, o := t.TempDir(), options(t)
	p := f.into(dir, `, "metadata": {"operation": "op"}`, toFolder)
	streams(t, p, o)
	f.exec(insert(11))
	streams(t, p, o)
	f.exec("DELETE FROM etl_kinds WHERE id > 11", "UPDATE etl_kinds SET id = id + 20 WHERE id < 10")
	streams(t, p, o)
	all := foundIn(t, dir, "all")
	if len(all) < 6 {
		t.Fatal(all)
	}
	for i := range 3 {
		for _, one := range all {
			if one["op"] == operationInsert && (fmt.Sprint(one["id"]) == fmt.Sprint(i+11) ||
				fmt.Sprint(one["id"]) == fmt.Sprint(i+21)) {
				one, snap := maps.Clone(one), maps.Clone(all[i])
				delete(one, "id")
				delete(snap, "id")
				delete(one, "op")
				delete(snap, "op")
				if got, want := fmt.Sprint(one), fmt.Sprint(snap); got != want {
					t.Errorf("by a change %s\nby the snapshot %s", got, want)
				}
			}
		}
	}
	if len(all) != 3+3+2+6 {
		t.Errorf("%d rows: %v", len(all), all)
	}
}
