package scenarios

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/tests/integration/vaulted"
)

// A pipeline crashes while it holds a password from a Vault, and another is refused by its store. Neither shows its
// secret: not in its output, not in the goroutine dump of the crash, and in no file that it leaves.
func TestETL_NoCrashShowsAHostilePassword(t *testing.T) {
	s := newSystem(t)
	set := vaulted.Start(t)
	asked, password := make(chan string, 1), ""
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, got, _ := r.BasicAuth()
		asked <- got
		<-r.Context().Done() // it never answers
	}))
	t.Cleanup(api.Close)
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, "<Error><Code>SignatureDoesNotMatch</Code><Message>of another key</Message></Error>")
	}))
	t.Cleanup(store.Close)
	s.write("hangs.json", fmt.Sprintf(`{"name": "hangs", "source": {"type": "rest", "url": %q,
		"columns": [{"name": "id", "type": "int64"}],
		"auth": {"basic": {"user": "u", "password": {"$vault": "secret/data/weir/test#password"}}}},
		"sinks": [{"format": "csv", "url": "file://out", "object": "x"}]}`, api.URL))
	s.write("in.csv", "id\n1\n")
	s.write("store.json", fmt.Sprintf(`{"name": "store", "source": {"type": "csv", "path": "in.csv",
		"columns": [{"name": "id", "type": "int64"}]}, "sinks": [{"format": "csv", "object": "x",
		"url": "s3://bucket?endpoint=%s&region=us-east-1&use_path_style=true"}]}`, store.URL))
	start := func(name string, said *output) *exec.Cmd {
		t.Helper()
		cmd := exec.Command(s.bin, "etl", "run", "--take-over", name, "--state",
			filepath.Join(s.dir, fmt.Sprintf("state-%x", password)+name))
		cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, said, said
		cmd.Env = append(os.Environ(), "GOTRACEBACK=all", "AWS_ACCESS_KEY_ID=weir", "AWS_SECRET_ACCESS_KEY="+password)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	var refusals sync.WaitGroup // each run retries for a while before it gives up
	for _, password = range vaulted.Hostile() {
		set(password)
		var crash, refused output
		secret, stored := password, start("store.json", &refused)
		refusals.Go(func() {
			if err := stored.Wait(); err == nil || !strings.Contains(refused.String(), "of another key") ||
				strings.Contains(refused.String(), secret) {
				t.Errorf("a store that refuses %q: %v: %s", secret, err, refused.String())
			}
		})
		hangs := start("hangs.json", &crash)
		select {
		case got := <-asked:
			if got != password {
				t.Errorf("%q came as %q", password, got)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nobody asks: %s", crash.String())
		}
		if err := hangs.Process.Signal(syscall.SIGQUIT); err != nil {
			t.Fatal(err)
		}
		_ = hangs.Wait()
		if said := crash.String(); !strings.Contains(said, "goroutine ") || strings.Contains(said, password) {
			t.Errorf("a crash with %q: %s", password, said)
		}
	}
	refusals.Wait()
	for _, secret := range vaulted.Hostile() {
		if err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			raw, err := os.ReadFile(path)
			if bytes.Contains(raw, []byte(secret)) {
				t.Errorf("%s has %q", path, secret)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
}
