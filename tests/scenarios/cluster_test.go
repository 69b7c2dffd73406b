package scenarios

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/tests/integration/require"
)

// The shipped stream configs against Kafka, PostgreSQL, Redis and S3, each stream in processes of its own. While a
// fleet sends, each store is cut off for a while and then slow for a while, ingest loses its connection to Kafka,
// Kafka is paused, and consumers join, leave and are killed.
func TestCluster_LosesNothingInOutagesAndRebalances(t *testing.T) {
	c := newCluster(t)
	ingest := c.run("ingest", "ingest")
	api := c.run("api", "api")
	raw := []*node{c.run("raw-1", "raw"), c.run("raw-2", "raw")}
	rollup := []*node{c.run("rollup-1", "rollup"), c.run("rollup-2", "rollup")}
	c.run("dead-letter-1", "dead_letter")
	for _, n := range []*node{ingest, api, raw[0], raw[1], rollup[0], rollup[1]} {
		n.ready()
	}
	c.sys.addresses[0], c.sys.addresses[1] = ingest.ingest, api.api
	key, err := c.sys.weir("keys", "create", "--fleet", fleetName, "--scope", "ingest,query,operate", "--store", c.control)
	if err != nil {
		t.Fatal(err)
	}
	c.sys.key = strings.TrimSpace(key)
	devices, wait := c.sys.fleet("--devices", "300", "--rate", "1000", "--duration", "1h", "--batch", "20",
		"--connections", "16",
		"--duplicates", "1", "--malformed", "1", "--late", "2", "--clock-ahead", "1", "--retry", "--retry-for", "30m",
		"--timeout", "15s")

	pause := func(d time.Duration) { time.Sleep(d) }
	pause(4 * time.Second)
	for _, p := range []*proxy{c.redis, c.postgres, c.s3, c.kafka} {
		p.cut()
		pause(4 * time.Second)
		p.heal()
		pause(2 * time.Second)
	}
	for _, p := range []*proxy{c.redis, c.postgres, c.s3} {
		p.slowDown(400 * time.Millisecond)
	}
	pause(5 * time.Second)
	for _, p := range []*proxy{c.redis, c.postgres, c.s3} {
		p.slowDown(0)
	}
	raw[0].kill() // the other takes over its partitions
	rollup[0].kill()
	pause(3 * time.Second)
	raw[0].start()
	rollup[0].start()
	c.run("rollup-3", "rollup").ready() // a third member joins, then leaves by a clean stop
	pause(3 * time.Second)
	c.nodes["rollup-3"].stop()
	c.stopKafka(4 * time.Second)
	ingest.kill()
	pause(time.Second)
	ingest.start()
	ingest.ready()
	pause(4 * time.Second)

	if err := devices.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	t.Logf("weir fleet:\n%s", wait())
	for call, of := range map[string]*node{`call="put",store="s3"`: raw[1], `call="claim",store="redis"`: raw[1],
		`call="commit",store="postgres"`: rollup[1], `call="read",store="postgres"`: api} {
		if !of.serves("weir_store_call_seconds_count{" + call + "} ") {
			t.Errorf("%s tells of no call with %s", of.name, call)
		}
	}
	c.sys.verifyStores(3*time.Minute, api.api, nil, "--raw", c.raw, "--dead-letters", c.deadLetter, "--rollups", c.rollups,
		"--claims-lost", "--owners-changed")
	out, err := c.sys.weir("reconcile", "--brokers", c.brokers, "--raw", c.raw, "--dead-letter", c.deadLetter, "--wait",
		"60s", "--deep")
	t.Logf("weir reconcile:\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// cluster is weir on real servers; those that a test cuts off are behind proxies.
type cluster struct {
	t                        *testing.T
	sys                      *system // the binary, the scratch folder and the journals
	brokers                  string
	redis, postgres, s3      *proxy
	kafka                    *proxy // between ingest and the broker
	control, rollups, claims string
	raw, deadLetter          string
	nodes                    map[string]*node
}

func newCluster(t *testing.T) *cluster {
	brokers := require.Env(t, "WEIR_TEST_KAFKA_BROKERS")
	postgres := mustParse(t, require.Env(t, "WEIR_TEST_POSTGRES_URL"))
	claims := mustParse(t, require.Env(t, "WEIR_TEST_REDIS_URL"))
	s3 := mustParse(t, require.Env(t, "WEIR_TEST_S3_URL"))
	c := &cluster{t: t, sys: newSystem(t), brokers: brokers, nodes: map[string]*node{}}
	clearTopics(t, brokers)
	out, err := c.sys.weir("topics", "create", "--brokers", brokers, "--replicas", "1")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("weir topics create:\n%s", out)
	c.kafka = newProxyAt(t, require.Env(t, "WEIR_TEST_KAFKA_PROXY"), require.Env(t, "WEIR_TEST_KAFKA_BEHIND"))

	name := fmt.Sprintf("scenario_%d", time.Now().UnixNano())
	createDatabase(t, postgres.String(), name)
	c.postgres = newProxy(t, postgres.Host)
	postgres.Host, postgres.Path = c.postgres.addr, "/"+name
	c.control, c.rollups = postgres.String(), postgres.String()

	c.redis = newProxy(t, claims.Host)
	claims.Host, claims.Path = c.redis.addr, "/7"
	c.claims = claims.String()
	flush(t, c.claims)

	query := s3.Query()
	endpoint := mustParse(t, query.Get("endpoint"))
	c.s3 = newProxy(t, endpoint.Host)
	endpoint.Host = c.s3.addr
	query.Set("endpoint", endpoint.String())
	lake := func(folder string) string {
		query.Set("prefix", name+"/"+folder+"/")
		return "s3://" + s3.Host + "?" + query.Encode()
	}
	c.raw, c.deadLetter = lake("raw"), lake("dead-letter")
	return c
}

func mustParse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// clearTopics deletes the topics and consumer groups that an earlier test left, and waits until they are gone.
func clearTopics(t *testing.T, brokers string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	names := []string{"raw-events", "replay-events", "dead-letter", "alert-events"}
	if _, err := admin.DeleteTopics(ctx, names...); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := admin.DeleteGroups(ctx, "weir-raw", "weir-rollup", "weir-detect", "weir-rules", "weir-dead-letter",
			"weir-spillway", "weir-notify")
		if err == nil {
			break
		}
		if ctx.Err() != nil { // a broker that has just started has no group coordinator yet
			t.Fatalf("deleting consumer groups: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for {
		left, err := admin.ListTopics(ctx)
		if err == nil && !slices.ContainsFunc(names, left.Has) {
			return
		}
		if ctx.Err() != nil { // deletion is asynchronous
			t.Fatalf("the topics are still there after their deletion: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func createDatabase(t *testing.T, at, name string) {
	t.Helper()
	db, err := sql.Open("pgx", at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("dropping database %s: %v", name, err)
		}
		db.Close()
	})
}

func flush(t *testing.T, at string) {
	t.Helper()
	client, err := redis.DialURL(at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Do("FLUSHDB"); err != nil {
		t.Fatal(err)
	}
}

// stopKafka pauses the broker (SIGSTOP) for d; its connections stay open.
func (c *cluster) stopKafka(d time.Duration) {
	c.t.Helper()
	c.server("pause", "kafka")
	time.Sleep(d)
	c.server("resume", "kafka")
}

// server runs tests/integration/servers.sh VERB NAME.
func (c *cluster) server(verb, name string) {
	c.t.Helper()
	cmd := exec.Command(repo("tests/integration/servers.sh"), verb, name)
	cmd.Env = append(os.Environ(), "WEIR_TEST_DIR="+require.Env(c.t, "WEIR_TEST_DIR"))
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%s %s: %v\n%s", verb, name, err, out)
	}
}
