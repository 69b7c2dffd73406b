package scenarios

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A secret, a path and addresses with characters that are special in YAML reach their components unchanged: a webhook
// receiver that knows the secret can verify the signature.
func TestValues_ReachTheirComponentsAsTheyAreSet(t *testing.T) {
	s := newSystem(t)
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Logf("no IPv6 here (%v): the addresses are of IPv4", err)
	} else {
		_ = l.Close()
		for i, a := range s.addresses[:3] {
			s.addresses[i] = strings.Replace(a, "127.0.0.1", "[::1]", 1)
		}
	}
	s.data = filepath.Join(s.dir, `da"ta #1: [x] a\b`)
	const secret = `a\b"#: [x] ${HOME}'`
	sent := make(chan [2]string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent <- [2]string{string(body), r.Header.Get("Weir-Signature")}
	}))
	defer hook.Close()
	s.env = []string{"WEIR_NOTIFY_WEBHOOK_URL=" + hook.URL + "/a?b=%22#c", "WEIR_NOTIFY_WEBHOOK_SECRET=" + secret,
		"WEIR_NOTIFY_GROUP_WAIT=100ms"}
	s.start()
	s.ready()
	s.createKey()
	s.somethingOfAll()
	select {
	case got := <-sent:
		at, _, _ := strings.Cut(strings.TrimPrefix(got[1], "t="), ",")
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(at + "." + got[0]))
		if want := "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil)); got[1] != want {
			t.Errorf("signed with %s, expected %s", got[1], want)
		}
	case <-time.After(time.Minute):
		t.Fatal("no notice of a processor at 99 degrees")
	}
	s.stop()
}

// A config error is reported before keys are created and anything listens.
func TestUp_ChecksConfigsFirst(t *testing.T) {
	s := newSystem(t)
	home := filepath.Join(s.dir, "home")
	for _, folder := range []string{"configs", "schemas", "bloblang"} {
		if err := os.CopyFS(filepath.Join(home, folder), os.DirFS(repo(folder))); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(home, "configs", "streams", "raw.yaml")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(raw, "\nnonsense: 1\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(s.bin, "up", "--data", s.data, "--home", home, "--ingest", s.addresses[0], "--api", s.addresses[1],
		"--ops", s.addresses[2], "--broker", s.addresses[3])
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "raw.yaml(") ||
		!strings.Contains(string(out), "nonsense") ||
		strings.Contains(string(out), "weir is starting") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(s.data, "control.db")); err == nil {
		t.Error("keys were made")
	}
}
