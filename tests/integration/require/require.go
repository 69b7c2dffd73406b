// Package require finds the servers and tools that tests need, and skips or fails a test that lacks one.
package require

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Env returns the value of an environment variable that names a test server.
// Without it the test is skipped with the reason printed; in CI it fails,
// because there tests/integration/servers.sh must have started the server.
func Env(t testing.TB, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not set: in CI everything must be there; tests/run.sh installs, starts and names it", name)
		}
		t.Skipf("%s is not set: see tests/run.sh, which starts the servers and installs the tools", name)
	}
	return v
}

// Missing skips a test that lacks something that can be installed, with the reason printed. In CI it fails the test,
// because everything must be installed there.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("in CI nothing is skipped: "+format, args...)
	}
	t.Skipf(format, args...)
}

// Refused skips a test that this machine does not permit, such as mounting a file system, with the reason printed. It
// skips in CI too: nothing that can be installed changes that.
func Refused(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Skipf(format, args...)
}

// Prometheus returns the path of promtool or prometheus. WEIR_TEST_PROMETHEUS names their folder.
func Prometheus(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(filepath.Join(os.Getenv("WEIR_TEST_PROMETHEUS"), program))
	if err != nil {
		Missing(t, "Prometheus is missing: eval \"$(tests/deploy/prometheus.sh)\": %v", err)
	}
	return path
}

// Tool returns the path of a program that tests/deploy/chart.sh builds. WEIR_TEST_TOOLS names its folder.
func Tool(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(filepath.Join(os.Getenv("WEIR_TEST_TOOLS"), program))
	if err != nil || os.Getenv("WEIR_TEST_TOOLS") == "" {
		Missing(t, "%s is missing: eval \"$(tests/deploy/chart.sh)\": %v", program, err)
	}
	return path
}

// Python returns the Python interpreter of the tests' environment, which has the packages of
// tests/integration/requirements.txt. root is the root of the repository.
func Python(t testing.TB, root string) string {
	t.Helper()
	// in CI venv.sh creates it
	if _, err := os.Stat(filepath.Join(root, ".cache/venv/bin/python")); err != nil && os.Getenv("CI") == "" {
		Missing(t, "the Python environment is missing: make it with tests/integration/venv.sh")
	}
	cmd := exec.Command(filepath.Join(root, "tests/integration/venv.sh"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("making the Python environment: %v: %s", err, stderr.Bytes())
	}
	return string(bytes.TrimSpace(out))
}
