package etl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/plugins/operate/etl/delta"
	"weir/plugins/store/lake"
	"weir/tests/integration/require"
)

// toDelta is a pipeline of some rows into a table in a folder of the test.
func toDelta(t *testing.T, dir, name, more string, columns []column, rows []row) *Pipeline {
	t.Helper()
	declared, err := json.Marshal(told(columns))
	if err != nil {
		t.Fatal(err)
	}
	p, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": %q, "block": 3, "source": {"type": "csv",
		"path": "x", "columns": %s}, "sinks": [{"format": "delta", "url": "file://%s", "table": "shop/t", %s}]}`, name,
		declared, dir, more)})
	if err != nil {
		t.Fatal(err)
	}
	p.source = mockSource{p.columns, rows}
	return p
}

func idAndText() []column {
	return []column{{"id", columnType{kind: kindInt32}}, {"x", columnType{kind: kindText}}}
}

const (
	appends  = `"mode": "append"`
	replaces = `"mode": "replace"`
)

func python(t *testing.T, script string, args ...string) string {
	t.Helper()
	script += "\nimport os, sys; sys.stdout.flush(); os._exit(0)" // threads of delta-rs do not always end well
	out, err := exec.Command(require.Python(t, "../../.."), append([]string{"-c", script}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// readDelta reads a table twice: by delta-rs, and by Arrow from the log as its
// specification says; both must agree. A table that was tidied up is read once.
const readDelta = `
import sys, json, glob, os, urllib.parse, pyarrow as pa, pyarrow.parquet as pq, pyarrow.compute as pc
from deltalake import DeltaTable
def show(rows): return sorted(json.dumps(r, default=str, ensure_ascii=False) for r in rows)
dt = DeltaTable(sys.argv[1])
whole = pa.table(dt.to_pyarrow_table() if hasattr(dt, "to_pyarrow_table") else dt.to_arrow())
rows = show(whole.to_pylist())
logs = sorted(glob.glob(sys.argv[1] + "/_delta_log/*.json"))
if logs and logs[0].endswith("/%020d.json" % 0):
    adds, partitions = {}, []
    for log in logs:
        for line in open(log):
            a = json.loads(line)
            if "add" in a: adds[a["add"]["path"]] = a["add"]
            if "remove" in a: adds.pop(a["remove"]["path"], None)
            if "metaData" in a: partitions = a["metaData"]["partitionColumns"]
    seen = []
    for path, a in adds.items():
        file = sys.argv[1] + "/" + urllib.parse.unquote(path)
        t = pq.ParquetFile(file).read()
        assert os.path.getsize(file) == a["size"]
        if a.get("stats"):
            s = json.loads(a["stats"])
            assert s["numRecords"] == t.num_rows
            for name, n in s["nullCount"].items(): assert t[name].null_count == n, name
            for name, v in s["minValues"].items():
                of = t[name].type
                if not pa.types.is_temporal(of) and not pa.types.is_decimal(of):
                    assert v <= pc.min(t[name]).as_py(), name
        for r in t.to_pylist():
            for p in partitions:
                v = a["partitionValues"][p]
                r[p] = None if v is None else pa.scalar(v).cast(whole.schema.field(p).type).as_py()
            seen.append({f: r.get(f) for f in whole.schema.names})
    assert show(seen) == rows, (show(seen), rows)
