package etl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/tests/integration/require"
)

// brought is a folder into which a stream brings batches, without its log.
type brought struct {
	t       *testing.T
	p       *Pipeline
	url     string
	dir     string
	columns []column
	sink    *objectStream
	at      *marks
	next    int64
}

func bringing(t *testing.T, format, url, name string, columns []column) *brought {
	t.Helper()
	p, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": "s", "mode": "stream", "source": {"type": "kafka",
		"brokers": ["b:1"], "topic": "t", "columns": [{"name": "id", "type": "int64"}]},
		"sinks": [{"format": %q, "url": %q, "object": %q}]}`, format, url, name)})
	if err != nil {
		t.Fatal(err)
	}
	b := &brought{t: t, p: p, url: url, dir: strings.TrimPrefix(url, "file://"), columns: columns}
	b.open("aaaa")
	return b
}

func (b *brought) open(id string) {
	b.t.Helper()
	sink, err := b.p.streamInto(b.t.Context(), b.p.sinks[0], id)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = sink.close() })
	b.sink = sink.(*objectStream)
	if b.at, err = b.sink.at(b.t.Context(), "log"); err != nil {
		b.t.Fatal(err)
	}
}

// bring brings a batch.
func (b *brought) bring(rows ...row) {
	b.t.Helper()
	b.next += int64(len(rows)) + 1
	to := marks{"log", map[int32]int64{0: b.next}}
	if err := b.sink.bring(b.t.Context(), delivery{id: newRun(time.Now()), from: b.at, to: to, columns: b.columns,
		block: &block{rows: rows}, now: time.Now()}); err != nil {
		b.t.Fatal(err)
	}
	b.at = &to
}

// readFolder reads a folder as docs/etl.md says, by readers that are none of ours.
const readFolder = `
import sys, json, glob, os, hashlib
folder, fmt = sys.argv[1], sys.argv[2]
ms = [json.load(open(f)) for f in glob.glob(folder + "/_manifest/*.json")]
whole = max((m for m in ms if "compaction" in m), key=lambda m: m["compaction"], default={"number": 0, "files": []})
files = whole["files"] + [f for m in sorted(ms, key=lambda m: m["number"]) if "compaction" not in m and m["number"] > whole["number"] for f in m["files"]]
for f in files:
    raw = open(os.path.join(folder, f["name"]), "rb").read()
    assert hashlib.sha256(raw).hexdigest() == f["sha256"] and len(raw) == f["bytes"], f
    rows = []
    if fmt == "parquet":
        import pyarrow.parquet as pq
        rows = pq.read_table(os.path.join(folder, f["name"])).to_pylist()
    elif fmt == "avro":
        import fastavro, io
        rows = list(fastavro.reader(io.BytesIO(raw)))
    elif fmt == "ndjson":
        rows = [json.loads(l) for l in raw.decode().split("\n") if l]
    else:
        import csv, io
        rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    assert len(rows) == f["rows"], (f, len(rows))
    for r in rows: print(json.dumps(r, default=str, ensure_ascii=True))
`

// What is compacted has the same rows, of every type, in the same order and in fewer
// files; what was of the folder before goes when it was to be kept no longer, and no
// sooner; and the stream goes on.
func TestCompactFolder_RowsStayAndOldFilesGo(t *testing.T) {
	for _, format := range []string{"parquet", "ndjson", "csv", avroFormat} {
		t.Run(format, func(t *testing.T) {
			columns, rows := everyType(), borderRows()
			if format == avroFormat { // names of Avro have no dot
				columns = columns[:len(columns)-2]
				for i := range rows {
					rows[i] = rows[i][:len(columns)]
				}
			}
			b := bringing(t, format, "file://"+t.TempDir(), "shop/orders", columns)
			for i := range 9 {
				if b.bring(rows...); i == 4 {
					b.bring() // a batch without rows
				}
			}
			before := python(t, readFolder, filepath.Join(b.dir, "shop/orders"), format)
			now := time.Now()
			if got := compacts(t, b.p, now); got.Files != 9 || got.Into != 1 || got.Vacuumed != 0 || got.IntoBytes > got.Bytes ||
				got.Folder != "shop/orders" {
				t.Fatalf("%+v", got)
			}
			b.same(format, before)
			if got := compacts(t, b.p, now.Add(23*time.Hour)); got != (Compacted{Folder: "shop/orders"}) {
				t.Errorf("again: %+v", got)
			}
			if n := len(b.files()); n != 10 {
				t.Errorf("%d files before they are old", n)
			}
			if got := compacts(t, b.p, now.Add(25*time.Hour)); got.Vacuumed != 9 || got.Log != 9 || len(b.files()) != 1 {
				t.Errorf("%+v, %v", got, b.files())
			}
			b.same(format, before)
			b.open("bbbb") // goes on
			b.bring(rows...)
			b.columns = append([]column{{"new", columnType{kind: kindText}}}, columns...)
			b.bring(append(row{{text: "x"}}, rows[0]...))
			more := python(t, readFolder, filepath.Join(b.dir, "shop/orders"), format)
			if got := compacts(t, b.p, now.Add(26*time.Hour)); got.Files != map[bool]int{true: 3,
				false: 2}[format == "ndjson"] ||
				got.Into != 1 {
				t.Errorf("files with other columns: %+v", got)
			}
			b.same(format, more)
			b.open("cccc")
			if len(b.at.Next) != 1 || b.at.Next[0] != b.next {
				t.Errorf("the log was read to %s, want %d", b.at, b.next)
			}
		})
	}
}

// The query of the docs reads a folder in DuckDB.
func TestCompactFolder_IsReadAsTheDocsSay(t *testing.T) {
	docs, err := os.ReadFile("../../../docs/etl.md")
	if err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(string(docs), "```sql\n")
	query, _, _ = strings.Cut(query, "```")
	b := bringing(t, "parquet", "file://"+t.TempDir(), "orders", idAndText())
	query = strings.ReplaceAll(query, "out/orders", filepath.Join(b.dir, "orders"))
	asked := func() string {
		return strings.TrimSpace(python(t, "import duckdb, sys\nc = duckdb.connect()\nfor q in "+
			"sys.argv[1].split(';')[:2]: r = c.execute(q)\nprint(r.fetchone()[0])", query))
	}
	for i := range 8 {
		b.bring(numberedRows(i, i)...)
	}
	if got := asked(); got != "8" {
		t.Errorf("without a compaction: %s rows", got)
	}
	compacts(t, b.p, time.Now())
	b.bring(numberedRows(8, 9)...)
	b.bring()
	if got := asked(); got != "10" {
		t.Errorf("behind a compaction: %s rows", got)
	}
}

