package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"log/slog"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/status"
	"weir/internal/control/streamconf"
	"weir/internal/platform/sqldb"
)

// process is one whose streams are watched as `up` and `role` watch them; the test
// speaks for the engine.
type process struct {
	t      *testing.T
	file   string
	kept   *streamconf.Store
	follow *follow
	watch  *watch
	copies *copies
}

// begin starts a process over the file and the store of another.
func (p process) begin() *process {
	p.t.Helper()
	d := shippedEngine(p.t)
	l := launch{verb: "streams", configs: []string{p.file}, watch: true}
	ctx := context.WithValue(p.t.Context(), roleKey{}, "echo")
	var err error
	if p.follow, err = d.follow(ctx, l, p.t.Output()); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(p.follow.close)
	if p.copies, err = newCopies(os.LookupEnv); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(p.copies.remove)
	checker := d.checker(os.LookupEnv)
	p.watch = newWatch(checker, p.copies, l, p.follow)
	placed := placing{launch: l, copies: p.copies, checker: checker, watch: p.watch, found: p.t.Output()}
	if err := placed.all(); err != nil {
		p.t.Fatal(err)
	}
	return &p
}

// look lets the process look at what is in force, until it has seen it twice.
func (p *process) look() {
	p.follow.asked = time.Time{}
	p.follow.look(p.t.Context(), p.watch.running)
	p.watch.look()
	p.watch.look()
	p.watch.look()
}

// says is what the engine writes into its log.
func (p *process) says(message string) {
	p.t.Helper()
	if err := p.watch.Handle(p.t.Context(), slog.NewRecord(time.Now(), slog.LevelInfo, message, 0)); err != nil {
		p.t.Fatal(err)
	}
}

// is fails unless the engine's copy has a text, and the process says so of itself.
func (p *process) is(has string, want ...status.Config) {
	p.t.Helper()
	path, err := p.copies.path(p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(raw), has) {
		p.t.Errorf("the engine has %q (%v), want %q", raw, err, has)
	}
	got := p.watch.configs()
	if len(got) != len(want) {
		p.t.Fatalf("it says %+v, want %+v", got, want)
	}
	for i, w := range want {
		if g := got[i]; g.Stream != w.Stream || g.Wanted != w.Wanted || g.Running != w.Running ||
			!strings.Contains(g.Problem, w.Problem) || w.Problem == "" && g.Problem != "" {
			p.t.Errorf("it says %+v, want %+v", g, w)
		}
	}
}

