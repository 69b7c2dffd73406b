// Package scenarios runs the built weir as its users do and checks the result with tests/verify, which shares no code
// with it. Both sides have only the simulator's journal in common.
//
// Tests that wait more than they compute run in parallel (t.Parallel): each has its own data directory and addresses,
// stops no server that others use, and measures no speed. Those that stop servers are in the list lone of tests/run.sh.
package scenarios

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/cli"
	"weir/internal/platform/kafka"
	"weir/tests/integration/built"
	"weir/tests/integration/require"
)

var binary built.Weir

func TestMain(m *testing.M) { binary.Main(m) }

// system is a data directory and the 'weir up' that may run on it.
type system struct {
	t         *testing.T
	bin       string
	dir       string // scratch
	data      string
	addresses [4]string // ingest, API, ops, broker
	key       string
	journals  []string // one for each fleet so far
	up        *exec.Cmd
	done      chan error // gets the result of up, and is closed then
	env       []string
}

const fleetName = "plant-7"

func newSystem(t *testing.T) *system {
	t.Helper()
	if testing.Short() {
		require.Missing(t, "scenarios run whole processes: they are no short tests")
	}
	s := &system{t: t, bin: binary.Path(t), dir: t.TempDir()}
	s.data = filepath.Join(s.dir, "data")
	built.Addresses(t, &s.addresses[0], &s.addresses[1], &s.addresses[2], &s.addresses[3])
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the end of weir's log:\n%s", tail(filepath.Join(s.dir, "up.log"), 20))
			t.Logf("its warnings and errors:\n%s", complaints(filepath.Join(s.dir, "up.log"), 60))
		}
	})
	return s
}

// freeAddress returns a free address on loopback.
func freeAddress(t *testing.T) (free string) {
	t.Helper()
	built.Addresses(t, &free)
	return free
}

