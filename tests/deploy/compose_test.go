package deploy

import (
	"maps"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"weir/tests/integration/require"
)

// In the cluster profile of docker-compose.yml, Prometheus scrapes every weir, loads the rules and sends alerts to
// Alertmanager; Grafana loads the dashboard and queries that Prometheus. Every published port is on loopback, and
// Grafana has a password.
func TestCompose_EveryWeirIsWatched(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Image          string
			Command        any
			Ports, Volumes []string
			Environment    map[string]string
		}
	}
	decode(t, "docker-compose.yml", &compose)
	var weirs []string
	for name, s := range compose.Services {
		if command, is := s.Command.([]any); is && command[0] == "role" {
			weirs = append(weirs, name+":4195")
			if at := s.Environment["WEIR_OPS_ADDRESS"]; at != "0.0.0.0:4195" {
				t.Errorf("%s has its metrics at %s", name, at)
			}
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s is published at %s", name, port)
			}
		}
	}
	slices.Sort(weirs)

	type targets []struct {
		Static []struct{ Targets []string } `yaml:"static_configs"`
	}
	var config struct {
		Rules    []string `yaml:"rule_files"`
		Alerting struct{ Alertmanagers targets }
		Scrape   targets `yaml:"scrape_configs"`
	}
	decode(t, "deploy/prometheus/prometheus.yml", &config)
	asked := slices.Clone(config.Scrape[0].Static[0].Targets)
	slices.Sort(asked)
	if !slices.Equal(asked, weirs) {
		t.Errorf("Prometheus asks\n%v, the profile runs\n%v", asked, weirs)
	}
	if got := config.Alerting.Alertmanagers[0].Static[0].Targets; !slices.Equal(got, []string{"alertmanager:9093"}) {
		t.Errorf("alerts go to %v", got)
	}
	out, err := exec.Command(require.Prometheus(t, "promtool"), "check", "config",
		"../../deploy/prometheus/prometheus.yml").CombinedOutput()
	if err != nil {
		t.Errorf("promtool: %v: %s", err, out)
	}

	var manager struct {
		Route struct {
			Receiver string
			Routes   []struct {
				Receiver string
				Matchers []string
			}
		}
		Receivers []struct{ Name string }
	}
	decode(t, "deploy/prometheus/alertmanager.yml", &manager)
	var receivers []string
	for _, r := range manager.Receivers {
		receivers = append(receivers, r.Name)
	}
	if pages := manager.Route.Routes[0]; !slices.Contains(receivers, pages.Receiver) ||
		!slices.Contains(receivers, manager.Route.Receiver) || pages.Matchers[0] != `severity="page"` {
		t.Errorf("alerts are told to %v, there are %v", manager.Route, receivers)
	}

	var source struct{ Datasources []struct{ Type, URL string } }
	decode(t, "deploy/grafana/provisioning/datasources/prometheus.yaml", &source)
	if got := source.Datasources[0]; got.Type != "prometheus" || got.URL != "http://prometheus:9090" {
		t.Errorf("Grafana asks %v", got)
	}
	var boards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	decode(t, "deploy/grafana/provisioning/dashboards/weir.yaml", &boards)
	mounted := map[string]string{}
	for _, name := range []string{"prometheus", "alertmanager", "grafana"} {
		for _, v := range compose.Services[name].Volumes {
			if from, to, _ := strings.Cut(strings.TrimSuffix(v, ":ro"), ":"); strings.HasPrefix(from, "./") {
				mounted[to] = from
			}
		}
	}
	for to, from := range map[string]string{
		"/etc/prometheus": "./deploy/prometheus", "/etc/alertmanager": "./deploy/prometheus",
		"/etc/grafana/provisioning/datasources":                  "./deploy/grafana/provisioning/datasources",
		"/etc/grafana/provisioning/dashboards":                   "./deploy/grafana/provisioning/dashboards",
		path.Join(boards.Providers[0].Options.Path, "weir.json"): "./deploy/grafana/weir.json",
	} {
		if mounted[to] != from {
			t.Errorf("%s is %q, want %q", to, mounted[to], from)
		}
	}
	if got := compose.Services["grafana"].Environment["GF_SECURITY_ADMIN_PASSWORD"]; got != "${GRAFANA_PASSWORD-}" {
		t.Errorf("Grafana's password is %q", got)
	}
}

// The variables of docker-compose.yml are those of .env.example, and `make .env` generates each password.
func TestCompose_TheExampleHasEveryVariable(t *testing.T) {
	asked, told := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`[^$]\$\{([A-Z0-9_]+)`).FindAllSubmatch(read(t, "docker-compose.yml"), -1) {
		asked[string(m[1])] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z0-9_]+)=(.*)$`).FindAllSubmatch(read(t, ".env.example"), -1) {
		name := string(m[1])
		told[name] = true
		secret := regexp.MustCompile(`PASSWORD|SECRET|TOKEN`).MatchString(name)
		if made := strings.Contains(string(read(t, "Makefile")), name); made != secret || secret && len(m[2]) > 0 {
			t.Errorf("%s is %q, and is made up: %t", name, m[2], made)
		}
	}
	if !maps.Equal(asked, told) {
		t.Errorf("the file asks for\n%v, the example has\n%v", asked, told)
	}
}

func decode(t *testing.T, file string, into any) {
	t.Helper()
	if err := yaml.Unmarshal(read(t, file), into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
