package etl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform/tempdir"
)

// mockTest is a test in the file of a pipeline: rows in place of the source's, and the expected
// result. It contacts no server.
type mockTest struct {
	at      *node
	name    string
	columns []column // of the source
	rows    []row
	lines   []string // contents of a file source, in place of rows; nil: rows
	tables  map[string]*table

	fails             string   // part of the error that the run must end with; "": it must succeed
	want, rejects     []string // lines
	filtered, dropped int64    // -1: any number

	now time.Time // time of the run; zero: the clock
}

// readTests reads the tests of a pipeline that is otherwise valid.
func (p *Pipeline) readTests(list []*node, problems *[]Problem) {
	seen := map[string]bool{}
	for _, n := range list {
		r := n.object(problems)
		t := mockTest{at: n, name: r.text("name", true), columns: p.columns}
		if seen[t.name] {
			r.wrong(n, "another test has this name")
		}
		seen[t.name] = true
		if t.columns == nil {
			t.columns = readColumns(r)
		}
		t.readInput(p, r)
		t.tables = p.readTables(r)
		if at := r.member("expect"); at != nil {
			p.readExpected(&t, at.object(problems))
		} else if r.members != nil {
			r.wrong(n, `"expect" is missing`)
		}
		if given := r.text("now", false); given != "" {
			var err error
			if t.now, err = parseTime(given, "2006-01-02T15:04:05Z07:00"); err != nil {
				r.wrong(r.members["now"], "%v", err)
			}
		}
		r.end()
		p.tests = append(p.tests, t)
	}
}

func (t *mockTest) readInput(p *Pipeline, r *reader) {
	rows, lines := r.list("rows"), r.list("lines")
	if (r.members["rows"] == nil) == (r.members["lines"] == nil) && r.members != nil {
		r.wrong(r.n, `expected either "rows" or "lines"`)
	}
	for _, n := range rows {
		one := n.object(r.problems)
		t.rows = append(t.rows, readRow(one, t.columns, true))
	}
	if r.members["lines"] == nil {
		return
	}
	if file, is := p.source.(fileSource); !is {
		r.wrong(r.members["lines"], "lines are for csv and ndjson: give rows")
	} else if file.format == "csv" && len(lines) == 0 {
		r.wrong(r.members["lines"], "a file of CSV begins with its header")
	}
	t.lines = []string{}
	for _, n := range lines {
		line, is := n.value.(string)
		if !is {
			r.wrong(n, "expected a text")
		}
		t.lines = append(t.lines, line)
	}
}

// readTables reads the rows that a test has for the tables of lookups.
func (p *Pipeline) readTables(r *reader) map[string]*table {
	all := map[string]*table{}
	given := r.member("tables")
	var in *reader
	if given != nil {
		in = given.object(r.problems)
	}
	for _, s := range p.steps {
		if s.lookup == nil {
			continue
		}
		if in == nil || in.member(s.lookup.name) == nil {
			r.wrong(r.n, `"tables" lacks %q, which is looked up`, s.lookup.name)
			continue
		}
		one := in.members[s.lookup.name].object(r.problems)
		t := newTable(s.lookup.columns)
		if t.columns == nil {
			t.columns = readColumns(one)
		}
		all[s.lookup.name] = t
		key, err := keyOf(t.columns, s.lookup.their())
		if err != nil {
			r.wrong(one.n, "%v", err)
			continue
		}
		room := &budget{left: p.memory << 20, most: p.memory}
		for _, n := range one.list("rows") {
			if err := t.add(key, readRow(n.object(r.problems), t.columns, true), room); err != nil {
				r.wrong(n, "%v", err)
			}
		}
		one.end()
	}
	if in != nil {
		in.end()
	}
	return all
}

// readRow reads {"COLUMN": VALUE}, with values as in NDJSON.
func readRow(r *reader, columns []column, leaveOut bool) row {
	out := make(row, len(columns))
	for i, c := range columns {
		n := r.member(c.name)
		if n == nil {
			if out[i].null = true; !leaveOut && r.members != nil {
				r.wrong(r.n, "column %q is missing", c.name)
			}
			continue
		}
		var err error
		if out[i], err = c.of.fromJSON(n); err != nil {
			r.wrong(n, "column %q: %v", c.name, err)
		}
	}
	r.end()
	return out
}

