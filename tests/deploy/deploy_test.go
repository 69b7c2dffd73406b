// Package deploy tests the files for operating weir (rules, runbooks, dashboards, chart, workflows) against the
// metrics and options that exist.
package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"weir/tests/integration/require"
	"weir/tests/metricdoc"
)

type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../..", path))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(read(t, "deploy/prometheus/weir.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 30 {
		t.Fatalf("found only %d rules", len(all))
	}
	return all
}

// titled is a query of the dashboard with the title of its panel.
type titled struct{ panel, expr string }

func queries(t *testing.T) (all []titled) {
	t.Helper()
	var board struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "deploy/grafana/weir.json"), &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, q := range p.Targets {
			all = append(all, titled{p.Title, q.Expr})
		}
	}
	if len(all) < 20 {
		t.Fatalf("found only %d queries", len(all))
	}
	return all
}

// metrics returns the metric names in a PromQL expression: those of weir, the engine and the recording rules, and the
// alternatives of a matcher on __name__.
func metrics(expr string) (names []string) {
	alternatives := regexp.MustCompile(`__name__=~"([a-z_]*)\(([a-z_|]+)\)([a-z_]*)"`)
	for _, m := range alternatives.FindAllStringSubmatch(expr, -1) {
		for _, each := range strings.Split(m[2], "|") {
			names = append(names, m[1]+each+m[3])
		}
	}
	expr = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(expr, "")
	named := regexp.MustCompile(`\b(weir|input|output|processor|redpanda)[_:][a-z0-9_:]+\b`)
	return append(names, named.FindAllString(expr, -1)...)
}

// matched returns the labels by which an expression selects or groups.
func matched(expr string) (labels []string) {
	for _, m := range regexp.MustCompile(`([a-z_]+) *(?:=~|!~|!=|=)"`).FindAllStringSubmatch(expr, -1) {
		labels = append(labels, m[1])
	}
	for _, m := range regexp.MustCompile(`by \(([a-z_, ]+)\)`).FindAllStringSubmatch(expr, -1) {
		labels = append(labels, strings.Split(m[1], ", ")...)
	}
	return labels
}

// Prometheus' own unit tests of rules pass: each alert fires when it must and does not otherwise.
func TestDeploy_AlertsFireWhenTheyMust(t *testing.T) {
	tool := require.Prometheus(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "--lint=all", "--lint-fatal", "weir.yaml"},
		{"test", "rules", "weir_test.yaml"}} {
		cmd := exec.Command(tool, args...)
		cmd.Dir = "../../deploy/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func TestDeploy_EveryQueryNamesMetricsThatThereAre(t *testing.T) {
	documented, err := metricdoc.Read("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]bool{}
	for _, r := range rules(t) {
		recorded[r.Record] = true
	}
	check := func(where, expr string) {
		labels := map[string]bool{"stream": true, "label": true, "path": true, "instance": true, "job": true,
			"__name__": true}
		for _, name := range metrics(expr) {
			of, histogram := name, false
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				if base := strings.TrimSuffix(name, suffix); documented[base].Type == "histogram" {
					of, histogram = base, true
				}
			}
			m, ok := documented[of]
			if !ok && !recorded[name] {
				t.Errorf("%s: %s is neither in docs/metrics.md nor recorded", where, name)
			}
			if (m.Type == "histogram") != histogram {
				t.Errorf("%s: %s is a histogram: ask for its _bucket, _count or _sum", where, name)
			}
			labels["le"] = labels["le"] || histogram
			for _, l := range m.Labels {
				labels[l] = true
			}
		}
		for _, l := range matched(expr) {
			if !labels[l] {
				t.Errorf("%s: no metric of it has the label %s: %s", where, l, expr)
			}
		}
	}
	for _, r := range rules(t) {
		check(r.Record+r.Alert, r.Expr)
	}
	for _, q := range queries(t) {
		check("panel "+q.panel, q.expr)
	}
	for role, s := range scaled(t) {
		for _, g := range s.Triggers {
			check("scaler of "+role, strings.ReplaceAll(g.Metadata.Query, `namespace="telemetry"`, ""))
		}
	}
}

// Every metric is used by the dashboard, a rule or the scaler, or is listed as a detail in docs/metrics.md.
func TestDeploy_EveryMetricIsWatchedOrADetail(t *testing.T) {
	documented, err := metricdoc.Read("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	watched := map[string]bool{}
	watch := func(expr string) {
		for _, name := range metrics(expr) {
			watched[name] = true
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				watched[strings.TrimSuffix(name, suffix)] = true
			}
		}
	}
	for _, r := range rules(t) {
		watch(r.Expr)
	}
	for _, q := range queries(t) {
		watch(q.expr)
	}
	for _, s := range scaled(t) {
		for _, g := range s.Triggers {
			watch(g.Metadata.Query)
		}
	}
	_, text, found := strings.Cut(string(read(t, "docs/metrics.md")), "\n## Details\n")
	if !found {
		t.Fatal("docs/metrics.md has no section Details")
	}
	details := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(text, -1) {
		details[m[1]] = true
		if _, known := documented[m[1]]; !known {
			t.Errorf("docs/metrics.md names the detail %s, which is in none of its tables", m[1])
		}
	}
	for name := range documented {
		if watched[name] == details[name] {
			t.Errorf("%s is watched by the dashboard, a rule or the scaler: %t, and a detail: %t; expected one", name,
				watched[name], details[name])
		}
	}
}

func TestDeploy_EveryAlertHasItsRunbookAndItsTest(t *testing.T) {
	book, tried := string(read(t, "docs/runbooks.md")), string(read(t, "deploy/prometheus/weir_test.yaml"))
	sections := map[string]string{} // by anchor
	for _, part := range strings.Split(book, "\n### ")[1:] {
		title, text, _ := strings.Cut(part, "\n")
		sections[strings.ToLower(strings.TrimSpace(title))] = text
	}
	used := map[string]bool{}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		anchor, ok := strings.CutPrefix(r.Annotations["runbook_url"], "docs/runbooks.md#")
		used[anchor] = true
		if text := sections[anchor]; !ok || len(text) < 150 || !strings.Contains(text, "Over w") {
			t.Errorf("%s: docs/runbooks.md has no section %q that says what to do, and when it is over", r.Alert, anchor)
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity %q is neither page nor ticket", r.Alert, s)
		}
		for _, how := range []string{" fires", " is quiet"} {
			if !strings.Contains(tried, "name: "+r.Alert+how+"\n") {
				t.Errorf("deploy/prometheus/weir_test.yaml does not try when %s%s", r.Alert, how)
			}
		}
	}
	for anchor := range sections {
		if !used[anchor] {
			t.Errorf("docs/runbooks.md has a section %q that no alert names", anchor)
		}
	}
}
