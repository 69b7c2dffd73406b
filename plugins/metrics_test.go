package plugins

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weir/tests/metricdoc"
)

// made are the metrics that the code makes: by a call that names the metric, or
// as the gauge of a store.
func made(t *testing.T) map[string]metricdoc.Metric {
	t.Helper()
	types := map[string]string{"NewCounter": "counter", "Counter": "counter", "Counters": "counter", "NewGauge": "gauge",
		"NewGaugeCtor": "gauge", "Gauge": "gauge", "Gauges": "gauge",
		"NewTimer": "histogram", "Timer": "histogram", "Hold": "gauge"}
	out := map[string]metricdoc.Metric{}
	all, files := sources(t)
	for _, s := range all {
		if s.test() || strings.HasPrefix(s.path, "tests/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			var kind string
			var texts []string
			switch n := n.(type) {
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
					kind, texts = types[sel.Sel.Name], literals(n.Args)
					how, raw := strings.CutPrefix(sel.Sel.Name, "New")
					if raw && len(texts) == 1 && slices.Contains([]string{"Counter", "Gauge", "Timer"}, how) {
						t.Errorf("%s: %s has no labels: make it with meter.%s, which makes it 0 from the start",
							files.Position(n.Pos()), texts[0], how)
					}
					if sel.Sel.Name == "Counters" || sel.Sel.Name == "Gauges" { // a label, and its values
						texts = texts[:min(2, len(texts))]
					}
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok {
					kind, texts = map[string]string{"Up": "gauge", "Failures": "counter"}[key.Name], literals([]ast.Expr{n.Value})
				}
			}
			for i, text := range texts {
				if kind != "" && strings.HasPrefix(text, "weir_") {
					out[text] = metricdoc.Metric{Type: kind, Labels: texts[i+1:]}
				}
			}
			return true
		})
	}
	if len(out) < 70 {
		t.Fatalf("found only %d metrics", len(out))
	}
	return out
}

func literals(args []ast.Expr) (texts []string) {
	for _, a := range args {
		if lit, ok := a.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				texts = append(texts, text)
			}
		}
	}
	return texts
}

func TestMetrics_TheDocumentIsWhatTheCodeMakes(t *testing.T) {
	documented, err := metricdoc.Read("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	code := made(t)
	for name, m := range code {
		d, ok := documented[name]
		switch {
		case !ok:
			t.Errorf("docs/metrics.md lacks %s, a %s", name, m.Type)
		case d.Type != m.Type || !slices.Equal(d.Labels, m.Labels):
			t.Errorf("docs/metrics.md says %s is a %s with labels %q; it is a %s with %q", name, d.Type, d.Labels, m.Type,
				m.Labels)
		}
	}
	for name, d := range documented {
		if _, ok := code[name]; !ok && !d.Engine {
			t.Errorf("docs/metrics.md has %s, which no code makes", name)
		}
	}
}

// Names say their unit, in base units, and labels come from short lists: what
// devices and tenants are called never is one.
func TestMetrics_NamesAndLabelsAreThoseOfPrometheus(t *testing.T) {
	units := regexp.MustCompile(`_(ns|ms|milliseconds|nanoseconds|minutes|hours|days|kilobytes|megabytes)(_|$)`)
	counts := regexp.MustCompile(`_(records|seconds|bytes|rows|events|jobs|fleets|stores|series|requests|streams|` +
		`duplicates|partitions|results|loaded|second|state|up|valid|info|ratio)$`) // the unit, or the thing that is counted
	unbounded := []string{"device", "device_id", "fleet", "key", "event_id", "user", "url"}
	for name, m := range made(t) {
		if units.MatchString(name) {
			t.Errorf("%s: times are seconds, sizes are bytes", name)
		}
		if total := strings.HasSuffix(name, "_total"); total != (m.Type == "counter") {
			t.Errorf("%s is a %s: counters alone end in _total", name, m.Type)
		}
		if m.Type == "histogram" && !strings.HasSuffix(name, "_seconds") {
			t.Errorf("%s: a timer counts seconds", name)
		}
		if m.Type == "gauge" && !counts.MatchString(name) {
			t.Errorf("%s does not end in its unit", name)
		}
		for _, label := range m.Labels {
			if slices.Contains(unbounded, label) {
				t.Errorf("%s has the label %s, which grows with what is sent", name, label)
			}
		}
	}
}