func (p *Pipeline) readExpected(t *mockTest, r *reader) {
	t.fails = r.text("fails", false)
	rows, rejects := r.list("rows"), r.list("rejects")
	t.filtered, t.dropped = r.number("filtered", -1, 0, 1<<62), r.number("dropped", -1, 0, 1<<62)
	r.end()
	switch {
	case r.members == nil:
		return
	case (r.members["fails"] != nil) == (r.members["rows"] != nil):
		r.wrong(r.n, `expected either "rows" or "fails"`)
	case r.members["fails"] != nil && len(r.members) > 1:
		r.wrong(r.n, "a run that fails leaves nothing else to expect")
	case len(rejects) > 0 && p.rejects == nil:
		r.wrong(r.members["rejects"], "the pipeline rejects no rows")
	}
	mocked := *p
	mocked.tables = t.tables
	if mocked.asksOthers() { // a missing table was reported before
		return
	}
	planned, problems := mocked.plan(t.columns)
	if len(problems) > 0 {
		*r.problems = append(*r.problems, problems...)
		return
	}
	for _, n := range rows {
		out := readRow(n.object(r.problems), planned.columns(), false)
		t.want = append(t.want, shown(planned.columns(), out))
	}
	for _, n := range rejects {
		one := n.object(r.problems)
		row, step := one.number("row", 0, 1, 1<<62), one.number("step", 0, 0, int64(len(p.steps)))
		if one.members != nil && (one.members["row"] == nil || one.members["step"] == nil) {
			r.wrong(n, "expected row, step and reason")
		}
		t.rejects = append(t.rejects, shownReject(row, step, one.text("reason", true)))
		one.end()
	}
}

// shown returns a row as one line for a difference. JSON values are normalized.
func shown(columns []column, r row) string {
	out := make(row, len(r))
	for i, c := range r {
		if out[i] = c; columns[i].of.kind != kindJSON || c.null {
			continue
		}
		if n, err := parse("", []byte(c.text)); err == nil {
			if same, err := marshalled(n.plain()); err == nil {
				out[i] = same
			}
		}
	}
	return strings.TrimSuffix(string(appendJSON(nil, columns, out)), "\n")
}

func shownReject(row, step int64, reason string) string {
	return fmt.Sprintf("row %d, step %d: %s", row, step, reason)
}

// TestResult is the result of one test of a pipeline.
type TestResult struct {
	Name string
	// Difference lists the lines that differ: '-' was expected and is missing, '+' was not
	// expected. Empty: the test passed.
	Difference []string
}

// Tests returns the number of the pipeline's tests.
func (p *Pipeline) Tests() int { return len(p.tests) }

// Test runs each test of the pipeline like a run, in a temporary folder. A test that fails is no
// error.
func (p *Pipeline) Test(ctx context.Context, now func() time.Time) ([]TestResult, error) {
	var all []TestResult
	for _, t := range p.tests {
		difference, err := p.test(ctx, t, now)
		if err != nil {
			return nil, fmt.Errorf("testing %s: %w", t.name, err)
		}
		all = append(all, TestResult{t.name, difference})
	}
	return all, nil
}

func (p *Pipeline) test(ctx context.Context, t mockTest, now func() time.Time) ([]string, error) {
	dir, remove, err := tempdir.Make("etl-test")
	if err != nil {
		return nil, err
	}
	defer remove()
	mocked := *p
	mocked.tables, mocked.mocked = t.tables, true
	if mocked.source, err = t.source(p.source, dir); err != nil {
		return nil, err
	}
	s := stage{dir: filepath.Join(dir, "state")}
	release, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	if !t.now.IsZero() {
		now = func() time.Time { return t.now }
	}
	columns, at, err := mocked.stageRows(ctx, Options{Now: now, Tell: func(string) {}}, s, nil)
	if err == nil { // finds values that a format cannot hold
		err = mocked.encodeAll(ctx, s, at, columns)
	}
	switch {
	case err != nil && !Final(err):
		return nil, err
	case err != nil && t.fails != "" && strings.Contains(err.Error(), t.fails):
		return nil, nil
	case err != nil && t.fails != "":
		return []string{"- fails: " + t.fails, "+ fails: " + err.Error()}, nil
	case err != nil:
		return []string{"+ fails: " + err.Error()}, nil
	case t.fails != "":
		return []string{"- fails: " + t.fails}, nil
	}
	return t.compare(s, at, columns)
}

