package etl

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"weir/tests/integration/require"
	"weir/tests/integration/vaulted"
)

// server is the PostgreSQL of the tests, and the fields of a source that is there.
func server(t testing.TB) (conn *pgx.Conn, fields string) {
	t.Helper()
	raw := require.Env(t, "WEIR_TEST_POSTGRES_URL")
	conn, err := pgx.Connect(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return conn, fmt.Sprintf(`"type": "postgres", "host": %q, "port": %s, "database": %q, "sslmode": "disable", "user": %q`,
		u.Hostname(), u.Port(), strings.TrimPrefix(u.Path, "/"), u.User.Username())
}

func exec1(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// fromTable is a pipeline of a table of the test, to each format.
func fromTable(t *testing.T, fields, more string) *Pipeline {
	t.Helper()
	p, err := loaded(t, map[string]string{"p.json": `{"name": "pg", "block": 7, "source": {` + fields + more + `},
		"sinks": [{"format": "parquet", "url": "file://out", "object": "x.parquet"},
			{"format": "ndjson", "url": "file://out", "object": "x.ndjson"}, {"format": "csv", "url": "file://out", "object": "x.csv"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// typesInParquet is what another reader must find in the matrix, as Python says
// it.
const typesInParquet = `
import sys, json, decimal, pyarrow.parquet as pq
t = pq.read_table(sys.argv[1])
for f in t.schema: print(f.name, f.type)
for row in t.to_pylist(): print({k: (v if not isinstance(v, decimal.Decimal) else "D" + format(v, "f")) for k, v in row.items()})
`

func TestPostgres_EveryTypeIsExactInEverySink(t *testing.T) {
	conn, fields := server(t)
	exec1(t, conn, `DROP TABLE IF EXISTS etl_types; DROP TYPE IF EXISTS etl_mood`)
	exec1(t, conn, `CREATE TYPE etl_mood AS ENUM ('sad', 'ok')`)
	t.Cleanup(func() {
		_, _ = conn.Exec(context.Background(), `DROP TABLE IF EXISTS etl_types; DROP TYPE IF EXISTS etl_mood`)
	})
	exec1(t, conn, `CREATE TABLE etl_types (id bigint PRIMARY KEY, "a.b" smallint, "é" int, "Select" real, d double precision,
		n numeric(38,10), small numeric(4,1), x text, c char(3), raw bytea, day date, local timestamp, at timestamptz,
		u uuid, j jsonb, ok boolean, mood etl_mood)`)
	exec1(t, conn, `INSERT INTO etl_types VALUES
		(9223372036854775807, 32767, -2147483648, 0.1, 0.1, 1234567890123456789012345678.0123456789, -999.9, 'é "q", ', 'ab',
			'\x00ff', '2026-02-28', '2026-01-02 03:04:05.000001', '2026-01-02 03:04:05+05:30',
			'0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f', '{"a": [1.10, null]}', true, 'sad'),
		(-9223372036854775808, -32768, 2147483647, 1e38, 5e-324, -1234567890123456789012345678.0123456789, 0, '', '', '',
			'0001-01-01', '9999-12-31 23:59:59.999999', '1969-12-31 23:59:59.5Z', '00000000-0000-0000-0000-000000000000', '""', false, 'ok'),
		(0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`)
	p := fromTable(t, fields, `, "table": "public.etl_types", "key": "id"`)
	r, err := p.Run(t.Context(), options(t))
	if err != nil {
		t.Fatal(err)
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Errorf("%v, %v", findings, err)
	}
	got := contents(t, p)
	if want := `{"id":-9223372036854775808,"a.b":-32768,"é":2147483647,"Select":1e+38,"d":5e-324,` +
		`"n":"-1234567890123456789012345678.0123456789","small":"0.0","x":"","c":"   ","raw":"","day":"0001-01-01",` +
		`"local":"9999-12-31T23:59:59.999999","at":"1969-12-31T23:59:59.5Z","u":"00000000-0000-0000-0000-000000000000",` +
		`"j":"","ok":false,"mood":"ok"}
{"id":0,"a.b":null,"é":null,"Select":null,"d":null,"n":null,"small":null,"x":null,"c":null,"raw":null,"day":null,` +
		`"local":null,"at":null,"u":null,"j":null,"ok":null,"mood":null}
{"id":9223372036854775807,"a.b":32767,"é":-2147483648,"Select":0.1,"d":0.1,` +
		`"n":"1234567890123456789012345678.0123456789","small":"-999.9","x":"é \"q\", ","c":"ab ","raw":"AP8=",` +
		`"day":"2026-02-28","local":"2026-01-02T03:04:05.000001","at":"2026-01-01T21:34:05Z",` +
		`"u":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f","j":{"a": [1.10, null]},"ok":true,"mood":"sad"}
`; got["x.ndjson"] != want {
		t.Errorf("NDJSON:\n%s\nwant\n%s", got["x.ndjson"], want)
	}
	if want := `0,,,,,,,,,,,,,,,,` + "\n"; !strings.Contains(got["x.csv"], want) {
		t.Errorf("CSV: %s", got["x.csv"])
	}
	out, err := exec.Command(require.Python(t, "../../.."), "-c", typesInParquet,
		filepath.Join(p.dir, "out/x.parquet")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, part := range []string{"n decimal128(38, 10)", "small decimal128(4, 1)", "local timestamp[us]\n",
		"at timestamp[us, tz=UTC]", "a.b int16", "Select float", "day date32", "raw binary",
		"'n': 'D-1234567890123456789012345678.0123456789'", "'small': 'D-999.9'", "'raw': b'\\x00\\xff'",
		"'local': datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)", "'day': datetime.date(1, 1, 1)",
		"'id': 9223372036854775807, 'a.b': 32767, 'é': -2147483648", "'id': 0, 'a.b': None, 'é': None", "'c': 'ab '",
		"'at': datetime.datetime(1969, 12, 31, 23, 59, 59, 500000, tz"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("Arrow does not read %s:\n%s", part, out)
		}
	}
}

// What no type holds exactly is refused by the name of its column, before or at
// the row; nothing of the run is to be seen.
func TestPostgres_WhatIsNotExactIsRefusedByName(t *testing.T) {
	conn, fields := server(t)
	_ = conn
	for query, says := range map[string]string{
		"SELECT 1::numeric AS x":                               `column "x": a numeric without bounds`,
		"SELECT ARRAY[1] AS x":                                 `column "x": there is no exact type for integer[]`,
		"SELECT interval '1 day' AS x":                         `column "x": there is no exact type for interval`,
		"SELECT 1 AS x, 2 AS x":                                `column "x" stands twice`,
		"SELECT 'infinity'::timestamptz AS x":                  `row 1: reading the source: column "x": it is no time`,
		"SELECT '0044-03-15 BC'::date AS x":                    `column "x": it is no date`,
		"SELECT 'NaN'::numeric(5,2) AS x":                      `column "x": it is no decimal`,
		"SELECT 's3cret'::text::int AS x":                      "the query fails on a value (SQLSTATE 22P02)",
		"SELECT * FROM no_such_table":                          "SQLSTATE 42P01",
		"SELECT 1 AS x FROM generate_series(1, 2)":             "null in a row, or the same in two",
		"SELECT CASE WHEN i < 5 THEN i END AS x FROM generate": "SQLSTATE",
		"SELECT NULL::int AS x":                                "null in a row",
	} {
		key := ""
		if strings.Contains(says, "null in") {
			key = `, "key": "x"`
		}
		p := fromTable(t, fields, fmt.Sprintf(`, "query": %q%s`, query, key))
		if _, err := p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(), says) ||
			strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %s", query, err, says)
		}
		if got := contents(t, p); len(got) > 0 {
			t.Errorf("%s: there is %v", query, got)
		}
	}
}

// An interrupted run goes on behind its last key, and no hostile password of the
// Vault is in any error of any kind.
func TestPostgres_GoesOnBehindItsKey(t *testing.T) {
	_, fields := server(t)
	set := vaulted.Start(t)
	secret, field, _ := strings.Cut(strings.TrimPrefix(vaulted.Reference, "vault://"), "#")
	fields += fmt.Sprintf(`, "password": {"$vault": "%s#%s"}`, secret, field)
	query := `, "query": "SELECT i AS id, 'row ' || i AS x FROM generate_series(1, 100) AS i", "key": "id"`
	set("any")
	whole := fromTable(t, fields, query)
	if _, err := whole.Run(t.Context(), options(t)); err != nil {
		t.Fatal(err)
	}
	p, o := fromTable(t, fields, query), options(t)
	n := 50
	p.source = breaking{p.source, &n, fmt.Errorf("the cable is out")}
	if _, err := p.Run(t.Context(), o); err == nil {
		t.Fatal("it did not break")
	}
	on := false
	o.Tell = func(line string) { on = on || strings.HasSuffix(line, "after 49 rows") }
	r, err := p.Run(t.Context(), o)
	if err != nil || !on || fmt.Sprint(contents(t, p)) != fmt.Sprint(contents(t, whole)) {
		t.Errorf("%v, went on: %t", err, on)
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Errorf("%v, %v", findings, err)
	}
	port := regexp.MustCompile(`"port": \d+`)
	for _, password := range vaulted.Hostile() {
		set(password)
		for what, p := range map[string]*Pipeline{
			"no server":   fromTable(t, port.ReplaceAllString(fields, `"port": 1`), query),
			"no database": fromTable(t, strings.Replace(fields, `"database": "`, `"database": "no_`, 1), query),
			"no field":    fromTable(t, strings.Replace(fields, "#"+field, "#none", 1), query),
		} {
			_, err := p.Run(t.Context(), options(t))
			if err == nil || strings.Contains(err.Error(), password) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// A key that stands twice is refused where a run goes on between the two, too: the
// second row would go missing.
func TestPostgres_GoesOnBehindNoKeyThatStandsTwice(t *testing.T) {
	conn, fields := server(t)
	exec1(t, conn, `DROP TABLE IF EXISTS etl_twice`)
	t.Cleanup(func() { _, _ = conn.Exec(context.Background(), `DROP TABLE IF EXISTS etl_twice`) })
	exec1(t, conn, `CREATE TABLE etl_twice AS SELECT least(n, 7) AS id FROM generate_series(1, 8) AS n`)
	p, o := fromTable(t, fields, `, "table": "public.etl_twice", "key": "id"`), options(t)
	n := 8 // the first block ends with the first 7
	p.source = breaking{p.source, &n, fmt.Errorf("the server is gone")}
	if _, err := p.Run(t.Context(), o); err == nil {
		t.Fatal("it did not break")
	}
	if _, err := p.Run(t.Context(), o); !Final(err) || !strings.Contains(err.Error(), "the same in two") {
		t.Errorf("went on: %v", err)
	}
}

// In S3 an object is whole or is not there, and the audit reads it back.
func TestRun_ToS3(t *testing.T) {
	raw := require.Env(t, "WEIR_TEST_S3_URL")
	p, o := pipeline(t, 1000), options(t)
	for i := range p.sinks {
		p.sinks[i].url, p.sinks[i].object = raw, "etl-test/"+p.sinks[i].object
	}
	p.rejects.url, p.rejects.object = raw, "etl-test/"+p.rejects.object
	p.block = 400
	r, err := p.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Errorf("%v, %v", findings, err)
	}
	r.Sinks[0].SHA256 = "other"
	r.Sinks[1].Object = "etl-test/none"
	findings, err := p.Audit(t.Context(), r)
	if said := strings.Join(findings, "\n"); err != nil || !strings.Contains(said, "other bytes") ||
		!strings.Contains(said, "none is gone") {
		t.Errorf("%v, %v", findings, err)
	}
}

// writtenByArrow is a file of each type that Arrow writes, with its border values.
const writtenByArrow = `
import sys, decimal, datetime as d, uuid, pyarrow as pa, pyarrow.parquet as pq
D = decimal.Decimal
pq.write_table(pa.table({
  "u8": pa.array([255, None, 0], pa.uint8()), "u32": pa.array([4294967295, None, 0], pa.uint32()),
  "u64": pa.array([18446744073709551615, None, 0], pa.uint64()), "i8": pa.array([-128, None, 127], pa.int8()),
  "f": pa.array([0.1, None, float("inf")], pa.float32()),
  "dec": pa.array([D("-1.50"), None, D("99999999999999999999.99")], pa.decimal128(22, 2)),
  "small": pa.array([D("-0.01"), None, D("9.99")], pa.decimal128(3, 2)),
  "ns": pa.array([1000, None, -1000], pa.timestamp("ns")), "ms": pa.array([1, None, -1], pa.timestamp("ms", "UTC")),
  "day": pa.array([d.date(1, 1, 1), None, d.date(9999, 12, 31)]), "b": pa.array([b"\x00\xff", None, b""]), "s": pa.array(["é", None, ""]),
  "ok": pa.array([True, None, False]),
}), sys.argv[1], row_group_size=2)
pq.write_table(pa.table({"l": pa.array([[1]]), "t": pa.array([d.time(1)]), "ok": pa.array([1])}), sys.argv[2])
pq.write_table(pa.table({"ns": pa.array([1], pa.timestamp("ns"))}), sys.argv[3])
`

func TestParquet_WhatArrowWritesIsReadExactlyOrRefused(t *testing.T) {
	python := require.Python(t, "../../..")
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if out, err := exec.Command(python, "-c", writtenByArrow, file("a"), file("b"),
		file("c")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	of := func(name string) *Pipeline {
		return fromTable(t, fmt.Sprintf(`"type": "parquet", "path": %q`, file(name)), "")
	}
	p, o := of("a"), options(t)
	p.block = 1
	n := 3
	p.source = breaking{p.source, &n, fmt.Errorf("the disk is out")}
	if _, err := p.Run(t.Context(), o); err == nil {
		t.Fatal("it did not break")
	}
	r, err := p.Run(t.Context(), o) // from the third row
	if err != nil {
		t.Fatal(err)
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Errorf("%v, %v", findings, err)
	}
	if got, want := contents(t, p)["x.ndjson"], `{"u8":255,"u32":4294967295,"u64":"18446744073709551615","i8":-128,"f":0.1,`+
		`"dec":"-1.50","small":"-0.01","ns":"1970-01-01T00:00:00.000001","ms":"1970-01-01T00:00:00.001Z","day":"0001-01-01",`+
		`"b":"AP8=","s":"é","ok":true}
{"u8":null,"u32":null,"u64":null,"i8":null,"f":null,"dec":null,"small":null,"ns":null,"ms":null,"day":null,"b":null,`+
		`"s":null,"ok":null}
{"u8":0,"u32":0,"u64":"0","i8":127,"f":"Infinity","dec":"99999999999999999999.99","small":"9.99",`+
		`"ns":"1969-12-31T23:59:59.999999","ms":"1969-12-31T23:59:59.999Z","day":"9999-12-31","b":"","s":"","ok":false}
`; got != want {
		t.Errorf("read\n%s\nwant\n%s", got, want)
	}
	again := fromTable(t, fmt.Sprintf(`"type": "parquet", "path": %q`, filepath.Join(p.dir, "out/x.parquet")), "")
	if _, err := again.Run(t.Context(), options(t)); err != nil || contents(t, again)["x.csv"] != contents(t, p)["x.csv"] {
		t.Errorf("what weir wrote reads otherwise: %v\n%s", err, contents(t, again)["x.csv"])
	}
	_, err = of("b").Run(t.Context(), options(t))
	if !Final(err) || !strings.Contains(err.Error(), `column "l": there is no type for lists`) ||
		!strings.Contains(err.Error(), `column "t": there is no exact type`) || strings.Contains(err.Error(), `"ok"`) {
		t.Error(err)
	}
	if _, err = of("c").Run(t.Context(), options(t)); !Final(err) ||
		!strings.Contains(err.Error(), "finer than a microsecond") {
		t.Error(err)
	}
	if err := os.WriteFile(file("d"), []byte("PAR1 no file PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = of("d").Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(), "no whole file") {
		t.Error(err)
	}
}
