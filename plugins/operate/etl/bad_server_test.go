package etl

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/tests/integration/require"
)

// awkward are names that a language reserves, splits or quotes.
const awkward = `{"name": "a.b", "type": "int32"}, {"name": "é", "type": "text"}, {"name": "select", "type": "text"},
	{"name": "order by", "type": "text"}, {"name": "x\"y` + "`" + `z", "type": "text"}, {"name": "Group", "type": "text"}`

const (
	awkwardLine = `{"a.b":%d,"é":"1","select":"2","order by":"3","x\"y` + "`" + `z":"4","Group":"5"}` + "\n"
	awkwardFile = "awkward.ndjson"
)

// Whatever its name, a column goes through steps and into each sink under it, or is
// refused by it. Names that differ in case alone are two columns where the sink has
// them as two.
func TestRun_AColumnKeepsItsName(t *testing.T) {
	onEach(t, func(t *testing.T, d testTables) {
		sinks := fmt.Sprintf(`{"format": "parquet", "url": "file://out", "object": "x.parquet"},
			{"format": "ndjson", "url": "file://out", "object": "x.ndjson"},
			{"format": "csv", "url": "file://out", "object": "x.csv"},
			{%s, "table": "etl_sink.t", "mode": "merge", "key": ["a.b"]}`, d.fields)
		steps := `{"filter": "this.\"a.b\" > 0"}, {"derive": {"column": "é", "type": "text", "mapping": "this.\"x\\\"y` + "`" +
			`z\" + this.select"}}, {"validate": {"column": "order by", "pattern": "^3$"}}`
		load := func(columns, steps, sinks, file string) *Pipeline {
			t.Helper()
			p, err := loaded(t, map[string]string{awkwardFile: file, "p.json": fmt.Sprintf(`{"name": "names", "source":
				{"type": "ndjson", "path": %q, "columns": [%s]}, "steps": [%s], "sinks": [%s]}`, awkwardFile, columns, steps, sinks)})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		file := fmt.Sprintf(awkwardLine+awkwardLine+awkwardLine, 1, 2, 0)
		p := load(awkward, steps, sinks, file)
		runs(t, p, options(t))
		want := strings.ReplaceAll(fmt.Sprintf(awkwardLine+awkwardLine, 1, 2), `"é":"1"`, `"é":"42"`)
		if got := contents(t, p)["x.ndjson"]; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		quoted := map[string]string{postgresFormat: `"a.b" || "é" || "select" || "order by" || "x""y` + "`" + `z" || "Group"`,
			mysqlFormat: "CONCAT(`a.b`, `é`, `select`, `order by`, `x\"y``z`, `Group`)"}[d.format]
		if got := d.one("SELECT " + quoted + " FROM etl_sink.t WHERE " + quoted + " LIKE '2%'"); got != "2422345" {
			t.Errorf("the table has %s", got)
		}
		if got := python(t, `import sys, pyarrow.parquet as pq; print(pq.read_table(sys.argv[1]).to_pylist()[1])`,
			filepath.Join(p.dir, "out/x.parquet")); got != `{'a.b': 2, 'é': '42', 'select': '2', 'order by': '3', `+
			"'x\"y`z': '4', 'Group': '5'}\n" {
			t.Error(got)
		}
		back, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": "back", "source": {%s, "table": "etl_sink.t",
			"key": "a.b"}, "sinks": [{"format": "ndjson", "url": "file://out", "object": "x"}]}`,
			strings.Replace(d.fields, `"format"`, `"type"`, 1))})
		if err != nil {
			t.Fatal(err)
		}
		runs(t, back, options(t))
		if got := contents(t, back)["x"]; got != want {
			t.Errorf("read again: %s", got)
		}

		const twins = `{"name": "id", "type": "int32"}, {"name": "ID", "type": "int32"}`
		d.exec("DROP TABLE etl_sink.t")
		table := fmt.Sprintf(`{%s, "table": "etl_sink.t", "mode": "append"}`, d.fields)
		_, err = load(twins, "", table, `{"id": 1, "ID": 2}`).Run(t.Context(), options(t))
		if one := d.format == mysqlFormat; one != (err != nil) || one && !strings.Contains(err.Error(), `"ID"`) {
			t.Errorf("twins: %v", err)
		}
		for refused, says := range map[string]string{
			`{"format": "delta", "url": "file://out", "table": "t", "mode": "append"}`: `"id" and "ID"`,
			`{"format": "delta", "url": "file://out", "table": "u", "mode": "append"}`: `"order by"`,
			`{"format": "avro", "url": "file://out", "object": "a"}`:                   `"a.b"`,
		} {
			columns, file := awkward, file
			if strings.Contains(says, "ID") {
				columns, file = twins, `{"id": 1, "ID": 2}`
			}
			p, err := loaded(t, map[string]string{awkwardFile: file, "p.json": fmt.Sprintf(`{"name": "names", "source":
				{"type": "ndjson", "path": %q, "columns": [%s]}, "sinks": [%s]}`, awkwardFile, columns, refused)})
			if err == nil {
				_, err = p.Run(t.Context(), options(t))
			}
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v, expected %s", refused, err, says)
			}
		}
	})
}

// A cell of ten megabytes goes from one table to another, and to Delta, as it is.
func TestTable_ALargeCellIsKept(t *testing.T) {
	onEach(t, func(t *testing.T, d testTables) {
		text := map[string]string{postgresFormat: "text", mysqlFormat: "longtext"}[d.format]
		d.exec("CREATE TABLE etl_sink.s (id int PRIMARY KEY, x " + text + "); " +
			"INSERT INTO etl_sink.s VALUES (1, REPEAT('0123456789', 1000000)), (2, 'x')")
		p, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": "large", "source": {%s, "table": "etl_sink.s"},
			"sinks": [{%s, "table": "etl_sink.t", "mode": "append"},
				{"format": "delta", "url": "file://out", "table": "t", "mode": "append"}]}`,
			strings.Replace(d.fields, `"format"`, `"type"`, 1), d.fields)})
		if err != nil {
			t.Fatal(err)
		}
		runs(t, p, options(t))
		if got := d.one("SELECT count(*) FROM etl_sink.s JOIN etl_sink.t ON s.id = t.id AND s.x = t.x"); got != "2" {
			t.Errorf("%s rows are as they were", got)
		}
	})
}

