package scenarios

import (
	"os/exec"
	"strings"
	"testing"
)

// A check that cannot fail proves nothing: the tests of verify.py corrupt a sound system in every way that it detects
// and expect each fault to be named.
func TestVerify_TheCheckerNamesEachFault(t *testing.T) {
	t.Parallel()
	python, err := exec.Command(repo("tests/integration/venv.sh")).Output()
	if err != nil {
		t.Fatalf("making the Python environment: %v", err)
	}
	out, err := exec.Command(strings.TrimSpace(string(python)), "-B", repo("tests/verify/test_verify.py")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
