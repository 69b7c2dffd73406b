package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecret_IsReadFromItsFileEachTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for _, content := range []string{"one\n", "  two"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Value("file://" + path); err != nil || got != strings.TrimSpace(content) {
			t.Errorf("%q: got %q, %v", content, got, err)
		}
	}
	if got, err := Value("p@ss://word"); err != nil || got != "p@ss://word" {
		t.Errorf("a plain setting became %q, %v", got, err)
	}
	if _, err := Value("file://" + path + ".gone"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is not there: %v", err)
	}
}
