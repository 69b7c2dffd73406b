package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/platform/broker"
	"weir/internal/platform/kafka"
)

func TestPassword_IsMadeOnceForItsOwnerAlone(t *testing.T) {
	dir := DataDir(t.TempDir())
	if login, err := dir.BrokerLogin(); err != nil || login.Mechanism != "" {
		t.Errorf("the login of a weir without a password: %s %v", login.Mechanism, err)
	}
	first, err := dir.keepPassword()
	if err != nil || len(first) < 26 {
		t.Fatalf("made %d characters: %v", len(first), err)
	}
	if again, err := dir.keepPassword(); err != nil || again != first {
		t.Errorf("made it anew: %v", err)
	}
	if login, err := dir.BrokerLogin(); err != nil || login != broker.Login(first) {
		t.Errorf("another login than the broker's: %v", err)
	}
	if info, err := os.Stat(dir.passwordFile()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600 (%v)", info.Mode(), err)
	}
	if err := os.WriteFile(dir.passwordFile(), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.keepPassword(); err == nil || !strings.Contains(err.Error(), dir.passwordFile()) {
		t.Errorf("an empty file is taken: %v", err)
	}
}

func TestDataDir_IsClosedToOthersWithAllThatIsInIt(t *testing.T) {
	root := t.TempDir()
	outside := filepath.Join(root, "outside")
	dir := filepath.Join(root, "data")
	for path, mode := range map[string]os.FileMode{
		outside: 0o644, filepath.Join(dir, "control.db"): 0o644, filepath.Join(dir, "broker", "0", "log.dat"): 0o664,
		filepath.Join(dir, "run.sh"): 0o755,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if foreign, err := DataDir(dir).close(); err != nil || len(foreign) > 0 {
		t.Fatal(foreign, err)
	}
	for path, want := range map[string]os.FileMode{
		outside: 0o644, dir: 0o700, filepath.Join(dir, "control.db"): 0o600, filepath.Join(dir, "run.sh"): 0o700,
		filepath.Join(dir, "broker", "0"): 0o700, filepath.Join(dir, "broker", "0", "log.dat"): 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s is %v, want %v (%v)", path, info.Mode().Perm(), want, err)
		}
	}
}

// Both ways in which a password reaches a stream: the variable, and a file.
func TestPassword_OfAFileReachesTheStreams(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	t.Setenv("WEIR_KAFKA_SASL", "SCRAM-SHA-512")
	t.Setenv(envPasswordFile, file)
	t.Setenv(kafka.EnvPassword, "")
	if err := givePassword(false); err != nil {
		t.Errorf("a lint needs the file: %v", err)
	}
	if err := givePassword(true); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a run goes without its password: %v", err)
	}
	if err := os.WriteFile(file, []byte("kept beside\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := givePassword(true); err != nil || os.Getenv(kafka.EnvPassword) != "kept beside" {
		t.Errorf("given %q: %v", os.Getenv(kafka.EnvPassword), err)
	}
	t.Setenv(kafka.EnvPassword, "said")
	if err := givePassword(true); err != nil || os.Getenv(kafka.EnvPassword) != "said" {
		t.Errorf("what is said outright is replaced: %q (%v)", os.Getenv(kafka.EnvPassword), err)
	}
	t.Setenv("WEIR_KAFKA_SASL", "none")
	t.Setenv(kafka.EnvPassword, "")
	if err := givePassword(true); err != nil || os.Getenv(kafka.EnvPassword) != "" {
		t.Errorf("given without a login: %q (%v)", os.Getenv(kafka.EnvPassword), err)
	}
}