print(dt.version(), dt.protocol().min_reader_version, dt.protocol().min_writer_version)
print(", ".join(f.name + " " + f.type.type for f in dt.schema().fields))
print("\n".join(rows))
`

func everyType() []column {
	var all []column
	for _, k := range kinds() {
		all = append(all, column{string(k), columnType{kind: k}})
	}
	return append(all, column{"d38", columnType{kindDecimal, 38, 10}}, column{"d4", columnType{kindDecimal, 4, 1}},
		column{"d18", columnType{kindDecimal, 18, 0}}, column{"a.b", columnType{kind: kindInt32}},
		column{"é", columnType{kind: kindText}})
}

func borderRows() []row {
	of := func(texts ...string) (r row) {
		for _, text := range texts {
			r = append(r, cell{text: text})
		}
		return r
	}
	none := make(row, len(everyType()))
	for i := range none {
		none[i].null = true
	}
	return []row{
		of("true", "32767", "-2147483648", "9223372036854775807", "0.1", "5e-324", "é \"q\", \n", "\x00\xff", "2026-02-28",
			"2026-01-02T03:04:05.000001", "2026-01-01T21:34:05.999999Z", "0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f",
			`{"a":  [1.10, null]}`, "1234567890123456789012345678.0123456789", "-999.9", "999999999999999999", "1", "é"),
		none,
		of("false", "-32768", "2147483647", "-9223372036854775808", "NaN", "-Infinity", "", "", "0001-01-01",
			"9999-12-31T23:59:59.999999", "1969-12-31T23:59:59.5Z", "00000000-0000-0000-0000-000000000000", `""`,
			"-1234567890123456789012345678.0123456789", "0.0", "-999999999999999999", "-1", strings.Repeat("é", 40)),
	}
}

// Every type with its border values is what it was, to two readers that are not
// ours, and to our own.
func TestDelta_EveryTypeIsExact(t *testing.T) {
	dir := t.TempDir()
	runs(t, toDelta(t, dir, "p", appends, everyType(), borderRows()), options(t))
	got := python(t, readDelta, filepath.Join(dir, "shop/t"))
	for _, part := range []string{"0 3 7\n", "bool boolean, int16 short, int32 integer, int64 long, float32 float, " +
		"float64 double, text string, bytes binary, date date, timestamp timestamp_ntz, timestamptz timestamp, " +
		"uuid string, json string, d38 decimal(38,10), d4 decimal(4,1), d18 decimal(18,0), a.b integer, é string",
		`"timestamp": "2026-01-02 03:04:05.000001", "timestamptz": "2026-01-01 21:34:05.999999+00:00"`,
		`"timestamp": "9999-12-31 23:59:59.999999"`, `"d38": "-1234567890123456789012345678.0123456789", "d4": "0.0"`,
		`"bytes": "b'\\x00\\xff'", "date": "2026-02-28"`,
		`"float32": NaN, "float64": -Infinity, "text": "", "bytes": "b''"`,
		`"int64": -9223372036854775808`, `"date": "0001-01-01"`, `"json": "{\"a\":  [1.10, null]}"`,
		`"bool": null, "int16": null`,
	} {
		if !strings.Contains(got, part) {
			t.Errorf("they do not read %s:\n%s", part, got)
		}
	}
	again := backFromDelta(t, dir)
	want := borderRows()
	for i := range again {
		if !slices.ContainsFunc(want, func(r row) bool { return slices.Equal(r, again[i]) }) {
			t.Errorf("we read %v", again[i])
		}
	}
	if len(again) != len(want) {
		t.Errorf("we read %d rows", len(again))
	}
}

// backFromDelta is all that our source reads of the table.
func backFromDelta(t *testing.T, dir string) (all []row) {
	t.Helper()
	p, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": "back", "source": {"type": "delta",
		"url": "file://%s", "table": "shop/t"}, "sinks": [{"format": "ndjson", "url": "file://out",
		"object": "x.ndjson"}]}`, dir)})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, p, options(t))
	in, err := p.source.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	for {
		one, at, err := in.next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(all)%2 == 1 { // goes on where it was
			in.close()
			if in, err = p.source.open(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := in.from(t.Context(), at); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, one)
	}
}

// What a run brings comes once: one that dies between its files and its version shows
// nothing, and one whose answer is lost finds that it has come.
func TestDelta_ARunComesOnce(t *testing.T) {
	dir, o := t.TempDir(), options(t)
	p := toDelta(t, dir, "p", appends, idAndText(), numberedRows(1, 8))
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
	store, err := lake.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	table := delta.Table{Store: store, Folder: "shop/t"}
	dies := &deltaRun{deltaTable: p.sinks[0].delta, at: table, run: at.Run, columns: columns}
	none, err := table.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := dies.write(t.Context(), none, o.Now(), func(e encoder) error {
		return p.encodeRows(t.Context(), s, at, &Sink{}, e)
	}, &Sink{}); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "shop/t/*.parquet")); len(files) != 1 {
		t.Fatal(files)
	}
	if now, err := table.Read(t.Context(), nil); err != nil || now.Version != -1 {
		t.Fatalf("half a run has made version %d, %v", now.Version, err)
	}
	var group sync.WaitGroup
	for range 4 { // as if each had lost the answer of the one before, or had it late
		group.Go(func() {
			sink, err := p.loadDelta(context.WithoutCancel(t.Context()), o, s, at, columns, p.sinks[0], id)
			if err != nil || sink.Rows != 8 || sink.SHA256 == "" || sink.Bytes == 0 {
				t.Errorf("%+v, %v", sink, err)
			}
		})
	}
	group.Wait()
	release()
	r := runs(t, p, o)
	if now, err := table.Read(t.Context(), nil); err != nil || now.Version != 0 || len(now.Files) != 1 {
		t.Errorf("%+v, %v", now, err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "shop/t/*.parquet")); len(files) != 1 {
		t.Errorf("files that nobody knows: %v", files)
	}
	runs(t, p, o) // another run appends again
	if got := len(backFromDelta(t, dir)); got != 16 {
		t.Errorf("%d rows", got)
	}
	if err := os.Remove(filepath.Join(dir, "shop/t/_delta_log/00000000000000000000.json")); err != nil {
		t.Fatal(err)
	}
	if findings, err := p.Audit(t.Context(), r); err == nil ||
		!strings.Contains(err.Error(), "version 0 of the table is missing") {
		t.Errorf("%v, %v", findings, err)
	}
}

