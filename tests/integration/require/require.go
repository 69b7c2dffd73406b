// Package require finds the servers that integration tests need.
package require

import (
	"os"
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
			t.Fatalf("%s is not set: in CI every server must be there; run tests/integration/servers.sh start", name)
		}
		t.Skipf("%s is not set: start the servers with tests/integration/servers.sh start, then eval its output", name)
	}
	return v
}