// files are those beside the manifests.
func (b *brought) files() []string {
	return slices.DeleteFunc(files(b.t, b.dir, b.sink.t.object, "*"),
		func(name string) bool { return filepath.Base(name) == manifestFolder })
}

// same says that the folder has the rows that it had, and that the audit finds nothing.
func (b *brought) same(format, before string) {
	b.t.Helper()
	if after := python(b.t, readFolder, filepath.Join(b.dir, b.sink.t.object), format); after != before || before == "" {
		b.t.Errorf("%s\nwas\n%s", after, before)
	}
	b.audited()
}

func (b *brought) audited() {
	b.t.Helper()
	if err := b.sink.recount(b.t.Context(), b.t.Errorf); err != nil {
		b.t.Error(err)
	}
}

var errCrashed = errors.New("crashed")

// crashing is a store that does so many things, and then is as of a process that is gone.
type crashing struct {
	folderStore
	left *int
	half bool // the last thing is done, and its answer lost
}

func (c crashing) do(change func() error) error {
	if *c.left--; *c.left < 0 {
		return errCrashed
	}
	if *c.left == 0 && c.half {
		return errors.Join(change(), errCrashed)
	}
	return change()
}

func (c crashing) Write(ctx context.Context, key string, write func(io.Writer) error) error {
	return c.do(func() error { return c.folderStore.Write(ctx, key, write) })
}

func (c crashing) PutNew(ctx context.Context, key string, body []byte) error {
	return c.do(func() error { return c.folderStore.PutNew(ctx, key, body) })
}

func (c crashing) Remove(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := c.do(func() error { return c.folderStore.Remove(ctx, key) }); err != nil {
			return err
		}
	}
	return nil
}

// Wherever a compaction ends, the folder has each row once; and the next one leaves
// nothing behind that nobody names.
func TestCompactFolder_ACrashAtAnyStep(t *testing.T) {
	for _, half := range []bool{false, true} {
		crashes := 0
		for steps := 0; ; steps++ {
			b := bringing(t, "ndjson", "file://"+t.TempDir(), "o", idAndText())
			for i := range 8 {
				b.bring(numberedRows(i*10, i*10+2+i%3)...)
			}
			now := time.Now()
			compacts(t, b.p, now.Add(-48*time.Hour)) // so that there are files to be removed
			for i := range 8 {
				b.bring(numberedRows(100+i*10, 100+i*10+i%3)...)
			}
			before := b.rows()
			f, left := b.sink.folder(), steps
			f.store = crashing{f.store, &left, half}
			c := compaction(t, now)
			c.Small, c.Least = 400, 3 // several files of one attempt
			_, err := compactFolder(t.Context(), f, c)
			if err != nil && !errors.Is(err, errCrashed) {
				t.Fatal(err)
			}
			if after := b.rows(); !slices.Equal(after, before) {
				t.Fatalf("after %d steps: %v\nwas\n%v", steps, after, before)
			}
			b.audited()
			if _, again := compactFolder(t.Context(), b.sink.folder(), c); again != nil {
				t.Fatal(again)
			}
			if after := b.rows(); !slices.Equal(after, before) {
				t.Fatalf("after %d steps and another compaction: %v\nwas\n%v", steps, after, before)
			}
			b.audited()
			if found, want := b.files(), b.kept(); len(found) != want {
				t.Errorf("after %d steps %d files lie there, and %d are to be kept: %v", steps, len(found), want, found)
			}
			if err == nil {
				break
			}
			crashes++
		}
		if crashes < 15 {
			t.Errorf("it was ended at %d steps only", crashes)
		}
	}
}

