package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/require"
	"weir/tests/integration/vaulted"
)

// bao is a real server of the Vault's API, and who administers it.
type bao struct {
	t       *testing.T
	address string
}

const rootToken = "root-of-the-test"

// startBao starts OpenBao of the tests' Python environment, in memory.
func startBao(t *testing.T) bao {
	t.Helper()
	program := filepath.Join(filepath.Dir(require.Python(t, "../../..")), "bao")
	for range 5 { // another process may take the port meanwhile
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		_ = l.Close()
		cmd := exec.Command(program, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id="+rootToken,
			"-dev-listen-address="+address)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		var log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
		if b := (bao{t, "http://" + address}); b.ready(ended) {
			return b
		}
		<-ended
		t.Logf("it ended: %s", log.Bytes())
	}
	t.Fatal("OpenBao does not start")
	return bao{}
}

// ready waits until the server answers to its root token, or has ended.
func (b bao) ready(ended <-chan struct{}) bool {
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); {
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		if status, _, err := b.send(http.MethodGet, "secret/config", nil); err == nil && status == http.StatusOK {
			return true
		}
	}
	b.t.Fatal("OpenBao does not become ready")
	return false
}

func (b bao) send(method, path string, body any) (status int, answer map[string]any, err error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(context.Background(), method, b.address+"/v1/"+path, bytes.NewReader(raw))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-Vault-Token", rootToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil && res.StatusCode != http.StatusNoContent {
		answer = nil
	}
	return res.StatusCode, answer, nil
}

func (b bao) do(method, path string, body any) map[string]any {
	b.t.Helper()
	status, answer, err := b.send(method, path, body)
	if err != nil || status/100 != 2 {
		b.t.Fatalf("%s %s: %d, %v", method, path, status, errors.Join(err, fmt.Errorf("%v", answer)))
	}
	return answer
}

func (b bao) put(path, password string) {
	b.t.Helper()
	b.do(http.MethodPost, "secret/data/"+path, map[string]any{"data": map[string]any{"password": password}})
}

// approle makes a role that may read below weir/, and returns what logs in by it.
func (b bao) approle(t *testing.T, ttl string) *vault {
	b.t.Helper()
	b.do(http.MethodPost, "sys/policies/acl/weir", map[string]any{
		"policy": `path "secret/data/weir/*" { capabilities = ["read"] }`})
	b.do(http.MethodPost, "sys/auth/approle", map[string]any{"type": "approle"})
	b.do(http.MethodPost, "auth/approle/role/weir", map[string]any{"token_policies": "weir", "token_ttl": ttl})
	role := b.do(http.MethodGet, "auth/approle/role/weir/role-id", nil)["data"].(map[string]any)["role_id"].(string)
	id := b.do(http.MethodPost, "auth/approle/role/weir/secret-id", nil)["data"].(map[string]any)["secret_id"].(string)
	file := filepath.Join(t.TempDir(), "secret-id")
	if err := os.WriteFile(file, []byte(id+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return at(t, map[string]string{envAddress: b.address, envRole: role, envSecret: "file://" + file})
}

func TestOpenBao_SecretsAreReadRotatedAndRefusedByName(t *testing.T) {
	b := startBao(t)
	v := b.approle(t, "5m")
	const ref = "vault://secret/data/weir/pg#password"
	for _, password := range vaulted.Hostile() { // each is a rotation
		b.put("weir/pg", password)
		if got, err := read(t, v, ref); err != nil || got != password {
			t.Errorf("%q: %q, %v", password, got, err)
		}
	}
	b.put("other", "s3cr3t")
	for setting, says := range map[string]string{
		"vault://secret/data/other#password":    "forbids",
		"vault://secret/data/weir/pg#user":      `no field "user"`,
		"vault://secret/data/weir/gone#x":       "nothing there",
		"vault://secret/data/weir/pg/deeper#xy": "nothing there",
	} {
		if _, err := read(t, v, setting); err == nil || !strings.Contains(err.Error(), says) ||
			!strings.Contains(err.Error(), setting) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", setting, err)
		}
	}
	b.do(http.MethodDelete, "secret/data/weir/pg", nil)
	if _, err := read(t, v, ref); err == nil { // a 404 that holds the metadata
		t.Error("a deleted version is read")
	}
	b.put("weir/pg", "again")

	v.mu.Lock()
	token := v.login.token
	v.mu.Unlock()
	b.do(http.MethodPost, "auth/token/revoke", map[string]any{"token": token})
	if got, err := read(t, v, ref); err != nil || got != "again" {
		t.Errorf("after its token was revoked: %q, %v", got, err)
	}
	wrong := at(t, map[string]string{envAddress: b.address, envRole: "no-role", envSecret: "s3cr3t"})
	if _, err := read(t, wrong, ref); err == nil || !strings.Contains(err.Error(), envRole) ||
		strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("a wrong AppRole: %v", err)
	}
	byToken := at(t, map[string]string{envAddress: b.address, envToken: rootToken})
	if got, err := read(t, byToken, ref); err != nil || got != "again" {
		t.Errorf("by a token: %q, %v", got, err)
	}

	b.do(http.MethodPost, "sys/seal", nil)
	for _, v := range []*vault{v, byToken, wrong} {
		if _, err := read(t, v, ref); err == nil || !strings.Contains(err.Error(), "sealed") {
			t.Errorf("sealed: %v", err)
		}
	}
}

// The token lasts three seconds at a time and is used after many more.
func TestOpenBao_ATokenOutlivesItsFirstLease(t *testing.T) {
	b := startBao(t)
	b.put("weir/pg", "p")
	v := b.approle(t, "3s")
	read := func() {
		if got, err := read(t, v, "vault://secret/data/weir/pg#password"); err != nil || got != "p" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	read()
	for until := time.Now().Add(7 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		read()
	}
}
