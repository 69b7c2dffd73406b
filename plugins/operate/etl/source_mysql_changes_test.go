package etl

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/require"
)

// tracked is a table of the test in a MariaDB, whose changes a stream follows.
type tracked struct {
	t      *testing.T
	db     *sql.DB
	fields string // of the server
	table  string
}

// track makes etl_sink.t, by its columns.
func track(t *testing.T, columns string) tracked {
	t.Helper()
	db, fields := mysqlDB(t)
	emptyDatabase(t, db)
	f := tracked{t, db, fields, "etl_sink.t"}
	f.exec("CREATE TABLE etl_sink.t (" + columns + ")")
	return f
}

func (f tracked) exec(statements ...string) {
	f.t.Helper()
	for _, one := range statements {
		onMySQL(f.t, f.db, one)
	}
}

// stream is a pipeline of its changes.
func (f tracked) stream(dir, more, rest string) *Pipeline {
	f.t.Helper()
	p, err := loaded(f.t, map[string]string{"p.json": fmt.Sprintf(`{"name": "c", "mode": "stream", "block": 50, "every": "10ms",
		"source": {%s, "table": %q%s}, %s}`, f.fields, f.table, more, strings.ReplaceAll(rest, "DIR", dir))})
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

func (f tracked) sink(more string) string {
	return "{" + strings.Replace(f.fields, `"type"`, `"format"`, 1) + `, "table": "etl_sink.merged"` + more + "}"
}

func (f tracked) rows(query string) map[string]string {
	f.t.Helper()
	rows, err := f.db.QueryContext(f.t.Context(), query)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
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

// fails says that the stream ends for good, and why.
func fails(t *testing.T, p *Pipeline, o Options, says string) {
	t.Helper()
	if _, err := p.Stream(t.Context(), untilEnd(o)); !Final(err) || !strings.Contains(err.Error(), says) {
		t.Errorf("%v, want %s", err, says)
	}
}

// work writes to the table until it is told to stop: transactions of several changes,
// some of which are rolled back, whole or in part.
func (f tracked) work(db *sql.DB, chance *rand.Rand, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		all := "START TRANSACTION;"
		for range 1 + chance.IntN(6) {
			id, v := chance.IntN(60), chance.IntN(1e6)
			switch chance.IntN(6) {
			case 0:
				all += fmt.Sprintf("DELETE FROM etl_sink.t WHERE id = %d;", id)
			case 1:
				all += fmt.Sprintf("DELETE FROM etl_sink.t WHERE id = %d; UPDATE etl_sink.t SET id = %[1]d WHERE id = %d;", id,
					(id+7)%60)
			case 2:
				all += fmt.Sprintf("UPDATE etl_sink.t SET v = 'u%d' WHERE id = %d;", v, id)
			case 3:
				all += fmt.Sprintf("SAVEPOINT s; UPDATE etl_sink.t SET v = 'never'; ROLLBACK TO s; REPLACE INTO etl_sink.t "+
					"VALUES (%d, 'r%d');", id, v)
			default:
				all += fmt.Sprintf("INSERT INTO etl_sink.t VALUES (%d, 'i%d') ON DUPLICATE KEY UPDATE v = VALUES(v);", id, v)
			}
		}
		if chance.IntN(4) == 0 {
			all += "ROLLBACK;"
		} else {
			all += "COMMIT;"
		}
		if _, err := db.ExecContext(context.Background(), all); err != nil && !strings.Contains(err.Error(), "1213") &&
			!strings.Contains(err.Error(), "1020") {
			return err
		} else if err != nil { // a deadlock
			_, _ = db.ExecContext(context.Background(), "ROLLBACK")
		}
		time.Sleep(time.Duration(chance.IntN(4)) * time.Millisecond)
	}
}

// A snapshot and what comes behind it, beside writers, with answers that are lost: each
// sink has every change once, and what is merged is what the table is.
func TestMySQLChanges_TheTableAsItIsWhateverIsLost(t *testing.T) {
	for _, compress := range []string{"OFF", "ON"} {
		t.Run("compressed "+compress, func(t *testing.T) {
			f := track(t, "id bigint PRIMARY KEY, v text")
			f.exec("INSERT INTO etl_sink.t SELECT seq, concat('s', seq) FROM seq_0_to_59",
				"SET GLOBAL log_bin_compress_min_len = 10; SET GLOBAL log_bin_compress = "+compress)
			t.Cleanup(func() { _, _ = f.db.ExecContext(context.Background(), "SET GLOBAL log_bin_compress = OFF") })
			dir, o := t.TempDir(), options(t)
			p := f.stream(dir, allFacts, `"sinks": [{"format": "ndjson", "url": "file://DIR", "object": "all"},
				{"format": "delta", "url": "file://DIR", "table": "t", "mode": "merge", "key": ["id"]},
				`+f.sink(`, "mode": "merge", "key": ["id"]`)+`]`)
			stop, done := make(chan struct{}), make(chan error, 2)
			seed := uint64(time.Now().UnixNano())
			for n := range 2 {
				db, _ := mysqlDB(t)
				go func() { done <- f.work(db, rand.New(rand.NewPCG(seed, uint64(n))), stop) }()
			}
			chance := rand.New(rand.NewPCG(seed, 9))
			for range 8 {
				o.wrap = func(s streamSink) streamSink { return unsure{s, chance} }
				if _, err := p.Stream(t.Context(), untilEnd(o)); err != nil && !strings.Contains(err.Error(), errLost.Error()) {
					t.Fatal(err)
				}
				f.exec("FLUSH BINARY LOGS")
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
			want := f.rows("SELECT id, v FROM etl_sink.t")
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
			if got := f.rows("SELECT id, v FROM etl_sink.merged"); !maps.Equal(got, want) {
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
func TestMySQLChanges_ASinkThatIsAddedGetsASnapshot(t *testing.T) {
	f := track(t, "id bigint PRIMARY KEY, v text")
	f.exec("INSERT INTO etl_sink.t VALUES (1, 'a'), (2, 'b')")
	dir, o := t.TempDir(), options(t)
	streams(t, f.stream(dir, allFacts, toFolder), o)
	f.exec("INSERT INTO etl_sink.t VALUES (3, 'c')", "DELETE FROM etl_sink.t WHERE id = 1")
	p := f.stream(dir, allFacts, strings.Replace(toFolder, "]", `, {"format": "ndjson", "url": "file://DIR", "object": "late"}]`, 1))
	streams(t, p, o)
	f.exec("UPDATE etl_sink.t SET v = 'd' WHERE id = 2", "UPDATE etl_sink.t SET id = 9 WHERE id = 3")
	r := streams(t, p, o)
	ops := func(folder string) (all string) {
		for _, one := range foundIn(t, dir, folder) {
			all += fmt.Sprint(one["op"], " ", one["id"], "; ")
		}
		return all
	}
	if got := ops("all"); got != "snapshot 1; snapshot 2; insert 3; delete 1; update 2; delete 3; insert 9; " {
		t.Error(got)
	}
	if got := ops("late"); got != "snapshot 2; snapshot 3; update 2; delete 3; insert 9; " {
		t.Error(got)
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 || r.Stream.Unit != UnitBytes ||
		r.Stream.Lag[0] != 0 {
		t.Error(findings, err, r.Stream)
	}
}

// Where a server does not say at which place a snapshot is, the table is locked while
// it is asked; a writer is not in both, and not in none.
func TestMySQLChanges_ASnapshotBehindALock(t *testing.T) {
	f := track(t, "id bigint PRIMARY KEY, v text")
	f.exec("INSERT INTO etl_sink.t VALUES (1, 'a')")
	dir := t.TempDir()
	p := f.stream(dir, "", toFolderMerged(f))
	in, err := p.source.(logSource).dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	s := in.(*mysqlStream)
	open, err := f.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.ExecContext(t.Context(), "INSERT INTO etl_sink.t VALUES (2, 'b')"); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(300 * time.Millisecond)
		_ = open.Commit()
	}()
	s.maria = false
	rows, at, err := s.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer rows.close()
	f.exec("INSERT INTO etl_sink.t VALUES (3, 'c')")
	var got []string
	for {
		r, _, err := rows.next()
		if err != nil {
			break
		}
		got = append(got, r[0].text)
	}
	s.maria = true
	if err := s.begin(t.Context(), []marks{at}, false); err != nil {
		t.Fatal(err)
	}
	b, err := s.batch(t.Context(), trigger{rows: 1, bytes: 1000, every: time.Second, idle: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	_ = b.each(func(c change) error { got = append(got, c.row[0].text); return nil })
	if want := []string{"1", "2", "3"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func toFolderMerged(f tracked) string {
	return `"sinks": [` + f.sink(`, "mode": "merge", "key": ["id"]`) + `]`
}

// Every type comes by a change as it comes by a snapshot, and a query.
func TestMySQLChanges_TypesAreThoseOfTheSnapshot(t *testing.T) {
	db, fields := mysqlDB(t)
	emptyDatabase(t, db)
	onMySQL(t, db, "SET sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'; "+mysqlTypes+`;
		ALTER TABLE etl_sink.types ADD latins enum('é', '€') CHARACTER SET latin1, ADD pairs set('é', 'x') CHARACTER SET latin1,
			ADD raw4 binary(4), ADD tail varbinary(4), ADD wide char(200), ADD blobs tinyblob, ADD ats timestamp(3) NULL,
			ADD locals datetime(1), ADD stored int AS (i16 + 1) STORED;
		UPDATE etl_sink.types SET latins = '€', pairs = 'é,x', raw4 = x'01000000', tail = x'0100', wide = repeat('é', 200),
			blobs = x'00', ats = '2026-01-02 03:04:05.120', locals = '2026-01-02 03:04:05.1' WHERE id > 0;
		UPDATE etl_sink.types SET latins = 'é', pairs = '', raw4 = '', tail = '', wide = '', blobs = '',
			u = '6ba7b810-9dad-11d1-80b4-00c04fd430c8' WHERE id < 0;
		CREATE TABLE etl_sink.t LIKE etl_sink.types`)
	f := tracked{t, db, fields, "etl_sink.t"}
	const copying = `INSERT INTO etl_sink.t SELECT * FROM etl_sink.types`
	insert := strings.Replace(copying, "*", oneOfMySQL(t, db, `SELECT GROUP_CONCAT('"', COLUMN_NAME, '"') FROM
		information_schema.COLUMNS WHERE TABLE_SCHEMA = 'etl_sink' AND TABLE_NAME = 't' AND EXTRA NOT LIKE '%GENERATED%'`), 1)
	insert = strings.Replace(insert, "etl_sink.t ", "etl_sink.t ("+strings.Split(strings.Split(insert, "SELECT ")[1],
		" FROM")[0]+") ", 1)
	f.exec(insert)
	dir, o := t.TempDir(), options(t)
	p := f.stream(dir, `, "metadata": {"operation": "op"}`, toFolder)
	streams(t, p, o)
	f.exec("DELETE FROM etl_sink.t", insert)
	streams(t, p, o)
	of := map[string]map[string]string{}
	for _, one := range foundIn(t, dir, "all") {
		op := fmt.Sprint(one["op"])
		delete(one, "op")
		if of[op] == nil {
			of[op] = map[string]string{}
		}
		of[op][fmt.Sprint(one["id"])] = fmt.Sprint(one)
	}
	if len(of[operationSnapshot]) != 3 {
		t.Fatal(of)
	}
	for _, op := range []string{operationInsert, operationDelete} {
		for id, want := range of[operationSnapshot] {
			if got := of[op][id]; got != want {
				t.Errorf("by %s %s\nby the snapshot %s", op, got, want)
			}
		}
	}
}

// A member that an enum has since, a date that is none, and a value of all bits.
func TestMySQLChanges_ValuesAreThoseOfTheirTime(t *testing.T) {
	f := track(t, "id bigint PRIMARY KEY, mood enum('sad', 'ok'), day date, seen timestamp NULL")
	dir, o := t.TempDir(), options(t)
	rest := toFolder + `, "rejects": {"url": "file://DIR", "object": "no"}`
	p := f.stream(dir, allFacts+`, "zero_dates": "null", "on_failure": "reject"`, rest)
	streams(t, p, o)
	f.exec("SET sql_mode = 'ALLOW_INVALID_DATES'; INSERT INTO etl_sink.t VALUES (1, 'sad', '0000-00-00', '0000-00-00')",
		"INSERT INTO etl_sink.t VALUES (2, 'ok', '2026-02-31', NULL)", "SET sql_mode = ''",
		"INSERT INTO etl_sink.t VALUES (3, 'none', '2026-01-02', '2026-01-02 03:04:05')",
		"ALTER TABLE etl_sink.t MODIFY mood enum('new', 'sad', 'ok')", "INSERT INTO etl_sink.t VALUES (4, 'new', NULL, NULL)",
		"UPDATE etl_sink.t SET seen = NULL WHERE id = 3")
	r := streams(t, p, o)
	var got []string
	for _, one := range foundIn(t, dir, "all") {
		got = append(got, fmt.Sprintf("%v %v %q %v %v", one["op"], one["id"], one["mood"], one["day"], one["seen"]))
	}
	for i, want := range []string{`insert 1 "sad" <nil>`, `insert 3 "" 2026-01-02`, `insert 4 "new" <nil>`, `update 3 "" 2026-01-02`} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Errorf("%q, want %s", got, want)
		}
	}
	if r.Counts.Rejected != 1 || !strings.Contains(fmt.Sprint(foundIn(t, dir, "no")), `column "day": it is no date`) {
		t.Errorf("%+v %v", r.Counts, foundIn(t, dir, "no"))
	}
}

// The log comes over TLS from who the server says it is, and from nobody else; a
// connection that is lost is made again.
func TestMySQLChanges_OverTLSAndALostConnection(t *testing.T) {
	f := track(t, "id bigint PRIMARY KEY, v text")
	ca := require.Env(t, "WEIR_TEST_MYSQL_CA")
	plain := f.fields
	f.fields = strings.Replace(plain, `"sslmode": "disable"`, `"sslmode": "verify-full"`, 1)
	if _, err := f.stream(t.TempDir(), allFacts, toFolder).Stream(t.Context(), untilEnd(options(t))); err == nil {
		t.Error("a server was taken whose certificate nobody knows")
	}
	f.fields = strings.Replace(plain, `"sslmode": "disable"`, fmt.Sprintf(`"sslmode": "verify-full", "ca": %q`, ca), 1)
	dir, o := t.TempDir(), options(t)
	p := f.stream(dir, allFacts, toFolder)
	streams(t, p, o)
	f.exec("INSERT INTO etl_sink.t VALUES (1, 'a')")
	ctx, stop := context.WithCancel(t.Context())
	killed := false
	o.Pause, o.Watch = time.Millisecond, func(now Progress) {
		switch {
		case now.Counts.Read == 1 && !killed:
			killed = true
			for _, id := range strings.Fields(oneOfMySQL(t, f.db, "SELECT COALESCE(GROUP_CONCAT(ID SEPARATOR ' '), '') "+
				"FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'")) {
				f.exec("KILL " + id)
			}
			f.exec("INSERT INTO etl_sink.t VALUES (2, 'b')")
		case now.Counts.Read == 2:
			stop()
		}
	}
	r, err := p.Stream(ctx, o)
	if all := foundIn(t, dir, "all"); err != nil || r.Counts.Read != 2 || !killed || len(all) != 2 {
		t.Errorf("%v: %v", err, all)
	}
}
