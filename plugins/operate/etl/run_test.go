package etl

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// options are those of a run in a folder of its own, without pauses.
func options(t testing.TB) Options {
	t.Helper()
	return Options{State: t.TempDir(), Tries: 1, Now: time.Now, Tell: func(line string) { t.Log(line) }}
}

func contents(t *testing.T, p *Pipeline) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(p.dir, "out"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(p.dir, "out", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(raw)
	}
	return all
}

// pipeline reads numbers, in blocks of three.
func pipeline(t *testing.T, rows int) *Pipeline {
	t.Helper()
	var file strings.Builder
	for i := range rows {
		switch {
		case i%10 == 7:
			fmt.Fprintf(&file, "{\"id\": %d, \"a\": null}\n", i)
		case i%10 == 8:
			fmt.Fprintf(&file, "{\"id\": \"%d\", \"a\": \"x\"}\n", i)
		default:
			fmt.Fprintf(&file, "{\"id\": %d, \"a\": \"é%d\"}\r\n\n", i, i)
		}
	}
	p, err := loaded(t, map[string]string{"in.ndjson": file.String(), "p.json": `{"name": "numbers", "block": 3,
		"source": {"type": "ndjson", "path": "in.ndjson", "on_failure": "reject",
			"columns": [{"name": "id", "type": "int32"}, {"name": "a", "type": "text"}]},
		"steps": [{"filter": "this.id % 5 != 0"}, {"validate": {"column": "a", "not_null": true, "on_failure": "reject"}},
			{"validate": {"column": "id", "max": 80, "on_failure": "drop"}},
			{"derive": {"column": "twice", "type": "decimal(9,1)", "mapping": "this.id * 2"}}],
		"sinks": [{"format": "parquet", "url": "file://out", "object": "n.parquet"},
			{"format": "ndjson", "url": "file://out", "object": "n.ndjson"}, {"format": "csv", "url": "file://out", "object": "n.csv"}],
		"rejects": {"url": "file://out", "object": "rejects.ndjson"}}`})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRun_EveryRowIsAccountedForAndARerunChangesNothing(t *testing.T) {
	p, o := pipeline(t, 100), options(t)
	r, err := p.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// of each ten: 0 and 5 are filtered, 7 is null, 8 is no number
	want := Counts{Read: 100, Filtered: 20, Rejected: 20, Dropped: 12, Written: 48, Unreadable: 10,
		Steps: []StepCounts{{Filtered: 20}, {Failed: 10}, {Failed: 12}, {}}}
	if got, _ := json.Marshal(r.Counts); fmt.Sprint(r.Counts) != fmt.Sprint(want) {
		t.Errorf("counted %s, want %+v", got, want)
	}
	first := contents(t, p)
	if n := strings.Count(first["n.ndjson"], "\n"); n != 48 || !strings.HasPrefix(first["n.ndjson"],
		`{"id":1,"a":"é1","twice":"2.0"}`+"\n") || strings.Count(first["n.csv"], "\n") != 49 {
		t.Errorf("%d lines: %.200s\n%.200s", n, first["n.ndjson"], first["n.csv"])
	}
	if lines := strings.Split(first["rejects.ndjson"], "\n"); len(lines) != 21 ||
		lines[0] != `{"row":8,"step":2,"reason":"column \"a\" is null","record":"{\"id\":7,\"a\":null}"}` ||
		lines[1] != `{"row":9,"step":0,"reason":"column \"id\": a text is no int32","record":"{\"id\": \"8\", \"a\": \"x\"}"}` {
		t.Errorf("rejects: %d, %.400s", len(lines), first["rejects.ndjson"])
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Errorf("the audit: %v, %v", findings, err)
	}
	if _, err := p.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if again := contents(t, p); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Error("another run changes what is there")
	}
	last, err := p.ReadReport(o.State, "")
	if one, err2 := p.ReadReport(o.State, r.Run); err != nil || err2 != nil || one.Run != r.Run || last.Run == r.Run {
		t.Errorf("%v %v: %+v", err, err2, last)
	}
	if _, err := p.ReadReport(o.State, "none"); !errors.Is(err, ErrNoRun) {
		t.Error(err)
	}
}

