package scenarios

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/tests/integration/built"
	"weir/tests/integration/require"
)

// The cluster profile of docker-compose.yml without containers: each weir service runs as a process with exactly the
// command and environment that docker-compose derives from the file. Only server names, buckets and ports are
// replaced. The test creates the topics, waits for each service's own health check, sends events through both gates,
// runs both proofs, and stops all processes. No process may log a warning or an error on the way.
func TestCompose_TheClusterProfileRunsAsItIsWritten(t *testing.T) {
	p := newComposed(t)
	c := p.c
	topics := p.command("topics", p.services["topics"].Command...)
	if out, err := topics.CombinedOutput(); err != nil {
		t.Fatalf("topics: %v\n%s", err, out)
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(p.services)) {
		if p.services[name].Command[0] == "role" {
			p.start(name)
			names = append(names, name)
		}
	}
	for _, name := range names {
		p.healthy(name)
	}
	key, err := c.sys.weir("keys", "create", "--fleet", fleetName, "--scope", "ingest,query,operate", "--store", c.control)
	if err != nil {
		t.Fatal(err)
	}
	c.sys.key = strings.TrimSpace(key)
	for _, gate := range []string{"ingest-1", "ingest-2"} {
		c.sys.addresses[0] = p.nodes[gate].ingest
		_, wait := c.sys.fleet("--devices", "100", "--rate", "500", "--events", "1500", "--batch", "20", "--duplicates", "1",
			"--malformed", "1", "--late", "1", "--retry", "--retry-for", "5m", "--timeout", "30s")
		t.Logf("weir fleet, to %s:\n%s", gate, wait())
	}
	c.prove(p.nodes["api"].api)
	p.watched(names)

	complaint := regexp.MustCompile(`level=(warning|error|WARN)|^warning:`)
	for _, name := range names { // as docker compose does: all at once
		if err := p.nodes[name].cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatalf("stopping %s: %v", name, err)
		}
	}
	for _, name := range names {
		n := p.nodes[name]
		select {
		case err := <-n.done:
			n.cmd = nil
			if err != nil {
				t.Errorf("%s after SIGTERM: %v", name, err)
			}
		case <-time.After(2 * time.Minute):
			t.Fatalf("%s has not ended two minutes after SIGTERM", name)
		}
		said, err := os.ReadFile(n.log())
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(said)) {
			switch {
			case !complaint.MatchString(line):
			case strings.Contains(line, "deadline exceeded"), strings.Contains(line, "timeout"): // a busy machine, not a fault
				t.Logf("%s found a server slow: %s", name, line)
			default:
				t.Errorf("%s complains in a clean run: %s", name, line)
			}
		}
	}
}

// composed holds the weir services of docker-compose.yml and the processes that run them on the test servers.
type composed struct {
	c        *cluster
	t        *testing.T
	services map[string]composeService
	nodes    map[string]*node
	places   []string // pairs for strings.NewReplacer: a name in the file, and its replacement
}

// composeService is a service with weir's image, as docker-compose resolves it.
type composeService struct {
	Image       string
	Command     []string
	Environment map[string]string
	Healthcheck struct{ Test []string }
}

