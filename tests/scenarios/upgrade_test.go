package scenarios

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/tests/integration/require"
)

// landedBefore is the commit of an older weir whose data this weir must take over. Move it forward with each release.
const landedBefore = "0486cca79a543393317fbc0e0c81fb040e393ceb"

// older returns the binary of that weir, built once for all tests.
var older = sync.OnceValues(func() (path string, err error) {
	if path := os.Getenv("WEIR_OLDER_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	dir, err := binary.Folder()
	if err != nil {
		return "", err
	}
	archive, source, path := filepath.Join(dir, "older.tar"), filepath.Join(dir, "older"), filepath.Join(dir, "weir-older")
	tree := exec.Command("git", "-C", repo("."), "archive", "-o", archive, landedBefore)
	if out, err := tree.CombinedOutput(); err != nil {
		return "", fmt.Errorf("there is no commit %s here, as in a clone without history: name an older weir by "+
			"WEIR_OLDER_BINARY: %w\n%s", landedBefore, err, out)
	}
	if err := os.Mkdir(source, 0o700); err != nil {
		return "", err
	}
	unpack := exec.Command("tar", "-x", "-f", archive, "-C", source)
	if out, err := unpack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpacking the older weir: %w\n%s", err, out)
	}
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0") // shares most of the build cache
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the older weir cannot be built here, as where its modules cannot be had: %w\n%s", err, out)
	}
	return path, nil
})

// olderWeir returns the binary that WEIR_OLDER_BINARY names, or else one built from the history.
func olderWeir(t *testing.T) string {
	t.Helper()
	path, err := older()
	if err != nil {
		require.Refused(t, "%v", err)
	}
	return path
}

// The upgrade of docs/upgrade.md on one machine: the older weir is stopped while devices send, and this one goes on
// with its data directory, that is its log, stores, claims, keys and configs.
func TestUpgrade_ThisWeirGoesOnWhereAnOlderOneWas(t *testing.T) {
	t.Parallel()
	old := olderWeir(t)
	s := newSystem(t)
	newer := s.bin
	s.bin = old
	s.start()
	s.ready()
	s.createKey()
	s.bin = newer
	load := []string{"--devices", "40", "--rate", "500", "--events", "5000", "--batch", "20", "--duplicates", "1",
		"--malformed", "1", "--late", "2", "--retry", "--retry-for", "10m", "--timeout", "15s"}

	_, wait := s.fleet(load...)
	taken := func(n int64) func() bool {
		return func() bool { return s.metric("weir_gate_accepted_events_total") > n }
	}
	s.until("the older weir has taken events in", taken(1000))
	s.stop()
	s.start()
	s.ready()
	t.Logf("weir fleet, over a stop:\n%s", wait())
	s.verify(2 * time.Minute)
	s.reconcile()
}

// The rolling upgrade of docs/upgrade.md: the older weir and this one use the same Kafka, PostgreSQL, Redis and S3
// and share the partitions of each group. First devices send to the older gate, then to the newer; in both phases
// each version processes events of the other's gate. In the second phase the older one is stopped under load.
func TestUpgrade_AnOlderWeirSharesTheClusterWithThisOne(t *testing.T) {
	t.Parallel()
	old := olderWeir(t)
	c := newCluster(t)
	newer := c.sys.bin
	c.sys.bin = old
	before := c.run("older", "*")
	before.ready()
	c.sys.bin = newer
	key, err := c.sys.weir("keys", "create", "--fleet", fleetName, "--scope", "ingest,query,operate", "--store", c.control)
	if err != nil {
		t.Fatal(err)
	}
	c.sys.key = strings.TrimSpace(key)
	load := func(to *node, while func()) {
		t.Helper()
		c.sys.addresses[0] = to.ingest
		devices, wait := c.sys.fleet("--devices", "400", "--rate", "800", "--duration", "1h", "--batch", "20",
			"--connections", "8", "--duplicates", "1", "--malformed", "1", "--late", "1", "--retry", "--retry-for", "5m",
			"--timeout", "15s")
		while()
		if err := devices.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		t.Logf("weir fleet, to the %s gate:\n%s", to.name, wait())
	}

	var this *node
	load(before, func() {
		this = c.run("newer", "*") // migrates the stores while the older one runs
		this.ready()
		c.shared()
		c.progress()
	})
	load(this, func() {
		c.progress()
		before.stop()
		c.progress()
	})
	c.prove(this.api, "--owners-changed")
	this.stop()
}

// readers returns the groups that read all partitions of raw-events.
func readers() []string { return []string{"weir-raw", "weir-rollup", "weir-detect", "weir-rules"} }

// shared waits until each group has two members, each with partitions.
func (c *cluster) shared() {
	c.t.Helper()
	admin := c.admin()
	c.sys.until("two versions do not share the groups", func() bool {
		described, err := admin.DescribeGroups(c.t.Context(), readers()...)
		if err != nil || len(described) != len(readers()) {
			return false
		}
		for _, g := range described {
			if g.State != "Stable" || len(g.Members) != 2 {
				return false
			}
			for _, m := range g.Members {
				if assigned, ok := m.Assigned.AsConsumer(); !ok || len(assigned.Topics) == 0 {
					return false
				}
			}
		}
		return true
	})
}

// progress waits until every partition has new records that every group has committed, whichever member owns the
// partition.
func (c *cluster) progress() {
	c.t.Helper()
	admin := c.admin()
	const topic = "raw-events"
	start, err := admin.ListEndOffsets(c.t.Context(), topic)
	if err == nil {
		err = start.Error()
	}
	if err != nil || len(start[topic]) == 0 {
		c.t.Fatalf("reading the ends of %d partitions: %v", len(start[topic]), err)
	}
	c.sys.until("nothing comes in some partition, or some group does not commit it", func() bool {
		lags, err := admin.Lag(c.t.Context(), readers()...)
		if err != nil || lags.Error() != nil || len(lags) == 0 {
			return false
		}
		for _, g := range lags {
			for p, was := range start[topic] {
				if g.Lag[topic][p].Commit.At <= was.Offset {
					return false
				}
			}
		}
		return true
	})
}

func (c *cluster) admin() *kadm.Client {
	c.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.brokers))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return kadm.NewClient(client)
}