// breaking is a source that breaks off after some rows, once.
type breaking struct {
	source
	after *int
	with  error
}

type breakingReading struct {
	reading
	b breaking
}

func (b breaking) open(ctx context.Context) (reading, error) {
	in, err := b.source.open(ctx)
	return breakingReading{in, b}, err
}

func (b breakingReading) next() (row, string, error) {
	if *b.b.after--; *b.b.after == 0 {
		return nil, "", b.b.with
	}
	return b.reading.next()
}

// Wherever a run breaks off, no sink shows anything of it, the next try goes on,
// and the end is that of a run that did not break.
func TestRun_GoesOnAtItsLastBlock(t *testing.T) {
	whole := pipeline(t, 100)
	if _, err := whole.Run(t.Context(), options(t)); err != nil {
		t.Fatal(err)
	}
	want := contents(t, whole)
	for after := 1; after <= 101; after += 20 {
		p, o := pipeline(t, 100), options(t)
		n := after
		p.source = breaking{p.source, &n, errors.New("the cable is out")}
		if _, err := p.Run(t.Context(), o); err == nil || Final(err) {
			t.Fatalf("after %d rows: %v", after, err)
		}
		if got := contents(t, p); len(got) > 0 {
			t.Fatalf("after %d rows there is %v", after, got)
		}
		at, err := o.stage(p.Name).load()
		if err != nil || after > 3 && (at == nil || at.Counts.Read != int64(after-1)/3*3) {
			t.Fatalf("after %d rows the run is at %+v, %v", after, at, err)
		}
		on := false
		o.Tell = func(line string) { on = on || strings.HasPrefix(line, "going on with run") }
		r, err := p.Run(t.Context(), o)
		if err != nil || on != (after > 3) || r.Counts.Read != 100 {
			t.Fatalf("after %d rows: %v, went on: %t", after, err, on)
		}
		if got := contents(t, p); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("after a break at row %d the sinks differ", after)
		}
	}
}

// A run whose source is read does not ask it again: its sinks get what was read.
func TestRun_WithItsSourceReadNeedsItNoMore(t *testing.T) {
	whole, p, o := pipeline(t, 50), pipeline(t, 50), options(t)
	if _, err := whole.Run(t.Context(), options(t)); err != nil {
		t.Fatal(err)
	}
	place := filepath.Join(p.dir, "out/n.parquet")
	if err := os.MkdirAll(filepath.Join(place, "x"), 0o700); err != nil { // a folder where an object is to be
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), o); err == nil || Final(err) {
		t.Fatalf("into a place that is a folder: %v", err)
	}
	for _, path := range []string{place, filepath.Join(p.dir, "in.ndjson")} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	r, err := p.Run(t.Context(), o)
	if err != nil || r.Counts.Read != 50 || fmt.Sprint(contents(t, p)) != fmt.Sprint(contents(t, whole)) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRun_TriesAgainWhatFailsInPassingAlone(t *testing.T) {
	for _, c := range []struct {
		with error
		says bool
	}{{errors.New("passing"), true}, {dataError{errors.New("for good")}, false}} {
		p, o := pipeline(t, 50), options(t)
		n, told := 20, 0
		p.source = breaking{p.source, &n, c.with}
		o.Tries, o.Tell = 4, func(line string) {
			if strings.HasPrefix(line, "try 1 of 4: passing") {
				told++
			}
		}
		_, err := p.Run(t.Context(), o)
		if (err == nil) != c.says || (told == 1) != c.says {
			t.Errorf("%v: %v, told %d times", c.with, err, told)
		}
	}
}