func (p *process) put(text string) {
	p.t.Helper()
	v, err := p.kept.Put(p.t.Context(), streamconf.Version{Stream: "echo", Text: text})
	if err == nil {
		_, err = p.kept.Activate(p.t.Context(), "echo", v.Number, "me")
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) back() {
	p.t.Helper()
	if _, err := p.kept.Rollback(p.t.Context(), "echo", "me"); err != nil {
		p.t.Fatal(err)
	}
}

const echoes = "input: { generate: { mapping: 'root = 0' } }\noutput: { drop: {} }\n"

func newProcess(t *testing.T) process {
	dir := t.TempDir()
	control := "sqlite://" + filepath.Join(dir, "control.db")
	t.Setenv(envControl, control)
	db, err := sqldb.Open(t.Context(), control)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p := process{t: t, file: filepath.Join(dir, "echo.yaml")}
	if p.kept, err = streamconf.Open(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.file, []byte("# file\n"+echoes), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// A version in force takes the place of the file; one that is wrong, or that the
// engine cannot start, changes nothing, and is named until it is taken back.
func TestConfigVersions_AWrongOneChangesNothing(t *testing.T) {
	p := newProcess(t).begin()
	p.look()
	p.is("# file")
	p.put("# one\n" + echoes)
	p.look()
	p.is("# one", status.Config{Stream: "echo", Wanted: 1})
	p.says("Updated stream echo config from file.")
	p.is("# one", status.Config{Stream: "echo", Wanted: 1, Running: 1})

	p.put("# two\n" + strings.Replace(echoes, "drop", "dorp", 1))
	p.look()
	p.is("# one", status.Config{Stream: "echo", Wanted: 2, Running: 1, Problem: "dorp"})
	p.back()
	p.look()
	p.is("# one", status.Config{Stream: "echo", Wanted: 1, Running: 1})

	p.put("# three\n" + echoes)
	p.look()
	p.is("# three", status.Config{Stream: "echo", Wanted: 3, Running: 1})
	p.put("# four\n" + echoes)
	p.look() // the engine has not answered yet
	p.is("# three", status.Config{Stream: "echo", Wanted: 4, Running: 1})
	p.says("Failed to apply updated stream echo config: no such cache")
	p.is("# one", status.Config{Stream: "echo", Wanted: 4, Running: 1, Problem: "cannot start it"})
	p.says("Updated stream echo config from file.")
	p.look()
	p.is("# four", status.Config{Stream: "echo", Wanted: 4, Running: 1})
	p.says("Updated stream echo config from file.")

	if err := os.WriteFile(p.file, []byte("# other\n"+echoes), 0o600); err != nil {
		t.Fatal(err)
	}
	p.look() // a version stays in force
	p.is("# four", status.Config{Stream: "echo", Wanted: 4, Running: 4})
	for range 3 { // to three, to one, to the file as it is now
		p.back()
		p.look()
		p.says("Updated stream echo config from file.")
	}
	p.is("# other")
}

// A process begins with what ran last: a version that none has run is tried
// beside the stream that runs; and one that is wrong for it gives way.
func TestConfigVersions_AStartIsWithWhatRan(t *testing.T) {
	p := newProcess(t)
	p.put("# one\n" + echoes)
	first := p.begin()
	first.is("# file", status.Config{Stream: "echo", Wanted: 1})
	first.look()
	first.says("Updated stream echo config from file.")
	first.look() // notes that it ran
	p.begin().is("# one", status.Config{Stream: "echo", Wanted: 1, Running: 1})

	t.Setenv("WEIR_TEST_OUTPUT", "drop")
	p.put("# two\n" + strings.Replace(echoes, "drop", "${WEIR_TEST_OUTPUT}", 1))
	first.look()
	first.says("Updated stream echo config from file.")
	first.look()
	first.is("# two", status.Config{Stream: "echo", Wanted: 2, Running: 2})
	t.Setenv("WEIR_TEST_OUTPUT", "dorp") // of another process
	other := p.begin()
	other.look()
	other.is("# one", status.Config{Stream: "echo", Wanted: 2, Running: 1, Problem: "dorp"})
}

// Metrics tell what is in force, and nothing of what no longer is.
func TestConfigVersions_MetricsTellThem(t *testing.T) {
	m := &gauges{}
	c := &Configs{}
	c.Meter(m)
	f := &follow{meter: c}
	m.is(t, "weir_config_valid 1")
	f.tell([]status.Config{{Stream: "raw", Wanted: 2, Running: 1}})
	m.is(t, "weir_config_valid 0", "weir_config_version_info raw 2 1 1")
	f.tell([]status.Config{{Stream: "raw", Wanted: 2, Running: 2}})
	m.is(t, "weir_config_valid 1", "weir_config_version_info raw 2 2 1")
	f.tell(nil)
	m.is(t, "weir_config_valid 1")
}

func TestDiff_SaysWhatIsOtherwise(t *testing.T) {
	lines := func(of ...string) string { return strings.Join(of, "\n") + "\n" }
	from := lines("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l")
	to := lines("a", "x", "b", "c", "d", "e", "f", "g", "h", "i", "j", "K", "l")
	want := lines("--- old", "+++ new", " a", "+x", " b", " c", " d", "@@", " h", " i", " j", "-k", "+K", " l")
	if got := diff("old", "new", from, to); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := diff("old", "new", from, from); got != "" {
		t.Errorf("of the same: %q", got)
	}
	if got := diff("old", "new", "", lines("a")); got != lines("--- old", "+++ new", "+a") {
		t.Errorf("of nothing: %q", got)
	}
}

// gauges are the metrics of a process.
type gauges struct {
	service.MetricsExporter
	set map[string]string
}

type gauge struct{ set func(int64) }

func (g gauge) Set(n int64) { g.set(n) }

func (m *gauges) NewGaugeCtor(name string, _ ...string) service.MetricsExporterGaugeCtor {
	return func(values ...string) service.MetricsExporterGauge {
		return gauge{func(n int64) {
			if m.set == nil {
				m.set = map[string]string{}
			}
			series := strings.Join(append([]string{name}, values...), " ")
			m.set[series] = series + " " + string(rune('0'+n))
		}}
	}
}

func (m *gauges) DeleteSeriesPartialMatch(labels map[string]string) {
	for series := range m.set {
		if strings.HasPrefix(series, "weir_config_version_info "+labels["config"]) {
			delete(m.set, series)
		}
	}
}

func (m *gauges) is(t *testing.T, want ...string) {
	t.Helper()
	if len(m.set) != len(want) {
		t.Errorf("told %v, want %q", m.set, want)
	}
	for _, w := range want {
		if m.set[w[:strings.LastIndex(w, " ")]] != w {
			t.Errorf("told %v, want %q", m.set, want)
		}
	}
}
