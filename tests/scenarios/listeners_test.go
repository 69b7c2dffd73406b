package scenarios

import (
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/tests/integration/require"
	"weir/tests/integration/secured"
)

// door is an address on which a weir process may listen, as the table of SECURITY.md lists it.
type door struct {
	name, address string
	tls           bool
	stranger      func(t *testing.T, address string) // checks the answers to a client without key or password
}

// Every socket on which 'weir up' listens is in the table, is on loopback, and refuses clients without credentials.
func TestListeners_OfUpAreThoseOfTheTable(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	doors := []door{
		{"ingest", s.addresses[0], false, needsKey("POST /v1/events", "GET /v1/stream")},
		{"api", s.addresses[1], false, needsKey(apiRoutes()...)},
		{"ops", s.addresses[2], false, healthOnly},
		{"broker", s.addresses[3], false, needsPassword},
	}
	for _, d := range doors {
		if at, err := netip.ParseAddrPort(d.address); err != nil || !at.Addr().IsLoopback() {
			t.Errorf("%s is on %s, not on loopback (%v)", d.name, d.address, err)
		}
	}
	guard(t, s.up.Process.Pid, doors)
}

// The shipped cluster profile with other server addresses: the public listeners require a key, and plain HTTP is
// enabled by an explicit setting.
func TestListeners_OfTheClusterProfileAreThoseOfTheTable(t *testing.T) {
	log := secured.Start(t, kfake.NumBrokers(3))
	s := newSystem(t)
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
	port := func(i int) string {
		_, port, err := net.SplitHostPort(s.addresses[i])
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	in := func(name string) string { return filepath.Join(s.data, name) }
	replaced := map[string]string{
		"WEIR_BROKERS": log.Address, "WEIR_RAW_URL": "file://" + in("raw"), "WEIR_DEAD_LETTER_URL": "file://" +
			in("dead-letter"),
		"WEIR_ROLLUP_URL": "sqlite://" + in("rollups.db"), "WEIR_CONTROL_URL": "sqlite://" + in("control.db"),
		"WEIR_SCHEMAS_URL": "sqlite://" + in("control.db"), "WEIR_CLAIMS_URL": "pebble://" + in("claims"),
		"WEIR_SCHEMAS_CACHE": in("schemas"),
		// the host of the profile, and a free port
		"WEIR_INGEST_ADDRESS": ":" + port(0), "WEIR_API_ADDRESS": ":" + port(1), "WEIR_OPS_ADDRESS": ":" + port(2),
	}
	var env strings.Builder
	for _, line := range profile(t) {
		name, value, _ := strings.Cut(line, "=")
		if with, is := replaced[name]; is && strings.HasPrefix(with, ":") {
			host, _, err := net.SplitHostPort(value)
			if err != nil {
				t.Fatal(err)
			}
			value = host + with
		} else if is {
			value = with
		}
		fmt.Fprintf(&env, "%s=%s\n", name, value)
	}
	file := filepath.Join(s.dir, "cluster.env")
	if err := os.WriteFile(file, []byte(env.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"WEIR_INGEST_PLAIN_HTTP", "WEIR_API_PLAIN_HTTP"} {
		if !strings.Contains(env.String(), name+"=true\n") {
			t.Errorf("the profile allows plain HTTP without %s", name)
		}
	}
	streams, err := filepath.Glob(repo("configs/streams/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(s.bin, append([]string{"streams", "-e", file, "-o", repo("configs/service.yaml")}, streams...)...)
	cmd.Dir = repo(".")
	cmd.Env = append(os.Environ(), "WEIR_DATA="+s.data, "WEIR_KAFKA_TLS=true", "WEIR_KAFKA_CA="+log.CAFile,
		"WEIR_KAFKA_SASL=SCRAM-SHA-512", "WEIR_KAFKA_USER="+secured.User, "WEIR_KAFKA_PASSWORD="+secured.Password)
	logged, err := os.Create(filepath.Join(s.dir, "up.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logged.Close()
	cmd.Stdout, cmd.Stderr = logged, logged
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	for _, i := range []int{0, 1, 2} {
		listens(t, "127.0.0.1:"+port(i))
	}
	guard(t, cmd.Process.Pid, []door{
		{"ingest", "0.0.0.0:" + port(0), false, needsKey("POST /v1/events", "GET /v1/stream")},
		{"api", "0.0.0.0:" + port(1), false, needsKey(apiRoutes()...)},
		{"ops", "0.0.0.0:" + port(2), false, healthOnly},
	})
}

// listens waits until an address accepts connections.
func listens(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing listens on %s", address)
		}
	}
}

// guard compares the open sockets of a process with its table and runs the check of each door.
func guard(t *testing.T, pid int, doors []door) {
	t.Helper()
	open := listening(t, pid)
	t.Logf("listens on %s", strings.Join(open, ", "))
	for _, d := range doors {
		i := slices.Index(open, "tcp "+d.address)
		if i < 0 {
			t.Errorf("%s does not listen on %s", d.name, d.address)
			continue
		}
		open = slices.Delete(open, i, i+1)
		at := strings.Replace(d.address, "0.0.0.0", "127.0.0.1", 1)
		if got := speaksTLS(at); got != d.tls {
			t.Errorf("%s speaks TLS: %t, want %t", d.name, got, d.tls)
		}
		d.stranger(t, at)
	}
	for _, unknown := range open {
		t.Errorf("it listens on %s, which no table knows: take it away, or put it into SECURITY.md and here", unknown)
	}
}

// listening returns the sockets on which a process accepts connections or datagrams.
func listening(t *testing.T, pid int) (open []string) {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(links) == 0 {
		require.Missing(t, "this system does not show the sockets of a process (%v)", err)
	}
	own := map[string]bool{}
	for _, link := range links {
		to, err := os.Readlink(link)
		if inode, is := strings.CutPrefix(to, "socket:["); err == nil && is {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		for _, f := range rows(t, pid, table) {
			const listen, unconnected = "0A", "07"
			if len(f) < 10 || !own[f[9]] || f[3] != listen && f[3] != unconnected {
				continue
			}
			open = append(open, strings.TrimSuffix(table, "6")+" "+decoded(t, f[1]))
		}
	}
	for _, f := range rows(t, pid, "unix") {
		if flags := 3; len(f) > 6 && own[f[6]] && f[flags] == "00010000" {
			open = append(open, "unix "+strings.Join(f[7:], " "))
		}
	}
	return open
}

func rows(t *testing.T, pid int, table string) (all [][]string) {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
	if os.IsNotExist(err) {
		return nil // a system without IPv6
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		all = append(all, strings.Fields(line))
	}
	return all[1:]
}

// decoded parses an address of /proc/net: 4-byte words, each in little-endian order. The unspecified address is
// returned as 0.0.0.0, also for IPv6.
func decoded(t *testing.T, s string) string {
	t.Helper()
	host, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(raw)%4 != 0 {
		t.Fatalf("reading the address %q: %v %v", s, err, err2)
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	ip, _ := netip.AddrFromSlice(raw)
	if ip = ip.Unmap(); ip == netip.IPv6Unspecified() {
		ip = netip.IPv4Unspecified()
	}
	return netip.AddrPortFrom(ip, uint16(n)).String()
}

func speaksTLS(address string) bool {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address,
		&tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// apiRoutes returns some routes of each kind; plugins/serve/api tests the scopes of all.
func apiRoutes() []string {
	return []string{"GET /v1/rollups", "GET /v1/events", "GET /v1/devices/pump-1/latest", "GET /v1/keys", "POST /v1/keys",
		"POST /v1/replays",
		"POST /v1/erasures", "GET /v1/audit", "GET /v1/holds", "GET /v1/alerts", "GET /registry/subjects", "PUT /v1/groups/a"}
}

func needsKey(routes ...string) func(*testing.T, string) {
	return func(t *testing.T, address string) {
		t.Helper()
		for _, route := range routes {
			if status := asked(t, address, route); status != http.StatusUnauthorized {
				t.Errorf("%s on %s answers a stranger %d, want 401", route, address, status)
			}
		}
	}
}

// healthOnly checks that the engine's server answers health checks and metrics, and serves neither configs nor debug
// endpoints.
func healthOnly(t *testing.T, address string) {
	t.Helper()
	for route, want := range map[string]int{"GET /ping": 200, "GET /metrics": 200, "GET /streams": 404,
		"POST /streams/x": 404, "PUT /streams/x": 404,
		"GET /debug/config/json": 404, "GET /debug/pprof/heap": 404, "GET /debug/stack": 404,
		"POST /resources/cache/x": 404} {
		if status := asked(t, address, route); status != want {
			t.Errorf("%s on %s answers %d, want %d", route, address, status, want)
		}
	}
}

func asked(t *testing.T, address, route string) int {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func needsPassword(t *testing.T, address string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.RetryTimeout(time.Second), kgo.RecordRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(t.Context()); err == nil {
		t.Errorf("the broker on %s talks to a stranger", address)
	}
}

// A config can run programs, so an endpoint that accepts configs would let any client run programs. No command serves
// such an endpoint.
func TestStreamAPI_IsServedByNoCommand(t *testing.T) {
	s := newSystem(t)
	config := filepath.Join(s.dir, "idle.yaml")
	if err := os.WriteFile(config, []byte("input: {generate: {interval: 1h, mapping: 'root = {}'}}\noutput: {drop: {}}\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"streams", "-o", repo("configs/service.yaml"), config},
		{"streams", "--no-api=false", "-o", repo("configs/service.yaml"), config},
		{"-c", repo("configs/service.yaml"), "streams", config},
		{"run", config},
	} {
		t.Run(strings.Join(args[:2], " "), func(t *testing.T) { refusesConfigs(t, s, args) })
	}
}

func refusesConfigs(t *testing.T, s *system, args []string) {
	address := "127.0.0.1:4195" // the default of `run`
	cmd := exec.Command(s.bin, args...)
	if args[0] != "run" {
		address = s.addresses[2]
		cmd.Env = append(os.Environ(), "WEIR_OPS_ADDRESS="+address)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get("http://" + address + "/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("not ready within a minute")
		}
	}
	proof := filepath.Join(s.dir, "ran")
	for method, path := range map[string]string{http.MethodPost: "/streams/evil", http.MethodGet: "/streams",
		http.MethodPut: "/streams/evil"} {
		body := `{"input":{"generate":{"count":1,"mapping":"root = {}"}},"output":{"file":{"path":"` + proof +
			`","codec":"lines"}}}`
		req, err := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s %s answers %d: %s", method, path, resp.StatusCode, answer)
		}
	}
	time.Sleep(time.Second)
	if _, err := os.Stat(proof); err == nil {
		t.Error("a posted stream was run")
	}
}

// Components that run programs are not available unless WEIR_ALLOW_COMPONENTS names them.
func TestDistribution_LacksWhatRunsPrograms(t *testing.T) {
	s := newSystem(t)
	config := filepath.Join(s.dir, "command.yaml")
	if err := os.WriteFile(config, []byte("pipeline: {processors: [{command: {name: '\"true\"'}}]}\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(s.bin, "lint", config).CombinedOutput(); err == nil {
		t.Errorf("command lints clean: %s", out)
	}
	cmd := exec.Command(s.bin, "lint", config)
	cmd.Env = append(os.Environ(), "WEIR_ALLOW_COMPONENTS=subprocess, command")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("asked for by name, it does not lint: %v\n%s", err, out)
	}
}