func TestRun_BeginsAnewWhenItsSourceOrPipelineChanged(t *testing.T) {
	for name, change := range map[string]func(*Pipeline, *Options){
		"the file": func(p *Pipeline, _ *Options) {
			f, err := os.OpenFile(filepath.Join(p.dir, "in.ndjson"), os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString(`{"id": 1, "a": "x"}`)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"the pipeline": func(p *Pipeline, _ *Options) { p.text = append(p.text, ' ') },
		"by --fresh":   func(_ *Pipeline, o *Options) { o.Fresh = true },
	} {
		p, o := pipeline(t, 50), options(t)
		n := 20
		p.source = breaking{p.source, &n, io.ErrUnexpectedEOF}
		if _, err := p.Run(t.Context(), o); err == nil {
			t.Fatal("it did not break")
		}
		change(p, &o)
		o.Tell = func(line string) {
			if strings.HasPrefix(line, "going on") {
				t.Errorf("%s: %s", name, line)
			}
		}
		r, err := p.Run(t.Context(), o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
			t.Errorf("%s: %v, %v", name, findings, err)
		}
	}
}

// A run that has its report is at its end, though a crash left what it read.
func TestRun_OneThatIsReportedIsNotGoneOnWith(t *testing.T) {
	p, o := pipeline(t, 20), options(t)
	r, err := p.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.stage(p.Name).save(&progress{Run: r.Run, Pipeline: p.hash(), Done: true, Sinks: r.Sinks}); err != nil {
		t.Fatal(err)
	}
	if again, err := p.Run(t.Context(), o); err != nil || again.Run == r.Run || again.Counts.Read != 20 {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestRun_TwoOfOnePipelineDoNotMeet(t *testing.T) {
	p, o := pipeline(t, 10), options(t)
	release, err := o.stage(p.Name).lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Errorf("a second run: %v", err)
	}
	release()
	if _, err := p.Run(t.Context(), o); err != nil {
		t.Error(err)
	}
}

func TestRun_ARowThatMustNotBeEndsIt(t *testing.T) {
	p, o := pipeline(t, 10), options(t)
	p.onFailure = onFail
	_, err := p.Run(t.Context(), o)
	if !Final(err) || !strings.Contains(err.Error(), `row 9: reading the source: column "id": a text is no int32`) {
		t.Error(err)
	}
	p = pipeline(t, 10)
	p.steps[1].onFailure = onFail
	if _, err = p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(),
		`row 8: step 2 (validate): column "a" is null`) {
		t.Error(err)
	}
	if got := contents(t, p); len(got) > 0 {
		t.Errorf("there is %v", got)
	}
}

func TestRun_NoRowsAreAnEmptySinkWithItsColumns(t *testing.T) {
	p := pipeline(t, 0)
	r, err := p.Run(t.Context(), options(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := contents(t, p); got["n.csv"] != "id,a,twice\n" || got["n.ndjson"] != "" || len(got["n.parquet"]) == 0 {
		t.Errorf("%q", got)
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Errorf("%v, %v", findings, err)
	}
}

func TestAudit_NamesWhatDoesNotComeOut(t *testing.T) {
	for says, change := range map[string]func(dir string, r *Report) error{
		"n.csv is gone": func(dir string, _ *Report) error { return os.Remove(filepath.Join(dir, "out/n.csv")) },
		"n.ndjson holds other bytes": func(dir string, _ *Report) error {
			return os.WriteFile(filepath.Join(dir, "out/n.ndjson"), []byte("{}\n"), 0o600)
		},
		"the source has 99 rows now, and 100 were read": func(dir string, _ *Report) error {
			raw, err := os.ReadFile(filepath.Join(dir, "in.ndjson"))
			if err != nil {
				return err
			}
			_, rest, _ := strings.Cut(string(raw), "\n")
			return os.WriteFile(filepath.Join(dir, "in.ndjson"), []byte(rest), 0o600)
		},
		"accounts for 99 of 100 rows": func(_ string, r *Report) error { r.Counts.Filtered--; return nil },
		"n.parquet has 48 rows, and 47 were to be there": func(_ string, r *Report) error {
			r.Counts.Written--
			r.Counts.Filtered++
			return nil
		},
	} {
		p := pipeline(t, 100)
		r, err := p.Run(t.Context(), options(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := change(p.dir, r); err != nil {
			t.Fatal(err)
		}
		findings, err := p.Audit(t.Context(), r)
		if err != nil || !strings.Contains(strings.Join(findings, "\n"), says) {
			t.Errorf("want %s, got %v, %v", says, findings, err)
		}
	}
}

// Steps share no state between rows: they may be run by anybody.
func TestStep_TheSameRowGivesTheSame(t *testing.T) {
	p := pipeline(t, 0)
	planned, problems := p.plan(p.columns)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				out, filtered, failed := planned.run(row{{text: "3"}, {text: "x"}}, segment{0, len(p.steps)})
				if filtered >= 0 || failed != nil || out[2].text != "6.0" {
					t.Errorf("%+v, %d, %+v", out, filtered, failed)
				}
			}
		})
	}
	all.Wait()
}

// A block ends with its bytes, too: rows may be long.
func TestRun_LongRowsMakeShortBlocks(t *testing.T) {
	var file strings.Builder
	const rows = 40
	for i := range rows {
		fmt.Fprintf(&file, "%d,%s\n", i, strings.Repeat("x", 1<<20))
	}
	p, err := loaded(t, map[string]string{"in.csv": "id,a\n" + file.String(), "p.json": `{"name": "long",
		"source": {"type": "csv", "path": "in.csv",
			"columns": [{"name": "id", "type": "int32"}, {"name": "a", "type": "text"}]},
		"sinks": [{"format": "ndjson", "url": "file://out", "object": "n.ndjson"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	s := o.stage(p.Name)
	release, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	at, err := p.extract(t.Context(), o, s, nil)
	release()
	if err != nil || at.Blocks < 2 || at.Counts.Written != rows {
		t.Fatalf("%+v, %v", at, err)
	}
	r, err := p.Run(t.Context(), o)
	if err != nil || r.Sinks[0].Rows != rows {
		t.Fatalf("%+v, %v", r, err)
	}
}

// A disk that fails within a quoted field is no fault of the data.
func TestCSV_AFailingDiskIsTriedAgain(t *testing.T) {
	gone := errors.New("input/output error")
	f := &fileReading{in: bufio.NewReader(io.MultiReader(strings.NewReader("1,\"a\n"), iotest.ErrReader(gone)))}
	if _, err := f.record(); !errors.Is(err, gone) || Final(err) {
		t.Errorf("%v", err)
	}
	f = &fileReading{in: bufio.NewReader(strings.NewReader("1,\"a\n"))}
	if _, err := f.record(); !Final(err) {
		t.Errorf("at the end of the file: %v", err)
	}
}

// The user of a PostgreSQL may be a secret: no failure shows it.
func TestPostgres_NoFailureShowsTheUser(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	kept := filepath.Join(t.TempDir(), "user")
	if err := os.WriteFile(kept, []byte("hidden"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := postgresSource{postgresServer: postgresServer{sqlServer{host: "127.0.0.1", port: int64(port), database: "d",
		sslmode: "disable", user: "file://" + kept}}, table: "t"}
	_, away := p.open(t.Context())
	refused := p.refused("connecting to", &pgconn.PgError{Code: "28P01",
		Message: `password authentication failed for user "hidden"`})
	for _, err := range []error{away, refused} {
		if err == nil || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), p.host) {
			t.Errorf("%v", err)
		}
	}
	if Final(away) || !Final(refused) {
		t.Errorf("%v, %v", away, refused)
	}
}