func (p *Pipeline) encodeAll(ctx context.Context, s stage, at *progress, columns []column) error {
	for _, sink := range p.sinks {
		if err := p.encode(ctx, s, at, columns, &Sink{Format: sink.format}, io.Discard); err != nil {
			return fmt.Errorf("writing sink %s: %w", sink, err)
		}
	}
	return nil
}

// source returns the source that stands in for the pipeline's.
func (t mockTest) source(real source, dir string) (source, error) {
	file, is := real.(fileSource)
	if !is || t.lines == nil {
		return mockSource{t.columns, t.rows}, nil
	}
	file.path = filepath.Join(dir, "source")
	if err := os.WriteFile(file.path, []byte(strings.Join(t.lines, "\n")), 0o600); err != nil {
		return nil, fmt.Errorf("writing the lines: %w", err)
	}
	return file, nil
}

func (t mockTest) compare(s stage, at *progress, columns []column) (out []string, err error) {
	var rows, rejects []string
	for n := range at.Blocks {
		b, err := s.get(n)
		if err != nil {
			return nil, err
		}
		for _, r := range b.rows {
			if n < at.begins() {
				break // of a segment before the last
			}
			rows = append(rows, shown(columns, r))
		}
		for _, line := range b.rejects {
			var is struct {
				Row, Step int64
				Reason    string
			}
			if err := json.Unmarshal(line, &is); err != nil {
				return nil, fmt.Errorf("reading a reject: %w", err)
			}
			rejects = append(rejects, shownReject(is.Row, is.Step, is.Reason))
		}
	}
	section := func(name string, lines []string) {
		if len(lines) > 0 {
			out = append(append(out, name+":"), lines...)
		}
	}
	section("rows", difference(t.want, rows))
	section("rejects", difference(t.rejects, rejects))
	for _, c := range []struct {
		name     string
		want, is int64
	}{{"filtered", t.filtered, at.Counts.Filtered}, {"dropped", t.dropped, at.Counts.Dropped}} {
		if c.want >= 0 {
			section(c.name, difference([]string{strconv.FormatInt(c.want, 10)}, []string{strconv.FormatInt(c.is, 10)}))
		}
	}
	return out, nil
}

// mostDifference bounds how many lines are compared one by one.
const mostDifference = 2000

// difference returns the lines to remove from a and to add to get b; none if they are equal. Lines
// that both have are not shown.
func difference(a, b []string) (out []string) {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if len(a) > mostDifference || len(b) > mostDifference {
		return []string{fmt.Sprintf("- %d lines", len(a)), fmt.Sprintf("+ %d other lines", len(b))}
	}
	// common[i][j] is the length of the longest common subsequence of a[i:] and b[j:]
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	return out
}

// mockSource is a source of the rows of a test.
type mockSource struct {
	cols []column
	all  []row
}

func (m mockSource) describe() string { return "rows of a test" }

func (m mockSource) open(context.Context) (reading, error) { return &mockReading{mockSource: m}, nil }

type mockReading struct {
	mockSource
	at int
}

func (m *mockReading) columns() []column                    { return m.cols }
func (m *mockReading) identity() string                     { return "" }
func (m *mockReading) from(context.Context, string) error   { return nil }
func (m *mockReading) count(context.Context) (int64, error) { return int64(len(m.all)), nil }
func (m *mockReading) close()                               {}

func (m *mockReading) next() (row, string, error) {
	if m.at == len(m.all) {
		return nil, "", io.EOF
	}
	m.at++
	return m.all[m.at-1], strconv.Itoa(m.at), nil
}