// A run that PostgreSQL chooses as the victim of a deadlock is tried again, and comes once.
func TestPostgres_ADeadlockBringsTheRunOnce(t *testing.T) {
	conn, fields := server(t)
	other, _ := server(t)
	emptySchema(t, conn)
	exec1(t, conn, `CREATE TABLE etl_sink.t (id int PRIMARY KEY, x text);
		INSERT INTO etl_sink.t SELECT n, 'old' FROM generate_series(1, 20) AS n`)
	p, o := tabled(t, fields, "a", `"mode": "merge", "key": ["id"]`, numberedRows(1, 10)), options(t)
	o.Tries = 2
	var told atomic.Value
	told.Store("")
	o.Tell = func(line string) { told.Store(told.Load().(string) + line + "\n") }
	exec1(t, other, `SET deadlock_timeout = '1min'; BEGIN; UPDATE etl_sink.t SET x = 'locked' WHERE id > 9`)
	ended := make(chan error, 1)
	go func() {
		_, err := p.Run(context.Background(), o)
		ended <- err
	}()
	for began := time.Now(); one(t, conn, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND
		query LIKE '%etl_sink%' AND pid <> pg_backend_pid()`) == "0"; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("it does not wait")
		}
	}
	exec1(t, other, `UPDATE etl_sink.t SET x = 'locked' WHERE id = 1; COMMIT`)
	if err := <-ended; err != nil || !strings.Contains(told.Load().(string), "40P01") {
		t.Errorf("the victim of a deadlock: %v\n%s", err, told.Load())
	}
	if got := one(t, conn, `SELECT string_agg(x, ' ' ORDER BY id) FROM etl_sink.t WHERE id < 13`); got !=
		"row 1 row 2 row 3 row 4 row 5 row 6 row 7 row 8 row 9 row 10 locked locked" {
		t.Error(got)
	}
}

// A store that is busy now and then costs a run nothing but time. One that stays busy
// ends it, with nothing of it shown, and the next brings it once.
func TestRun_AStormOfAStore(t *testing.T) {
	raw := require.Env(t, "WEIR_TEST_S3_URL")
	real, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(real.Query().Get("endpoint"))
	if err != nil {
		t.Fatal(err)
	}
	var each, asked, refused atomic.Int64 // each: which of so many requests is refused; 0: none
	proxy := httputil.NewSingleHostReverseProxy(at)
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := each.Load(); n > 0 && asked.Add(1)%n == 0 {
			refused.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(door.Close)
	q := real.Query()
	q.Set("endpoint", door.URL)
	real.RawQuery = q.Encode()
	folder := "etl-storm-" + newRun(time.Now())
	p, err := loaded(t, map[string]string{"in": "id\n1\n2\n3\n", "p.json": fmt.Sprintf(`{"name": "storm",
		"source": {"type": "csv", "path": "in", "columns": [{"name": "id", "type": "int32"}]},
		"sinks": [{"format": "parquet", "url": %q, "object": %q},
			{"format": "delta", "url": %[1]q, "table": %[3]q, "mode": "append"}]}`,
		real, folder+"/x.parquet", folder+"/t")})
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	each.Store(2)
	r, err := p.Run(t.Context(), o)
	if err != nil || refused.Load() < 2 {
		t.Errorf("%v; %d requests were refused", err, refused.Load())
	}
	each.Store(1)
	source := func(lines string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(p.dir, "in"), []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source("id\n4\n5\n")
	if _, err := p.Run(t.Context(), o); err == nil || Final(err) || !strings.Contains(err.Error(), "503") {
		t.Errorf("a store that stays busy: %v", err)
	}
	each.Store(0)
	source("id\n1\n2\n3\n")
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Errorf("a run that failed changed the sinks: %v, %v", findings, err)
	}
	source("id\n4\n5\n")
	runs(t, p, o)
	back, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": "back", "source": {"type": "delta", "url": %q,
		"table": %q}, "sinks": [{"format": "csv", "url": "file://out", "object": "x"}]}`, raw, folder+"/t")})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, back, options(t))
	lines := strings.Fields(contents(t, back)["x"])
	if len(lines) != 6 {
		t.Errorf("the table has %v", lines)
	}
}
