package scenarios

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/require"
)

// deploy/etl/native.sh starts the servers of the etl profile of docker-compose.yml within five minutes, and the
// commands that it prints bring rows of PostgreSQL, MariaDB and Kafka into S3. No generated password appears in its
// output, in a process list or in the output of a pipeline.
func TestETL_TheServersToTryPipelinesOn(t *testing.T) {
	t.Parallel()
	require.Env(t, "WEIR_TEST_KAFKA_BROKERS") // set only where the servers are installed
	require.Python(t, repo("."))
	s := newSystem(t)
	dir, secrets := filepath.Join(s.dir, "to try"), filepath.Join(s.dir, ".env")
	example, err := os.ReadFile(repo(".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	const password = "ofthetest"
	made := regexp.MustCompile(`(?m)^(\w*(?:PASSWORD|SECRET|TOKEN))=$`).ReplaceAll(example, []byte("$1="+password))
	if err := os.WriteFile(secrets, made, 0o600); err != nil {
		t.Fatal(err)
	}
	native := func(args ...string) *exec.Cmd {
		cmd := exec.Command(repo("deploy/etl/native.sh"), args...)
		cmd.Env = append(os.Environ(), "WEIR_ETL_DIR="+dir, "WEIR_ETL_SECRETS="+secrets, "WEIR_BINARY="+s.bin)
		return cmd
	}
	t.Cleanup(func() {
		if out, err := native("stop").CombinedOutput(); err != nil {
			t.Errorf("stopping: %v\n%s", err, out)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("something of it is left: %v", err)
		}
	})
	began := time.Now()
	start := native("start")
	var said, log bytes.Buffer
	start.Stdout, start.Stderr = &said, &log
	if err := start.Run(); err != nil {
		t.Fatalf("starting: %v\n%s", err, log.String())
	}
	took := time.Since(began).Round(time.Second)
	if t.Logf("ready after %s", took); took > 5*time.Minute {
		t.Errorf("it takes %s to start", took)
	}
	again, err := native("start").Output()
	if err != nil || string(again) != said.String() {
		t.Errorf("started again it prints %s, %v", again, err)
	}
	for _, text := range []string{said.String(), log.String()} {
		if strings.Contains(text, password) {
			t.Errorf("a password is shown:\n%s", text)
		}
	}
	shown, err := exec.Command("ps", "-eo", "args").Output()
	if err != nil || strings.Contains(string(shown), password) {
		t.Errorf("a command line shows a password: %v", err)
	}
	wants := []string{"10000 read, 0 filtered, 0 dropped, 200 rejected, 9800 written", "400 read",
		"6000 read, 0 filtered, 0 dropped, 60 rejected, 5940 written", "every row is accounted for"}
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	if len(lines) != len(wants)+1 {
		t.Fatalf("it prints\n%s", said.String())
	}
	for i, line := range lines[1:] {
		cmd := exec.Command("bash", "-c", lines[0]+"\n"+line)
		cmd.Dir, cmd.Env = s.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir} // nothing else is needed
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), wants[i]) || strings.Contains(string(out), password) {
			t.Errorf("%s: %v, expected %q\n%s", line, err, wants[i], out)
		}
	}
	endpoint := regexp.MustCompile(`endpoint=([^&"]+)`).FindSubmatch(s.read("to try/pipelines/servers.json"))
	if endpoint == nil {
		t.Fatal("servers.json names no endpoint")
	}
	read := exec.Command(require.Python(t, repo(".")), repo("tests/scenarios/testdata/etl_servers_check.py"),
		string(endpoint[1]))
	read.Stdin = strings.NewReader(password)
	if out, err := read.CombinedOutput(); err != nil {
		t.Errorf("another reader: %s, %v", out, err)
	}
}
