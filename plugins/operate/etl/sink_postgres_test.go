package etl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// tabled is a pipeline of some rows into a table of the test, which is not there yet.
func tabled(t *testing.T, conn *pgx.Conn, fields, name, more string, rows []row) *Pipeline {
	t.Helper()
	fields = strings.Replace(fields, `"type": "postgres"`, `"format": "postgres"`, 1)
	p, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": %q, "block": 3, "source": {"type": "csv",
		"path": "x", "columns": [{"name": "id", "type": "int32"}, {"name": "x", "type": "text"}]},
		"sinks": [{%s, "table": "etl_sink.t", %s}]}`, name, fields, more)})
	if err != nil {
		t.Fatal(err)
	}
	p.source = mockSource{p.columns, rows}
	return p
}

func emptySchema(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	exec1(t, conn, `DROP SCHEMA IF EXISTS etl_sink CASCADE; CREATE SCHEMA etl_sink`)
	t.Cleanup(func() { _, _ = conn.Exec(context.Background(), `DROP SCHEMA IF EXISTS etl_sink CASCADE`) })
}

func numberedRows(from, to int) (all []row) {
	for i := from; i <= to; i++ {
		all = append(all, row{{text: strconv.Itoa(i)}, {text: "row " + strconv.Itoa(i)}})
	}
	return all
}

func one(t *testing.T, conn *pgx.Conn, sql string) (text string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT ("+sql+")::text").Scan(&text); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

const rowsOfSink = "SELECT string_agg(id || '=' || x, ' ' ORDER BY id) FROM etl_sink.t"

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

// From one table to another that is made for it, every type with its border values,
// and any text, is what it was: the server compares.
func TestTable_EveryTypeIsExact(t *testing.T) {
	conn, fields := server(t)
	emptySchema(t, conn)
	exec1(t, conn, `CREATE TABLE etl_sink.from (id bigint PRIMARY KEY, "a.b" smallint, "é" int, "Select" real, d double precision,
		n numeric(38,10), x text, raw bytea, day date, local timestamp, at timestamptz, u uuid, j json, ok boolean)`)
	exec1(t, conn, `INSERT INTO etl_sink.from VALUES
		(9223372036854775807, 32767, -2147483648, 0.1, 0.1, 1234567890123456789012345678.0123456789, 'é "q", \N', '\x00ff0a09',
			'2026-02-28', '2026-01-02 03:04:05.000001', '2026-01-02 03:04:05+05:30', '0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f',
			'{"a":  [1.10, null], "a": 1}', true),
		(-9223372036854775808, -32768, 2147483647, 'NaN', '-Infinity', -0.0000000001, '', '', '0001-01-01',
			'9999-12-31 23:59:59.999999', '1969-12-31 23:59:59.5Z', '00000000-0000-0000-0000-000000000000', '""', false)`)
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"\\", "\t", "\n", "\r", "N", ".", "é", "😀", "\x01", "\x7f", "'", "\"", "\\.", "\\N", ""}
	for i := range 200 {
		text := ""
		for range random.IntN(6) {
			text += alphabet[random.IntN(len(alphabet))]
		}
		if _, err := conn.Exec(t.Context(), "INSERT INTO etl_sink.from (id, x) VALUES ($1, $2)", i, text); err != nil {
			t.Fatal(err)
		}
	}
	p, err := loaded(t, map[string]string{"p.json": `{"name": "pg", "block": 7, "source": {` + fields + `,
		"table": "etl_sink.from", "key": "id"}, "sinks": [{` + strings.Replace(fields, "type", "format", 1) + `,
		"table": "etl_sink.t"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	for range 2 { // run again, it is the same
		runs(t, p, o)
		for _, difference := range []string{
			`SELECT count(*) FROM (SELECT (a.*)::text FROM etl_sink.from AS a
				EXCEPT ALL SELECT (b.*)::text FROM etl_sink.t AS b) AS x`,
			`SELECT count(*) FROM (SELECT (b.*)::text FROM etl_sink.t AS b
				EXCEPT ALL SELECT (a.*)::text FROM etl_sink.from AS a) AS x`,
			`SELECT count(*) FROM ((SELECT column_name, data_type, numeric_precision, numeric_scale FROM information_schema.columns
				WHERE table_schema = 'etl_sink' AND table_name = 'from') EXCEPT (SELECT column_name, data_type, numeric_precision,
				numeric_scale FROM information_schema.columns WHERE table_schema = 'etl_sink' AND table_name = 't')) AS x`} {
			if n := one(t, conn, difference); n != "0" {
				t.Errorf("%s: %s", difference, n)
			}
		}
	}
	r, err := p.ReadReport(o.State, "")
	if err != nil {
		t.Fatal(err)
	}
	for change, says := range map[string]string{
		`UPDATE etl_sink.t SET x = x || ' ' WHERE id = 7`: "[etl_sink.t holds other rows than the run wrote]",
		`UPDATE etl_sink.t SET x = trim(x) WHERE id = 7;
			UPDATE etl_sink.t SET d = 0.1 WHERE d = '-Infinity'`: "[etl_sink.t holds other rows than the run wrote]",
	} {
		exec1(t, conn, change)
		if findings, err := p.Audit(t.Context(), r); err != nil || fmt.Sprint(findings) != says {
			t.Errorf("%s: %v, %v", change, findings, err)
		}
	}
}

// A table that would round, cut or lack something is refused by the column, and
// stays as it was.
func TestTable_WhatItDoesNotHoldIsRefusedByName(t *testing.T) {
	conn, fields := server(t)
	long := []row{{{text: "1"}, {text: "long"}}}
	for table, says := range map[string]string{
		"id int, x text, more int":                   "",
		"id bigint, x varchar(4)":                    "",
		"id smallint, x text":                        `column "id": table etl_sink.t has it as a type that does not hold every int32: integer does`,
		"id real, x text":                            `column "id"`,
		"id int, x varchar(3)":                       `column "x": a text is longer than the 3 characters that the table takes`,
		"id int, x char(9)":                          `column "x"`,
		"id int":                                     `column "x": table etl_sink.t has none of that name`,
		"id int, x text, more int NOT NULL":          `null value in column "more"`,
		"id int, x text CHECK (length(x) < 3)":       "SQLSTATE 23514",
		"id int, x text REFERENCES etl_sink.of (id)": "SQLSTATE 23503",
	} {
		emptySchema(t, conn)
		exec1(t, conn, "CREATE TABLE etl_sink.of (id text PRIMARY KEY); CREATE TABLE etl_sink.t ("+table+")")
		_, err := tabled(t, conn, fields, "p", `"mode": "append"`, long).Run(t.Context(), options(t))
		if says == "" && err != nil || says != "" && (!Final(err) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v", table, err)
		}
		if n := one(t, conn, "SELECT count(*) FROM etl_sink.t"); n != map[bool]string{true: "1", false: "0"}[says == ""] {
			t.Errorf("%s: it has %s rows", table, n)
		}
	}
	for what, rows := range map[string][]row{"zero byte": {{{text: "1"}, {text: "a\x00b"}}}} {
		emptySchema(t, conn)
		_, err := tabled(t, conn, fields, "p", `"mode": "append"`, rows).Run(t.Context(), options(t))
		if !Final(err) || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), `column "x"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What a run brings comes once: whether its answer is lost, or it dies, or runs twice.
func TestTable_ARunComesOnce(t *testing.T) {
	conn, fields := server(t)
	emptySchema(t, conn)
	o := options(t)
	p := tabled(t, conn, fields, "p", `"mode": "append"`, numberedRows(1, 8))
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
			if there := one(t, conn, "SELECT to_regclass('etl_sink.t') IS NOT NULL"); there != "false" {
				t.Error("half a run has made the table")
			}
		}
	}
	release()
	r := runs(t, p, o) // goes on, and finds that it has come
	if got := one(t, conn, "SELECT count(*) FROM etl_sink.t"); got != "8" || r.Sinks[0].Rows != 8 {
		t.Errorf("%s rows, %+v", got, r.Sinks)
	}
	runs(t, p, o) // another run appends again
	if got := one(t, conn, "SELECT count(*) FROM etl_sink.t"); got != "16" {
		t.Errorf("%s rows", got)
	}
	exec1(t, conn, "DELETE FROM etl_sink._weir_etl_loads")
	if findings, err := p.Audit(t.Context(), r); err != nil ||
		!strings.Contains(fmt.Sprint(findings), "no note of this run") {
		t.Errorf("%v, %v", findings, err)
	}
}

// Merged rows take the place of those with their key, and no other.
func TestTable_MergesByItsKey(t *testing.T) {
	conn, fields := server(t)
	emptySchema(t, conn)
	o := options(t)
	const merge = `"mode": "merge", "key": ["id"]`
	runs(t, tabled(t, conn, fields, "p", merge, numberedRows(1, 4)), o)
	changed := []row{{{text: "3"}, {text: "new"}}, {{text: "5"}, {null: true}}}
	runs(t, tabled(t, conn, fields, "p", merge, changed), o)
	if got := one(t, conn, rowsOfSink+" WHERE x IS NOT NULL"); got != "1=row 1 2=row 2 3=new 4=row 4" {
		t.Error(got)
	}
	for says, rows := range map[string][]row{
		"two rows of the run have the same id: dedupe": append(numberedRows(9, 9), numberedRows(9, 9)...),
		`column "id" is null in a row: it has no key`:  {{{null: true}, {text: "x"}}},
	} {
		o.Fresh = true // what the one before has read is kept
		if _, err := tabled(t, conn, fields, "p", merge, rows).Run(t.Context(), o); !Final(err) ||
			!strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--fresh") {
			t.Errorf("%v, want %s", err, says)
		}
	}
	exec1(t, conn, "CREATE UNIQUE INDEX ON etl_sink.t (x)") // which takes nulls again and again
	if _, err := tabled(t, conn, fields, "p", `"mode": "merge", "key": ["x"]`, changed[1:]).Run(t.Context(),
		o); !Final(err) || !strings.Contains(err.Error(), `column "x" is null in a row`) {
		t.Error(err)
	}
	exec1(t, conn, "DROP INDEX etl_sink.t_x_idx")
	if _, err := tabled(t, conn, fields, "p", `"mode": "merge", "key": ["x"]`, changed[:1]).Run(t.Context(), o); !Final(err) ||
		!strings.Contains(err.Error(), "no unique index of exactly x") {
		t.Error(err)
	}
	if got := one(t, conn, "SELECT count(*) FROM etl_sink.t"); got != "5" {
		t.Error(got)
	}
}

// A table that is replaced has one pipeline, and readers see all of a run or what
// was before; several may append, each from one place.
func TestTable_HasOnePipelineThatReplaces(t *testing.T) {
	conn, fields := server(t)
	emptySchema(t, conn)
	replace := func(name string, rows []row) *Pipeline {
		return tabled(t, conn, fields, name, `"mode": "replace"`, rows)
	}
	appends := func(name string) *Pipeline {
		return tabled(t, conn, fields, name, `"mode": "append"`, numberedRows(1, 1))
	}
	o := options(t)
	runs(t, replace("a", numberedRows(1, 5)), o)
	if _, err := conn.Exec(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ"); err != nil {
		t.Fatal(err)
	}
	if n := one(t, conn, "SELECT count(*) FROM etl_sink.t"); n != "5" {
		t.Error(n)
	}
	runs(t, replace("a", numberedRows(7, 8)), o)
	if n := one(t, conn, "SELECT count(*) FROM etl_sink.t"); n != "5" {
		t.Errorf("a reader's snapshot has %s rows", n)
	}
	exec1(t, conn, "COMMIT")
	if got := one(t, conn, rowsOfSink); got != "7=row 7 8=row 8" {
		t.Error(got)
	}
	for _, other := range []*Pipeline{replace("b", numberedRows(1, 1)), appends("b")} {
		if _, err := other.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(),
			"claiming sink etl_sink.t as postgres: pipeline a writes it: name another table") {
			t.Error(err)
		}
	}
	o.TakeOver = true
	runs(t, appends("b"), o)
	runs(t, appends("c"), options(t))
	if got := one(t, conn, rowsOfSink); got != "1=row 1 1=row 1 7=row 7 8=row 8" {
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
	if n := one(t, conn, "SELECT count(*) FROM etl_sink.t"); n != "5" {
		t.Error(n)
	}
}

// What an interrupted run has appended is not appended again by another pipeline of
// its name: that is refused, or said.
func TestTable_AppendedRowsComeAgainOnlyWhenAskedFor(t *testing.T) {
	conn, fields := server(t)
	emptySchema(t, conn)
	of := func(rows []row, more string) *Pipeline {
		p := tabled(t, conn, fields, "p", `"mode": "append"`, rows)
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
	if n := one(t, conn, "SELECT count(*) FROM etl_sink.t"); n != "3" {
		t.Error(n)
	}
	said := ""
	o.Fresh, o.Tell = true, func(line string) { said += line }
	if _, err := changed.Run(t.Context(), o); err != nil || !strings.Contains(said, "come there a second time") {
		t.Errorf("%v: %s", err, said)
	}
}
