package etl

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// What files bring that nobody asked for: a byte order mark is passed over, names
// that stand twice in an object and cells of another type are rejected, and columns
// may be named like words of a language, or differ in case alone.
func TestFile_BadInputIsReadAsItIsOrRejected(t *testing.T) {
	const bom = "\ufeff"
	for name, c := range map[string]struct{ file, columns, rows, rejects string }{
		"csv": {bom + "id,ID,a.b,é,select\r\n1,2,x,y,z\r\n\"x\",2,x,y,z\r\n3,4,\"a\nb\",,\"\"\r\n",
			`{"name": "id", "type": "int64"}, {"name": "ID", "type": "int64"}, {"name": "a.b", "type": "text"},
				{"name": "é", "type": "text"}, {"name": "select", "type": "text"}`,
			`{"id":1,"ID":2,"a.b":"x","é":"y","select":"z"}` + "\n" +
				`{"id":3,"ID":4,"a.b":"a\nb","é":null,"select":""}` + "\n",
			`column \"id\"`},
		"ndjson": {bom + `{"id": 1, "Id": 2, "a.b": {"x": 1}}` + "\n" + `{"id": 1, "id": 2, "Id": 3, "a.b": null}` + "\n" +
			`{"id": 2, "Id": 0, "a.b": {"x": 1, "x": 2}}` + "\n" + `{"id": 3, "Id": 0, "a.b": "\ud83d\ud83d"}` + "\n" +
			`{"id": 4, "Id": 0, "a.b": "\\ud800 \ud83d\ude00"}` + "\n" + `{"id": 5, "Id": 0, "a.b": "` + "\xff\"}\n",
			`{"name": "id", "type": "int32"}, {"name": "Id", "type": "int32"}, {"name": "a.b", "type": "json"}`,
			`{"id":1,"Id":2,"a.b":{"x":1}}` + "\n" + `{"id":4,"Id":0,"a.b":"\\ud800 😀"}` + "\n",
			`{"row":2,"step":0,"reason":"the line names \"/id\" twice","record":"{\"id\": 1, \"id\": 2, \"Id\": 3, ` +
				`\"a.b\": null}"}` + "\n" + `{"row":3,"step":0,"reason":"the line names \"/a.b/x\" twice","record":"{\"id\": 2, ` +
				`\"Id\": 0, \"a.b\": {\"x\": 1, \"x\": 2}}"}` + "\n" +
				`{"row":4,"step":0,"reason":"the line: it has half of a surrogate pair, which is no text",`},
	} {
		p, err := loaded(t, map[string]string{"in": c.file, "p.json": fmt.Sprintf(`{"name": "bad", "source": {"type": %q,
			"path": "in", "on_failure": "reject", "columns": [%s]},
			"sinks": [{"format": "ndjson", "url": "file://out", "object": "x"}],
			"rejects": {"url": "file://out", "object": "r"}}`, name, c.columns)})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := p.Run(t.Context(), options(t)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := contents(t, p)
		if got["x"] != c.rows || !strings.Contains(got["r"], c.rejects) {
			t.Errorf("%s: %s\nrejects: %s", name, got["x"], got["r"])
		}
	}
}

// A cell of ten megabytes is kept as it is, in each format, within few blocks.
func TestFile_ALargeCellIsKept(t *testing.T) {
	large := strings.Repeat("0123456789", 1_000_000)
	p, err := loaded(t, map[string]string{"in": "id,a\n1," + large + "\n2,x\n3," + large + "\n", "p.json": `{
		"name": "large",
		"source": {"type": "csv", "path": "in", "columns": [{"name": "id", "type": "int32"}, {"name": "a", "type": "text"}]},
		"sinks": [{"format": "csv", "url": "file://out", "object": "c"},
			{"format": "parquet", "url": "file://out", "object": "p"},
			{"format": "avro", "url": "file://out", "object": "a"},
			{"format": "delta", "url": "file://out", "table": "t"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Run(t.Context(), options(t))
	if err != nil || r.Counts.Written != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Errorf("%v, %v", findings, err)
	}
	if got := contents(t, p)["c"]; got != "id,a\n1,"+large+"\n2,x\n3,"+large+"\n" {
		t.Errorf("%d bytes", len(got))
	}
}

// A table of PostgreSQL that is dropped while it is read is read to its end, since
// its reader holds it; one that is gone before ends the run by its name, and leaves
// the sinks as they were.
func TestPostgres_ATableThatIsDropped(t *testing.T) {
	conn, fields := server(t)
	const rows = 2000
	exec1(t, conn, `DROP TABLE IF EXISTS etl_dropped; CREATE TABLE etl_dropped AS
		SELECT n AS id, repeat('x', 500) AS a FROM generate_series(1, 2000) AS n`)
	t.Cleanup(func() { _, _ = conn.Exec(context.Background(), `DROP TABLE IF EXISTS etl_dropped`) })
	p, o := fromTable(t, fields, `, "table": "public.etl_dropped"`), options(t)
	var dropped error
	p.source = &pausing{p.source, rows / 2, func() {
		_, dropped = conn.Exec(t.Context(), `SET lock_timeout = '200ms'; DROP TABLE etl_dropped`)
	}}
	r, err := p.Run(t.Context(), o)
	if err != nil || r.Counts.Written != rows || dropped == nil {
		t.Errorf("%+v, %v; dropping it: %v", r, err, dropped)
	}
	before := contents(t, p)["x.csv"]
	exec1(t, conn, `DROP TABLE etl_dropped`)
	p.source = p.source.(*pausing).source
	o.Fresh = true
	if _, err := p.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "etl_dropped") {
		t.Errorf("a table that is gone: %v", err)
	}
	if contents(t, p)["x.csv"] != before {
		t.Error("a run that failed changed its sink")
	}
}