// writeDelta is a writer that is not ours, of several threads.
const writeDelta = `
import sys, threading, pyarrow as pa
from deltalake import write_deltalake
failed = []
def write(n):
    for i in range(int(sys.argv[3])):
        rows = pa.table({"id": pa.array([1000 * n + i], pa.int32()), "x": ["theirs"]})
        try: write_deltalake(sys.argv[1], rows, mode="append")
        except Exception as e: failed.append(e); return
threads = [threading.Thread(target=write, args=(n,)) for n in range(1, 1 + int(sys.argv[2]))]
[t.start() for t in threads]; [t.join() for t in threads]
for e in failed: print(e, flush=True)
import os; os._exit(len(failed))
`

// Four writers of ours and four of delta-rs on one table lose no version.
func TestDelta_EightWritersLoseNothing(t *testing.T) {
	const writers, each = 4, 4
	interpreter := require.Python(t, "../../..")
	dir := t.TempDir()
	runs(t, toDelta(t, dir, "first", appends, idAndText(), numberedRows(1, 1)), options(t))
	var group sync.WaitGroup
	for n := range writers {
		o := options(t)
		var all []*Pipeline
		for i := range each {
			id := 100*(n+1) + i
			all = append(all, toDelta(t, dir, fmt.Sprintf("ours-%d", n), appends, idAndText(), numberedRows(id, id)))
		}
		group.Go(func() {
			for _, p := range all {
				if _, err := p.Run(t.Context(), o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() {
		if out, err := exec.Command(interpreter, "-c", writeDelta, filepath.Join(dir, "shop/t"), fmt.Sprint(writers),
			fmt.Sprint(each)).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	group.Wait()
	const versions = 2 * writers * each // behind the first
	got := python(t, readDelta, filepath.Join(dir, "shop/t"))
	if !strings.HasPrefix(got, fmt.Sprintf("%d 1 2\n", versions)) || strings.Count(got, `"id"`) != versions+1 {
		t.Error(got)
	}
	for n := range writers {
		for i := range each {
			for _, id := range []int{100*(n+1) + i, 1000*(n+1) + i} {
				if strings.Count(got, fmt.Sprintf(`"id": %d,`, id)) != 1 {
					t.Errorf("%d is not there once", id)
				}
			}
		}
	}
	if rows := backFromDelta(t, dir); len(rows) != versions+1 {
		t.Errorf("we read %d rows", len(rows))
	}
}

// Replaced, a table has the rows of the last run; partitions are by any text; and
// both are so from a checkpoint, when the log before it is gone.
func TestDelta_PartitionsAndCheckpoints(t *testing.T) {
	dir, o := t.TempDir(), options(t)
	columns := append(idAndText(), column{"price", columnType{kindDecimal, 5, 2}})
	texts := []string{"a/b", "100%", "é ü", "x=y:z", "..", "a+b&c", strings.Repeat("long", 70), "plain"}
	var rows []row
	for i, text := range texts {
		rows = append(rows, row{{text: fmt.Sprint(i)}, {text: text}, {text: "1.50"}})
	}
	rows = append(rows, row{{text: "8"}, {null: true}, {null: true}})
	by := `, "partition_by": ["x", "price"]`
	for i := range 12 {
		runs(t, toDelta(t, dir, "p", replaces+by, columns, rows[:len(rows)-i%2]), o)
	}
	runs(t, toDelta(t, dir, "p", replaces+by, columns, rows), o)
	table := filepath.Join(dir, "shop/t")
	check := func() {
		t.Helper()
		got := python(t, readDelta, table)
		if !strings.HasPrefix(got, "12 1 2\n") || strings.Count(got, `"id"`) != len(rows) ||
			!strings.Contains(got, `"id": 8, "x": null, "price": null`) {
			t.Error(got)
		}
		for i, text := range texts {
			if part := fmt.Sprintf(`"id": %d, "x": "%s", "price": "1.50"`, i, text); !strings.Contains(got, part) {
				t.Errorf("they do not read %s: %s", part, got)
			}
		}
		if again := backFromDelta(t, dir); fmt.Sprint(sortedRows(again)) != fmt.Sprint(sortedRows(rows)) {
			t.Errorf("we read %v", again)
		}
	}
	check()
	for n := range 10 { // as the log is tidied up
		if err := os.Remove(filepath.Join(table, fmt.Sprintf("_delta_log/%020d.json", n))); err != nil {
			t.Fatal(err)
		}
	}
	check()
	python(t, `
import sys
from deltalake import DeltaTable
DeltaTable(sys.argv[1]).create_checkpoint()`, table)
	for n := range 3 {
		if err := os.Remove(filepath.Join(table, fmt.Sprintf("_delta_log/%020d.json", 10+n))); err != nil {
			t.Fatal(err)
		}
	}
	check()
	runs(t, toDelta(t, dir, "p", replaces, columns, rows[:1]), o)
	if again := backFromDelta(t, dir); len(again) != 1 {
		t.Errorf("we read %v", again)
	}
}

func sortedRows(rows []row) []string {
	var all []string
	for _, r := range rows {
		all = append(all, fmt.Sprintf("%+v", r))
	}
	slices.Sort(all)
	return all
}

// A table that is replaced has one pipeline; several may append, each from one place.
func TestDelta_HasOnePipelineThatReplaces(t *testing.T) {
	dir, o := t.TempDir(), options(t)
	with := func(name, mode string) *Pipeline {
		return toDelta(t, dir, name, mode, idAndText(), numberedRows(1, 2))
	}
	runs(t, with("a", appends), o)
	runs(t, with("b", appends), options(t))
	for range 2 {
		if _, err := with("a", replaces).Run(t.Context(), o); !Final(err) || !strings.Contains(err.Error(),
			"claiming sink shop/t as delta: pipeline b writes it: name another table") {
			t.Error(err)
		}
	}
	if got := len(backFromDelta(t, dir)); got != 4 {
		t.Errorf("%d rows", got)
	}
	o.TakeOver = true
	runs(t, with("a", replaces), o)
	if _, err := with("b", appends).Run(t.Context(), options(t)); !Final(err) ||
		!strings.Contains(err.Error(), "pipeline a writes it") {
		t.Error(err)
	}
	runs(t, with("a", appends), o) // which has another mode now
	runs(t, with("b", appends), options(t))
	if got := len(backFromDelta(t, dir)); got != 6 {
		t.Errorf("%d rows", got)
	}
}

// In S3, too, writers that meet lose no version.
func TestDelta_ToS3(t *testing.T) {
	raw := require.Env(t, "WEIR_TEST_S3_URL")
	folder := "etl-delta-" + newRun(time.Now())
	const writers, each = 3, 4
	var group sync.WaitGroup
	for n := range writers {
		o := options(t)
		p := toDelta(t, t.TempDir(), fmt.Sprintf("w%d", n), appends, idAndText(), numberedRows(n, n))
		p.sinks[0].url, p.sinks[0].object = raw, folder
		group.Go(func() {
			for range each {
				r, err := p.Run(t.Context(), o)
				if err != nil {
					t.Error(err)
					return
				}
				if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
					t.Errorf("%v, %v", findings, err)
				}
			}
		})
	}
	group.Wait()
	store, err := lake.Open(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	table := delta.Table{Store: store, Folder: folder}
	s, err := table.Read(t.Context(), nil)
	if err != nil || s.Version != writers*each-1 || len(s.Files) != writers*each || len(s.Txns) != writers ||
		s.Checkpoint != 10 {
		t.Errorf("%+v, %v", s, err)
	}
}