// start starts 'weir up' without waiting until it is ready.
func (s *system) start() {
	s.t.Helper()
	logFile, err := os.OpenFile(filepath.Join(s.dir, "up.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer logFile.Close()
	s.up = exec.Command(s.bin, "up", "--data", s.data, "--ingest", s.addresses[0], "--api", s.addresses[1],
		"--ops", s.addresses[2], "--broker", s.addresses[3])
	s.up.Dir = s.dir // outside a checkout: the built-in configs are used
	s.up.Env = append(os.Environ(), s.env...)
	s.up.Stdout, s.up.Stderr = logFile, logFile
	if err := s.up.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan error, 1)
	go func(up *exec.Cmd, done chan error) { done <- up.Wait(); close(done) }(s.up, s.done)
}

// ready waits until weir is ready and its gate accepts connections.
func (s *system) ready() {
	s.t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for time.Now().Before(deadline) {
		select {
		case err := <-s.done:
			s.up = nil
			s.t.Fatalf("weir up ended by itself: %v", err)
		default:
		}
		if resp, err := http.Get("http://" + s.addresses[2] + "/ready"); err == nil {
			resp.Body.Close()
			if conn, err := net.Dial("tcp", s.addresses[0]); err == nil && resp.StatusCode == 200 {
				conn.Close()
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatal("weir up was not ready after three minutes")
}

// brokerOptions returns the options of a client of the embedded broker, with the password of the data directory.
func (s *system) brokerOptions() []kgo.Opt {
	s.t.Helper()
	login, err := cli.DataDir(s.data).BrokerLogin()
	if err != nil {
		s.t.Fatal(err)
	}
	log, err := kafka.New([]string{s.addresses[3]}, nil, login)
	if err != nil {
		s.t.Fatal(err)
	}
	return log.Options("scenario")
}

// createKey creates the key that fleets use. weir must be running.
func (s *system) createKey() {
	s.t.Helper()
	out, err := s.weir("keys", "create", "--fleet", fleetName, "--scope", "ingest,query,operate", "--data", s.data)
	if err != nil {
		s.t.Fatalf("creating a key: %v", err)
	}
	s.key = strings.TrimSpace(out)
}

// stop ends weir with SIGTERM and expects it to drain and exit with 0 within a minute.
func (s *system) stop() {
	s.t.Helper()
	if err := s.up.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatalf("stopping weir: %v", err)
	}
	select {
	case err := <-s.done:
		if err != nil {
			s.t.Fatalf("weir up after SIGTERM: %v", err)
		}
	case <-time.After(60 * time.Second):
		s.t.Fatal("weir up did not end within a minute after SIGTERM")
	}
	s.up = nil
}

// kill ends weir with SIGKILL.
func (s *system) kill() {
	if s.up == nil {
		return
	}
	_ = s.up.Process.Kill() // it may have ended already
	<-s.done
	s.up = nil
}

// weir runs a command and returns its standard output; an error includes both outputs.
func (s *system) weir(args ...string) (string, error) {
	cmd := exec.Command(s.bin, args...)
	cmd.Dir = s.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("weir %s: %w\n%s%s", args[0], err, out.String(), errs.String())
	}
	return out.String(), err
}

// fleet starts the simulator with a journal of its own. The function it returns waits for the end and fails the test
// if the gate broke its contract.
func (s *system) fleet(args ...string) (cmd *exec.Cmd, wait func() string) {
	s.t.Helper()
	journal := filepath.Join(s.dir, fmt.Sprintf("journal-%d.jsonl", len(s.journals)+1))
	s.journals = append(s.journals, journal)
	cmd = exec.Command(s.bin, append([]string{"fleet", "--url", "http://" + s.addresses[0], "--journal", journal,
		"--quiet"}, args...)...)
	cmd.Env = append(os.Environ(), "WEIR_KEY="+s.key)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := false
	s.t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd, func() string {
		s.t.Helper()
		err := cmd.Wait()
		ended = true
		if err != nil {
			s.t.Fatalf("weir fleet: %v\n%s", err, out.String())
		}
		return out.String()
	}
}

// verify runs tests/verify, which waits up to wait until the stores hold everything. If weir runs, it also compares
// the API's rollups.
func (s *system) verify(wait time.Duration) {
	s.t.Helper()
	api := ""
	if s.up != nil { // the API's rollups are compared too
		api = s.addresses[1]
	}
	writeRollups(s.t, filepath.Join(s.data, "rollups.db")) // a kill leaves rows in the journal
	s.verifyStores(wait, api, nil, "--data", s.data)
}

func (s *system) verifyStores(wait time.Duration, api string, env []string, stores ...string) {
	s.t.Helper()
	python, err := exec.Command(repo("tests/integration/venv.sh")).Output()
	if err != nil {
		s.t.Fatalf("making the Python environment: %v", err)
	}
	cmd := exec.Command(strings.TrimSpace(string(python)), append([]string{"-B", repo("tests/verify/verify.py"),
		"--fleet", fleetName, "--wait", fmt.Sprint(wait.Seconds())}, stores...)...)
	for _, journal := range s.journals {
		cmd.Args = append(cmd.Args, "--journal", journal)
	}
	if api != "" {
		cmd.Args = append(cmd.Args, "--api", "http://"+api)
	}
	cmd.Env = append(append(os.Environ(), env...), "WEIR_KEY="+s.key)
	out, err := cmd.CombinedOutput()
	s.t.Logf("%s", out)
	if err != nil {
		s.t.Fatalf("the check from the journal: %v", err)
	}
}

// reconcile runs weir reconcile, which must explain every offset.
func (s *system) reconcile() {
	s.t.Helper()
	out, err := s.weir("reconcile", "--data", s.data, "--wait", "60s", "--deep")
	s.t.Logf("weir reconcile:\n%s", out)
	if err != nil {
		s.t.Fatal(err)
	}
}

func repo(path string) string {
	abs, err := filepath.Abs(filepath.Join("..", "..", path))
	if err != nil {
		panic(err)
	}
	return abs
}

func tail(path string, lines int) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(string(raw), "\n")
	return strings.Join(all[max(len(all)-lines, 0):], "\n")
}

// complaints returns the last lines of a log above the level info.
func complaints(path string, lines int) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	var found []string
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, "level=") && !strings.Contains(line, "level=info") &&
			!strings.Contains(line, "Kafka broker read failed") {
			found = append(found, line)
		}
	}
	return strings.Join(found[max(len(found)-lines, 0):], "")
}