// rows are those of the folder, in their order.
func (b *brought) rows() (all []string) {
	b.t.Helper()
	for _, file := range b.has().files {
		raw, err := os.ReadFile(filepath.Join(b.dir, b.sink.t.object, file.Name))
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")...)
	}
	return all
}

func (b *brought) has() *inForce {
	b.t.Helper()
	f := b.sink.folder()
	l, err := f.list(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	has, err := f.has(b.t.Context(), l, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return has
}

// kept is how many files any manifest that is there names.
func (b *brought) kept() int {
	b.t.Helper()
	f, named := b.sink.folder(), map[string]bool{}
	l, err := f.list(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, n := range slices.Collect(maps.Keys(l.batches)) {
		m, err := f.readManifest(b.t.Context(), l.batches[n], n)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, file := range m.Files {
			if _, is := l.files[file.Name]; is { // the last may be of before the compaction that is kept
				named[file.Name] = true
			}
		}
	}
	for _, n := range slices.Collect(maps.Keys(l.compacted)) {
		m, err := f.readCompacted(b.t.Context(), l.compacted[n], n)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, file := range m.Files {
			named[file.Name] = true
		}
	}
	return len(named)
}

// Compactions beside each other, and beside the stream, lose no row and bring none
// twice; a reader that began before finds all files that it was told of.
func TestCompactFolder_GoesOnBesideTheStreamAndOthers(t *testing.T) {
	b := bringing(t, "csv", "file://"+t.TempDir(), "o", idAndText())
	var group sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := b.p.Compact(t.Context(), compaction(t, time.Now())); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 60 {
		b.bring(numberedRows(i, i)...)
		rows := 0
		for _, file := range b.has().files {
			raw, err := os.ReadFile(filepath.Join(b.dir, "o", file.Name))
			if err != nil {
				t.Error(err)
			}
			rows += strings.Count(string(raw), "\n") - 1
		}
		if rows != i+1 {
			t.Fatalf("a reader sees %d rows, want %d", rows, i+1)
		}
	}
	close(stop)
	group.Wait()
	compacts(t, b.p, time.Now())
	b.audited()
	if n := len(b.has().files); n != 1 {
		t.Errorf("%d files in the end", n)
	}
	if found, want := b.files(), b.kept(); len(found) != want {
		t.Errorf("%d files lie there, and %d are to be kept", len(found), want)
	}
}

// A file that was changed on its disk is not taken into another.
func TestCompactFolder_WhatIsDamagedStays(t *testing.T) {
	b := bringing(t, "ndjson", "file://"+t.TempDir(), "o", idAndText())
	for i := range 4 {
		b.bring(numberedRows(i, i)...)
	}
	if err := os.WriteFile(b.files()[2], []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.p.Compact(t.Context(), compaction(t, time.Now())); !Final(err) ||
		!strings.Contains(err.Error(), "holds other bytes") {
		t.Error(err)
	}
	if n := len(b.files()); n != 4 {
		t.Errorf("%d files", n)
	}
	other := *b.p
	other.Name = "other"
	if _, err := other.Compact(t.Context(), compaction(t, time.Now())); !Final(err) ||
		!strings.Contains(err.Error(), "pipeline s streams into o") {
		t.Error(err)
	}
}

// Manifests of many batches without rows become one.
func TestCompactFolder_ManifestsOfNoRowsAreFewer(t *testing.T) {
	b := bringing(t, "csv", "file://"+t.TempDir(), "o", idAndText())
	f := b.sink.folder()
	for range mostLoose {
		b.bring()
	}
	b.bring(numberedRows(1, 1)...)
	c := compaction(t, time.Now())
	for _, want := range []Compacted{{}, {Log: mostLoose}} { // the last manifest stays
		if got, err := compactFolder(t.Context(), f, c); err != nil || got != want {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
		c.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	}
	if has := b.has(); has.number != mostLoose+1 || has.rows != 1 || has.before.Compaction != 1 {
		t.Errorf("%+v", has)
	}
}

// In S3, too; and a folder of Avro is read as its manifests say.
func TestCompactFolder_InS3(t *testing.T) {
	b := bringing(t, avroFormat, require.Env(t, "WEIR_TEST_S3_URL"), "etl-compact-"+newRun(time.Now()), idAndText())
	for i := range 6 {
		b.bring(numberedRows(i*2, i*2+1)...)
	}
	if got := compacts(t, b.p, time.Now()); got.Files != 6 || got.Into != 1 {
		t.Errorf("%+v", got)
	}
	b.bring(numberedRows(12, 12)...)
	b.audited()
	back, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": "back", "source": {"type": "avro", "url": %q,
		"folder": %q}, "sinks": [{"format": "csv", "url": "file://out", "object": "x.csv"}]}`, b.url, b.sink.t.object)})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, back, options(t))
	got := lines(t, files(t, back.dir, "out", "x.csv"))
	if len(got) != 14 || got[1] != "0,row 0" || got[13] != "12,row 12" {
		t.Error(got)
	}
}
