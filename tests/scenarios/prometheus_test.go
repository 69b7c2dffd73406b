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

	"weir/tests/integration/require"
)

// prometheus scrapes weir once a second, with the rules that weir ships.
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

// prometheusBy goes by a config of its own.
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

// get asks Prometheus, and tells whether it answered.
func (p *prometheus) get(path string, into any) bool {
	p.t.Helper()
	resp, err := http.Get("http://" + p.address + "/api/v1/" + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(into) == nil
}

// answers tells whether a query has a result.
func (p *prometheus) answers(query string) bool {
	p.t.Helper()
	var a struct {
		Data struct{ Result []json.RawMessage }
	}
	return p.get("query?query="+url.QueryEscape(query), &a) && len(a.Data.Result) > 0
}

// A real Prometheus scrapes a weir under load: every query of the dashboard has
// an answer, every rule can be evaluated, and no alert of a page is on.
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
	// There are no servers here, no rules and no alerts.
	absent := regexp.MustCompile(`weir_(store_call|rules_freshness|alert_freshness)_`)
	_, wait := s.fleet("--devices", "50", "--rate", "200", "--duration", "15s", "--malformed", "2", "--duplicates", "2")
	wait()
	asked := 0
	for _, panel := range board.Panels {
		for _, q := range panel.Targets {
			if absent.MatchString(q.Expr) {
				continue
			}
			asked++
			query := strings.ReplaceAll(q.Expr, "$__rate_interval", "5m")
			s.until(fmt.Sprintf("panel %q has no data: %s", panel.Title, query), func() bool { return p.answers(query) })
		}
	}
	if asked < 30 {
		t.Errorf("only %d queries were asked", asked)
	}
	var r struct {
		Data struct {
			Groups []struct {
				Rules []struct {
					Name, Health, LastError, State string
					Labels                         map[string]string
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
	for _, g := range r.Data.Groups {
		for _, rule := range g.Rules {
			if rule.Health != "ok" || rule.State == "firing" && rule.Labels["severity"] == "page" {
				t.Errorf("%s is %s %s: %s", rule.Name, rule.Health, rule.State, rule.LastError)
			}
		}
	}
}
