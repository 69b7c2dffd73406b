package etl

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"weir/tests/integration/require"
)

// testTables is a database of the tests in which etl_sink is empty.
type testTables struct {
	t      *testing.T
	format string
	fields string // of a sink
	exec   func(sql string)
	one    func(sql string) string
	all    string // rows of etl_sink.t as a text
	begin  string // a snapshot
	drop   string // t_x_idx
}

// mysqlDB is the MariaDB of the tests, and the fields of a source that is there.
func mysqlDB(t *testing.T) (db *sql.DB, fields string) {
	t.Helper()
	u, err := url.Parse(require.Env(t, "WEIR_TEST_MYSQL_URL"))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	conf := mysql.NewConfig()
	conf.User, conf.Passwd, conf.Net, conf.Addr, conf.DBName = u.User.Username(), password, "tcp", u.Host, u.Path[1:]
	conf.MultiStatements, conf.Params = true, map[string]string{"time_zone": "'+00:00'"}
	connector, err := mysql.NewConnector(conf)
	if err != nil {
		t.Fatal(err)
	}
	db = sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	kept := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(kept, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	return db, fmt.Sprintf(`"type": "mysql", "host": %q, "port": %s, "database": %q, "sslmode": "disable", "user": %q,
		"password": {"$file": %q}`, u.Hostname(), u.Port(), conf.DBName, conf.User, kept)
}

func onMySQL(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func oneOfMySQL(t *testing.T, db *sql.DB, query string) (text string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT CAST(("+query+") AS CHAR)").Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

// emptyDatabase is etl_sink, which is gone after the test.
func emptyDatabase(t *testing.T, db *sql.DB) {
	t.Helper()
	onMySQL(t, db, "DROP DATABASE IF EXISTS etl_sink; CREATE DATABASE etl_sink CHARACTER SET utf8mb4")
	t.Cleanup(func() { _, _ = db.ExecContext(context.Background(), "DROP DATABASE IF EXISTS etl_sink") })
}

// onEach runs a test on each kind of server.
func onEach(t *testing.T, do func(*testing.T, testTables)) {
	t.Helper()
	t.Run(postgresFormat, func(t *testing.T) {
		conn, fields := server(t)
		emptySchema(t, conn)
		do(t, testTables{t, postgresFormat, strings.Replace(fields, `"type"`, `"format"`, 1), func(sql string) { t.Helper(); exec1(t, conn, sql) },
			func(sql string) string { t.Helper(); return one(t, conn, sql) },
			"SELECT string_agg(id || '=' || x, ' ' ORDER BY id) FROM etl_sink.t", "BEGIN ISOLATION LEVEL REPEATABLE READ",
			"DROP INDEX etl_sink.t_x_idx"})
	})
	t.Run(mysqlFormat, func(t *testing.T) {
		db, fields := mysqlDB(t)
		emptyDatabase(t, db)
		do(t, testTables{t, mysqlFormat, strings.Replace(fields, `"type"`, `"format"`, 1), func(sql string) { t.Helper(); onMySQL(t, db, sql) },
			func(sql string) string { t.Helper(); return oneOfMySQL(t, db, sql) },
			"SELECT GROUP_CONCAT(id, '=', x ORDER BY id SEPARATOR ' ') FROM etl_sink.t",
			"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION",
			"DROP INDEX t_x_idx ON etl_sink.t"})
	})
}

func (d testTables) tabled(name, more string, rows []row) *Pipeline {
	return tabled(d.t, d.fields, name, more, rows)
}

// tabled is a pipeline of some rows into a table of the test, which is not there yet.
func tabled(t *testing.T, fields, name, more string, rows []row) *Pipeline {
	t.Helper()
	fields = strings.Replace(fields, `"type"`, `"format"`, 1)
	p, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": %q, "block": 3, "source": {"type": "csv",
		"path": "x", "columns": [{"name": "id", "type": "int32"}, {"name": "x", "type": "text"}]},
		"sinks": [{%s, "table": "etl_sink.t", %s}]}`, name, fields, more)})
	if err != nil {
		t.Fatal(err)
	}
	p.source = mockSource{p.columns, rows}
	return p
}

func numberedRows(from, to int) (all []row) {
	for i := from; i <= to; i++ {
		all = append(all, row{{text: strconv.Itoa(i)}, {text: "row " + strconv.Itoa(i)}})
	}
	return all
}

func runs(t *testing.T, p *Pipeline, o Options) *Report {
	t.Helper()
	r, err := p.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Fatalf("audit: %v, %v", findings, err)
	}
	return r
}

// What a run brings comes once: whether its answer is lost, or it dies, or runs twice.
func TestTable_ARunComesOnce(t *testing.T) {
	onEach(t, func(t *testing.T, d testTables) {
		o := options(t)
		p := d.tabled("p", `"mode": "append"`, numberedRows(1, 8))
		s := o.stage(p.Name)
		release, err := s.lock()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.claimAll(t.Context(), o, s); err != nil {
			t.Fatal(err)
		}
		columns, at, err := p.stageRows(t.Context(), o, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		id, err := s.identity()
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 { // one that dies behind its last block, then one whose answer is lost, and the one after it
			if n == 0 {
				at.Blocks++
			}
			sink, err := p.sinks[0].table.load(t.Context(), p, s, at, columns, id)
			if n == 0 {
				at.Blocks--
			}
			if (err == nil) != (n > 0) || n > 0 && sink.Rows != 8 {
				t.Fatalf("%d: %+v, %v", n, sink, err)
			}
			if n == 0 {
				there := d.one("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'etl_sink' " +
					"AND table_name = 't'")
				if there != "0" && (d.format == postgresFormat || d.one("SELECT count(*) FROM etl_sink.t") != "0") {
					t.Error("half a run has come")
				}
			}
		}
		release()
		r := runs(t, p, o) // goes on, and finds that it has come
		if got := d.one("SELECT count(*) FROM etl_sink.t"); got != "8" || r.Sinks[0].Rows != 8 {
			t.Errorf("%s rows, %+v", got, r.Sinks)
		}
		runs(t, p, o) // another run appends again
		if got := d.one("SELECT count(*) FROM etl_sink.t"); got != "16" {
			t.Errorf("%s rows", got)
		}
		d.exec("DELETE FROM etl_sink._weir_etl_loads")
		if findings, err := p.Audit(t.Context(), r); err != nil ||
			!strings.Contains(fmt.Sprint(findings), "no note of this run") {
			t.Errorf("%v, %v", findings, err)
		}
	})
}

// Merged rows take the place of those with their key, and no other.
func TestTable_MergesByItsKey(t *testing.T) {
	onEach(t, func(t *testing.T, d testTables) {
		o := options(t)
		const merge = `"mode": "merge", "key": ["id"]`
		runs(t, d.tabled("p", merge, numberedRows(1, 4)), o)
		changed := []row{{{text: "3"}, {text: "new"}}, {{text: "5"}, {null: true}}}
		runs(t, d.tabled("p", merge, changed), o)
		if got := d.one(d.all + " WHERE x IS NOT NULL"); got != "1=row 1 2=row 2 3=new 4=row 4" {
			t.Error(got)
		}
		for says, rows := range map[string][]row{
			"two rows of the run have the same id: dedupe": append(numberedRows(9, 9), numberedRows(9, 9)...),
			`column "id" is null in a row: it has no key`:  {{{null: true}, {text: "x"}}},
		} {
			o.Fresh = true // what the one before has read is kept
			if _, err := d.tabled("p", merge, rows).Run(t.Context(), o); !Final(err) ||
				!strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--fresh") {
				t.Errorf("%v, want %s", err, says)
			}
		}
		d.exec("CREATE UNIQUE INDEX t_x_idx ON etl_sink.t (x)") // which takes nulls again and again
		if _, err := d.tabled("p", `"mode": "merge", "key": ["x"]`, changed[1:]).Run(t.Context(),
			o); !Final(err) || !strings.Contains(err.Error(), `column "x" is null in a row`) {
			t.Error(err)
		}
		d.exec(d.drop)
		if _, err := d.tabled("p", `"mode": "merge", "key": ["x"]`, changed[:1]).Run(t.Context(), o); !Final(err) ||
			!strings.Contains(err.Error(), "no unique index of exactly x") {
			t.Error(err)
		}
		if got := d.one("SELECT count(*) FROM etl_sink.t"); got != "5" {
			t.Error(got)
		}
	})
}

// A table that is replaced has one pipeline, and readers see all of a run or what
// was before; several may append, each from one place.
func TestTable_HasOnePipelineThatReplaces(t *testing.T) {
	onEach(t, func(t *testing.T, d testTables) {
		replace := func(name string, rows []row) *Pipeline {
			return d.tabled(name, `"mode": "replace"`, rows)
		}
		appends := func(name string) *Pipeline {
			return d.tabled(name, `"mode": "append"`, numberedRows(1, 1))
		}
		o := options(t)
		runs(t, replace("a", numberedRows(1, 5)), o)
		d.exec(d.begin)
		if n := d.one("SELECT count(*) FROM etl_sink.t"); n != "5" {
			t.Error(n)
		}
		runs(t, replace("a", numberedRows(7, 8)), o)
		if n := d.one("SELECT count(*) FROM etl_sink.t"); n != "5" {
			t.Errorf("a reader's snapshot has %s rows", n)
		}
		d.exec("COMMIT")
		if got := d.one(d.all); got != "7=row 7 8=row 8" {
			t.Error(got)
		}
		for _, other := range []*Pipeline{replace("b", numberedRows(1, 1)), appends("b")} {
			if _, err := other.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(),
				"claiming sink etl_sink.t as "+d.format+": pipeline a writes it: name another table") {
				t.Error(err)
			}
		}
		o.TakeOver = true
		runs(t, appends("b"), o)
		runs(t, appends("c"), options(t))
		if got := d.one(d.all); got != "1=row 1 1=row 1 7=row 7 8=row 8" {
			t.Error(got)
		}

		// one that is taken over, on its way, writes nothing
		first, state := appends("b"), options(t)
		stuckAt := stuck{first.source, make(chan struct{}), make(chan struct{})}
		first.source = stuckAt
		ended := make(chan error, 1)
		go func() {
			_, err := first.Run(context.Background(), state)
			ended <- err
		}()
		<-stuckAt.reached
		elsewhere := options(t)
		if _, err := appends("b").Run(t.Context(), elsewhere); !Final(err) ||
			!strings.Contains(err.Error(), "is not at its end") {
			t.Errorf("beside one that runs: %v", err)
		}
		elsewhere.TakeOver = true
		runs(t, appends("b"), elsewhere)
		close(stuckAt.on)
		if err := <-ended; !Final(err) || !strings.Contains(err.Error(), "taken over") {
			t.Errorf("the one that was taken over: %v", err)
		}
		if n := d.one("SELECT count(*) FROM etl_sink.t"); n != "5" {
			t.Error(n)
		}
	})
}

// What an interrupted run has appended is not appended again by another pipeline of
// its name: that is refused, or said.
func TestTable_AppendedRowsComeAgainOnlyWhenAskedFor(t *testing.T) {
	onEach(t, func(t *testing.T, d testTables) {
		of := func(rows []row, more string) *Pipeline {
			p := d.tabled("p", `"mode": "append"`, rows)
			p.text = append(p.text, more...)
			return p
		}
		p, o := of(numberedRows(1, 3), ""), options(t)
		s := o.stage(p.Name)
		release, err := s.lock()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.claimAll(t.Context(), o, s); err != nil {
			t.Fatal(err)
		}
		columns, at, err := p.stageRows(t.Context(), o, s, nil)
		if err == nil {
			err = p.loadSinks(t.Context(), o, s, at, columns)
		}
		if err != nil {
			t.Fatal(err)
		}
		release() // and the process died before the report
		changed := of(numberedRows(1, 3), " ")
		if _, err := changed.Run(t.Context(), o); !Final(err) || !strings.Contains(err.Error(), "appended to etl_sink.t") {
			t.Error(err)
		}
		if n := d.one("SELECT count(*) FROM etl_sink.t"); n != "3" {
			t.Error(n)
		}
		said := ""
		o.Fresh, o.Tell = true, func(line string) { said += line }
		if _, err := changed.Run(t.Context(), o); err != nil || !strings.Contains(said, "come there a second time") {
			t.Errorf("%v: %s", err, said)
		}
	})
}
