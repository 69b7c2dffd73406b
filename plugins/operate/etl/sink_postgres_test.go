package etl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func emptySchema(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	exec1(t, conn, `DROP SCHEMA IF EXISTS etl_sink CASCADE; CREATE SCHEMA etl_sink`)
	t.Cleanup(func() { _, _ = conn.Exec(context.Background(), `DROP SCHEMA IF EXISTS etl_sink CASCADE`) })
}

func one(t *testing.T, conn *pgx.Conn, sql string) (text string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT ("+sql+")::text").Scan(&text); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
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
		_, err := tabled(t, fields, "p", `"mode": "append"`, long).Run(t.Context(), options(t))
		if says == "" && err != nil || says != "" && (!Final(err) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v", table, err)
		}
		if n := one(t, conn, "SELECT count(*) FROM etl_sink.t"); n != map[bool]string{true: "1", false: "0"}[says == ""] {
			t.Errorf("%s: it has %s rows", table, n)
		}
	}
	for what, rows := range map[string][]row{"zero byte": {{{text: "1"}, {text: "a\x00b"}}}} {
		emptySchema(t, conn)
		_, err := tabled(t, fields, "p", `"mode": "append"`, rows).Run(t.Context(), options(t))
		if !Final(err) || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), `column "x"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