func newComposed(t *testing.T) *composed {
	t.Helper()
	c := newCluster(t)
	clearTopics(t, c.brokers) // the file's own service creates them
	p := &composed{c: c, t: t, nodes: map[string]*node{}}
	secrets := filepath.Join(c.sys.dir, "compose.env")
	if err := os.WriteFile(secrets, []byte("POSTGRES_PASSWORD=of-postgres\nREDIS_PASSWORD=of-redis\nS3_SECRET="+
		os.Getenv("AWS_SECRET_ACCESS_KEY")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	compose := exec.Command(filepath.Join(filepath.Dir(require.Python(t, repo("."))), "docker-compose"),
		"--env-file", secrets, "--file", repo("docker-compose.yml"), "--profile", "cluster", "config", "--format", "json")
	compose.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.sys.dir} // the shell's override a file's
	raw, err := compose.Output()
	if err != nil {
		t.Fatalf("docker-compose config: %v", err)
	}
	var file struct {
		Services map[string]json.RawMessage
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	p.services = map[string]composeService{}
	for name, raw := range file.Services {
		var s composeService
		switch err := json.Unmarshal(raw, &s); {
		case !strings.HasPrefix(s.Image, "weir:"): // a server
		case err != nil:
			t.Fatalf("service %s: %v", name, err)
		case len(s.Command) > 0: // all but the standalone service
			p.services[name] = s
		}
	}

	postgres, lake := mustParse(t, c.control), mustParse(t, c.raw)
	prefix, _ := strings.CutSuffix(lake.Query().Get("prefix"), "raw/")
	p.places = []string{"kafka:9092", c.brokers, "postgres:5432/weir", postgres.Host + postgres.Path,
		"redis://:of-redis@redis:6379/0", c.claims, "http://s3:7070", lake.Query().Get("endpoint"),
		"s3://weir-raw?", "s3://" + lake.Host + "?prefix=" + url.QueryEscape(prefix+"raw/") + "&",
		"s3://weir-raw/rollups?", "s3://" + lake.Host + "/rollups?prefix=" + url.QueryEscape(prefix+"raw/") + "&",
		"s3://weir-dead-letter?", "s3://" + lake.Host + "?prefix=" + url.QueryEscape(prefix+"dead-letter/") + "&"}
	return p
}

// command returns a weir command in the environment and working directory of a service.
func (p *composed) command(name string, args ...string) *exec.Cmd {
	p.t.Helper()
	places := p.places
	if n := p.nodes[name]; n != nil {
		everywhere := func(address string) string { return strings.Replace(address, "127.0.0.1", "0.0.0.0", 1) }
		places = append(slices.Clone(places), "0.0.0.0:8080", everywhere(n.ingest), "0.0.0.0:8090", everywhere(n.api),
			"0.0.0.0:4195", everywhere(n.ops))
	}
	replace := strings.NewReplacer(places...)
	args = slices.Clone(args)
	for i := range args {
		args[i] = replace.Replace(args[i])
	}
	cmd := exec.Command(p.c.sys.bin, args...)
	cmd.Dir = filepath.Join(p.c.sys.dir, name) // instead of the container's volume
	if err := os.MkdirAll(cmd.Dir, 0o700); err != nil {
		p.t.Fatal(err)
	}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for key, value := range p.services[name].Environment {
		if key == "AWS_ACCESS_KEY_ID" && value == "weir" {
			value = os.Getenv(key)
		}
		cmd.Env = append(cmd.Env, key+"="+replace.Replace(value))
	}
	return cmd
}

func (p *composed) start(name string) {
	p.t.Helper()
	n := &node{c: p.c, name: name}
	built.Addresses(p.t, &n.ingest, &n.api, &n.ops)
	p.nodes[name] = n
	log, err := os.Create(n.log())
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	n.cmd = p.command(name, p.services[name].Command...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	n.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(n.cmd, n.done)
	p.t.Cleanup(func() {
		n.kill()
		if p.t.Failed() {
			p.t.Logf("the end of %s's log:\n%s", name, tail(n.log(), 12))
		}
	})
}

// watched waits until a Prometheus with the shipped config has scraped every weir, and fails if an alert with the
// severity page fires.
func (p *composed) watched(names []string) {
	p.t.Helper()
	config, err := os.ReadFile(repo("deploy/prometheus/prometheus.yml"))
	if err != nil {
		p.t.Fatal(err)
	}
	places := []string{"scrape_interval: 15s, evaluation_interval: 30s", "scrape_interval: 1s, evaluation_interval: 1s"}
	for _, name := range names {
		places = append(places, " "+name+":4195", " "+p.nodes[name].ops)
	}
	by := p.c.sys.prometheusBy(strings.NewReplacer(places...).Replace(string(config)))
	p.c.sys.until("Prometheus has not found each weir up", func() bool {
		return by.answers(fmt.Sprintf(`sum(up{job="weir"}) == %d`, len(names))) && !by.answers(`up{job="weir"} == 0`) &&
			by.answers(`count(weir:request_errors:ratio_rate5m)`) // a recording rule has a value, even if NaN of 0 requests
	})
	if by.answers(`ALERTS{severity="page", alertstate="firing"}`) {
		p.t.Error("a clean run pages somebody")
	}
}

// healthy waits until the service's own health check succeeds with all streams made.
func (p *composed) healthy(name string) {
	p.t.Helper()
	n, test := p.nodes[name], p.services[name].Healthcheck.Test
	if len(test) < 3 || test[0] != "CMD" || test[1] != "weir" {
		p.t.Fatalf("service %s has the health check %q", name, test)
	}
	p.c.sys.until(name+" is not healthy", func() bool {
		select {
		case err := <-n.done:
			n.cmd = nil
			p.t.Fatalf("%s ended by itself: %v", name, err)
		default:
		}
		made := n.made() // read before the check: a check that follows covers every stream
		return p.command(name, test[2:]...).Run() == nil && made
	})
}
