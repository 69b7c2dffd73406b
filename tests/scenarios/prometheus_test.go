package scenarios

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/require"
)

// prometheus is a running Prometheus server.
type prometheus struct {
	t       *testing.T
	address string
	log     string
}

func (s *system) prometheus() *prometheus {
	s.t.Helper()
	return s.prometheusBy(fmt.Sprintf("global: { scrape_interval: 1s, evaluation_interval: 1s }\n"+
		"rule_files: [weir.yaml]\n"+
		"scrape_configs: [{ job_name: weir, static_configs: [{ targets: [%q] }] }]\n", s.addresses[2]))
}

// prometheusBy starts Prometheus with a config and weir's shipped rules, evaluated every second.
func (s *system) prometheusBy(config string) *prometheus {
	s.t.Helper()
	tool := require.Prometheus(s.t, "prometheus")
	rules, err := os.ReadFile(repo("deploy/prometheus/weir.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	p := &prometheus{t: s.t, address: l.Addr().String(), log: filepath.Join(s.dir, "prometheus.log")}
	l.Close()
	for name, text := range map[string]string{
		"weir.yaml":      strings.ReplaceAll(string(rules), "interval: 30s", "interval: 1s"),
		"prometheus.yml": config,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	log, err := os.Create(p.log)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(tool, "--config.file=prometheus.yml", "--storage.tsdb.path=prometheus",
		"--web.listen-address="+p.address)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
		if s.t.Failed() {
			s.t.Logf("the end of Prometheus' log:\n%s", tail(p.log, 20))
		}
	})
	return p
}

// get reads an answer of Prometheus' API and reports whether there was one.
func (p *prometheus) get(path string, into any) bool {
	p.t.Helper()
	resp, err := http.Get("http://" + p.address + "/api/v1/" + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(into) == nil
}

// answers reports whether a query has a result other than NaN.
func (p *prometheus) answers(query string) bool {
	p.t.Helper()
	var a struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if !p.get("query?query="+url.QueryEscape(query), &a) {
		return false
	}
	for _, r := range a.Data.Result {
		if r.Value[1] != "NaN" {
			return true
		}
	}
	return false
}

// onceARule is a rule with a result every second, so that the metrics of rules have values.
const onceARule = `
rules:
  - name: seconds
    from: raw-events
    window: { type: tumbling, size: 1s, allowed_lateness: 0s }
    key: [device_id]
    select: { n: count() }
`

// A real Prometheus scrapes weir under load: every query of the dashboard, every recording rule and every series that
// an alert selects has a value, every rule can be evaluated, and no alert with the severity page fires.
func TestPrometheus_EveryQueryOfTheDashboardAnswers(t *testing.T) {
	raw, err := os.ReadFile(repo("deploy/grafana/weir.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &board); err != nil {
		t.Fatal(err)
	}
	s := newSystem(t)
	s.env = []string{"WEIR_RECONCILE_INTERVAL=5s", "WEIR_RETENTION_INTERVAL=5s"}
	s.start()
	s.ready()
	s.createKey()
	p := s.prometheus()
	s.until("Prometheus has not asked weir", func() bool { return p.answers("weir_alert_freshness_seconds_count") })
	s.rules("put", s.file("rules.yaml", onceARule), "--activate")
	s.alarm(s.key, "low-1", time.Now())
	_, wait := s.fleet("--devices", "50", "--rate", "200", "--duration", "15s", "--malformed", "2", "--duplicates", "2")
	wait()
	asked := 0
	for _, panel := range board.Panels {
		for _, q := range panel.Targets {
			asked++
			query := strings.ReplaceAll(q.Expr, "$__rate_interval", "5m")
			s.until(fmt.Sprintf("panel %q has no data: %s", panel.Title, query), func() bool { return p.answers(query) })
		}
	}
	if asked < 60 {
		t.Errorf("only %d queries were asked", asked)
	}
	var r struct {
		Data struct {
			Groups []struct {
				Rules []struct {
					Name, Query, Type, Health, LastError, State string
					Labels                                      map[string]string
				}
			}
		}
	}
	rules := 0
	s.until("rules were not evaluated", func() bool {
		rules = 0
		if !p.get("rules", &r) {
			return false
		}
		for _, g := range r.Data.Groups {
			for _, rule := range g.Rules {
				rules++
				if rule.Health == "unknown" {
					return false
				}
			}
		}
		return rules > 30
	})
	selector := regexp.MustCompile(`\b(?:up|(?:weir|input|output|processor|process|redpanda)[_:][a-z0-9_:]+)\b(?:\{[^}]*\})?|\{[^}]*\}`)
	for _, g := range r.Data.Groups {
		for _, rule := range g.Rules {
			if rule.Type == "recording" {
				s.until(rule.Name+" has no value", func() bool { return p.answers(rule.Name) })
			}
			for _, of := range selector.FindAllString(rule.Query, -1) {
				s.until(rule.Name+" asks for what is not there: "+of, func() bool { return p.answers(of) })
			}
			if rule.Health != "ok" || rule.State == "firing" && rule.Labels["severity"] == "page" {
				t.Errorf("%s is %s %s: %s", rule.Name, rule.Health, rule.State, rule.LastError)
			}
		}
	}
}
