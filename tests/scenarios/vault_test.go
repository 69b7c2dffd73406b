package scenarios

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"weir/tests/integration/vaulted"
)

// A stream signs with the secret that a Vault has, whatever characters it contains, and with the next one after a
// rotation. Neither `weir echo` nor the log shows it.
func TestVault_AStreamSignsWithWhatIsThere(t *testing.T) {
	s := newSystem(t)
	set := vaulted.Start(t)
	passwords := vaulted.Hostile()
	set(passwords[0])
	var mu sync.Mutex
	var wrong []string
	next := 0
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		signature := r.Header.Get("Weir-Signature")
		mu.Lock()
		defer mu.Unlock()
		if next == len(passwords) {
			return
		}
		at, _, _ := strings.Cut(strings.TrimPrefix(signature, "t="), ",")
		mac := hmac.New(sha256.New, []byte(passwords[next]))
		mac.Write([]byte(at + "." + string(body)))
		if want := "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil)); signature != want {
			wrong = append(wrong, fmt.Sprintf("%q: signed with %s, expected %s", passwords[next], signature, want))
		}
		if next++; next < len(passwords) {
			set(passwords[next]) // set before this request is answered, so before the next one is sent
		}
	}))
	defer hook.Close()
	config := filepath.Join(s.dir, "signed.yaml")
	write := func(reference string) {
		t.Helper()
		if err := os.WriteFile(config, fmt.Appendf(nil, `
http: { enabled: false }
input:
  generate: { count: %d, interval: "", mapping: 'root = {"n": count("n")}' }
output:
  alert_webhook: { url: "%s", secret: "%s" }
`, len(passwords), hook.URL, reference), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(vaulted.Reference)
	for _, verb := range []string{"lint", "echo", "run"} {
		out, err := exec.Command(s.bin, verb, config).CombinedOutput()
		if err != nil {
			t.Errorf("weir %s: %v\n%s", verb, err, out)
		}
		for _, p := range passwords {
			if strings.Contains(string(out), p) {
				t.Errorf("weir %s shows %q:\n%s", verb, p, out)
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if next != len(passwords) || len(wrong) > 0 {
		t.Errorf("%d of %d requests, of which wrong: %s", next, len(passwords), strings.Join(wrong, "\n"))
	}
	write("vault://secret/data/weir/test")
	if out, err := exec.Command(s.bin, "lint", config).CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "PATH#FIELD") {
		t.Errorf("a reference without a field: %v\n%s", err, out)
	}
}
