package scenarios

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// All streams run in one process, as configs/cluster.env describes, sometimes with a second process in the same
// consumer groups. One fault at a time is injected while a fleet sends. After each, reconcile explains every record,
// and the rollups equal what the fleet's journals say.
func TestFaults_EachFailureLeavesEveryEventStoredAndCountedOnce(t *testing.T) {
	c := newCluster(t)
	one := c.run("one", "*") // reaches Kafka through the proxy, which can cut it off
	one.ready()
	c.sys.addresses[0], c.sys.addresses[1] = one.ingest, one.api
	key, err := c.sys.weir("keys", "create", "--fleet", fleetName, "--scope", "ingest,query,operate", "--store", c.control)
	if err != nil {
		t.Fatal(err)
	}
	c.sys.key = strings.TrimSpace(key)

	const outage = 4 * time.Second
	standStill := func(name string) func() {
		return func() { c.server("pause", name); time.Sleep(outage); c.server("resume", name) }
	}
	killAndStart := func(name string) func() {
		return func() { c.server("crash", name); time.Sleep(outage); c.server("revive", name) }
	}
	cut := func(p *proxy) func() { return func() { p.cut(); time.Sleep(outage); p.heal() } }

	var excused []string // deviations that the design allows after a fault; readers correct them
	for _, failure := range []struct {
		name string
		of   func()
	}{
		{"the process is killed", func() { one.kill(); one.start(); one.ready() }},
		{"Kafka is cut off from the process", cut(c.kafka)},
		{"Kafka is killed", killAndStart("kafka")},
		{"PostgreSQL stands still", standStill("postgres")},
		{"PostgreSQL is killed", killAndStart("postgres")},
		{"S3 stands still", standStill("s3")},
		{"S3 is killed", killAndStart("s3")},
		{"Redis stands still", func() { excused = append(excused, "--claims-lost"); standStill("redis")() }},
		{"Redis is killed, and has forgotten every claim", killAndStart("redis")},
		{"another process joins, and leaves in order", func() {
			excused = append(excused, "--owners-changed")
			two := c.run("two", "*")
			two.ready()
			time.Sleep(outage)
			two.stop()
		}},
		{"another process joins, and is killed", func() {
			two := c.run("two", "*")
			two.ready()
			time.Sleep(outage)
			two.kill()
		}},
	} {
		survived := t.Run(failure.name, func(t *testing.T) {
			c.t, c.sys.t = t, t
			defer func(began time.Time) { t.Logf("%.0f s", time.Since(began).Seconds()) }(time.Now())
			devices, wait := c.sys.fleet("--devices", "200", "--rate", "500", "--duration", "1h", "--batch", "20",
				"--connections", "8",
				"--duplicates", "1", "--malformed", "1", "--late", "1", "--clock-ahead", "1", "--retry", "--retry-for", "5m",
				"--timeout", "10s")
			time.Sleep(2 * time.Second)
			failure.of()
			time.Sleep(5 * time.Second) // refused devices have retried by then
			if err := devices.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			t.Logf("weir fleet:\n%s", wait())
			c.prove("", excused...)
		})
		c.t, c.sys.t = t, t
		if !survived {
			t.Fatalf("after %q nothing that follows would prove anything", failure.name)
		}
	}
	c.prove(one.api, excused...)
}

// prove runs weir reconcile, and verify.py with the journals. Given an API address, it also compares the API's
// answers and reads every stored row (--deep).
func (c *cluster) prove(api string, excused ...string) {
	c.t.Helper()
	reconcile := []string{"reconcile", "--brokers", c.brokers, "--raw", c.raw, "--dead-letter", c.deadLetter, "--wait",
		"60s"}
	if api != "" { // the last call of a test
		reconcile = append(reconcile, "--deep")
	}
	out, err := c.sys.weir(reconcile...)
	if err != nil {
		c.t.Fatalf("weir reconcile:\n%s\n%v", out, err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	c.t.Logf("weir reconcile:\n%s\n%s", lines[0], strings.Join(lines[max(len(lines)-2, 0):], "\n"))
	stores := []string{"--raw", c.raw, "--dead-letters", c.deadLetter, "--rollups", c.rollups}
	c.sys.verifyStores(60*time.Second, api, nil, append(stores, excused...)...)
}
