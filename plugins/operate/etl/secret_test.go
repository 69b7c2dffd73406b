package etl

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"weir/tests/integration/vaulted"
)

// tellsNothing runs a pipeline that must fail, and looks for the password in all
// that it says and leaves behind.
func tellsNothing(t *testing.T, what, password string, p *Pipeline, says string) {
	t.Helper()
	o, told := options(t), ""
	o.Tell = func(line string) { told += line + "\n" }
	o.Tries = 1
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := p.Run(ctx, o)
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v, expected %q", what, err, says)
		return
	}
	quoted, _ := json.Marshal(password)
	inner := strings.Trim(string(quoted), `"`)
	shows := func(text string) bool { return strings.Contains(text, password) || strings.Contains(text, inner) }
	if shows(err.Error()) || shows(told) || shows(fmt.Sprintf("%+v", err)) {
		t.Errorf("%s: %q is shown: %v\n%s", what, password, err, told)
	}
	for _, dir := range []string{o.State, p.dir} {
		_ = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() {
				if raw, err := os.ReadFile(path); err != nil || shows(string(raw)) {
					t.Errorf("%s: %s has %q, or cannot be read: %v", what, path, password, err)
				}
			}
			return nil
		})
	}
}

const vaultedPassword = `{"$vault": "secret/data/weir/test#password"}`

// Whatever a password is, no failure of an API shows it: not where the API says it
// back, sends the client elsewhere, hangs up, or is not there; nor does a Vault that
// lacks the field.
func TestREST_NoFailureShowsAHostilePassword(t *testing.T) {
	set := vaulted.Start(t)
	password, got := "", ""
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if _, basic, is := r.BasicAuth(); is {
			got = basic
		}
		switch r.URL.Path {
		case "/refused":
			http.Error(w, "this is wrong: "+password, http.StatusUnauthorized)
		case "/elsewhere":
			w.Header().Set("Location", "http://127.0.0.2:1/"+fmt.Sprintf("%x", password))
			w.WriteHeader(http.StatusFound)
		case "/garbled":
			_, _ = fmt.Fprintf(w, "no JSON, but %s", password)
		case "/rows":
			_ = json.NewEncoder(w).Encode([]map[string]string{{"id": password}})
		case "/cut":
			panic(http.ErrAbortHandler)
		default:
			_, _ = fmt.Fprint(w, `[{"id": 1}]`)
		}
	}))
	t.Cleanup(api.Close)
	at := func(url, auth string) *Pipeline {
		p, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": "api", "source": {"type": "rest", "url": %q,
			"auth": %s, "columns": [{"name": "id", "type": "int64"}]},
			"sinks": [{"format": "ndjson", "url": "file://out", "object": "x"}]}`, url, auth)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	basic := `{"basic": {"user": "u", "password": ` + vaultedPassword + `}}`
	for _, password = range vaulted.Hostile() {
		set(password)
		for path, says := range map[string]string{"/refused": "401", "/elsewhere": "", "/garbled": "", "/rows": `column "id"`,
			"/cut": ""} {
			tellsNothing(t, path, password, at(api.URL+path, basic), says)
		}
		tellsNothing(t, "no server", password, at("http://127.0.0.1:1/", basic), "")
		tellsNothing(t, "no field", password, at(api.URL, strings.Replace(basic, "#password", "#none", 1)), `no field "none"`)
		if _, err := at(api.URL, basic).Run(t.Context(), options(t)); err != nil || got != password {
			t.Errorf("%q arrives as %q: %v", password, got, err)
		}
		// A header cannot hold each of them: it is refused, or arrives as it is.
		p := at(api.URL, `{"bearer": `+vaultedPassword+`}`)
		if strings.ContainsAny(password, "\n\x1b") {
			tellsNothing(t, "no header", password, p, "")
		} else if _, err := p.Run(t.Context(), options(t)); err != nil ||
			strings.TrimSpace(got) != strings.TrimSpace(password) {
			t.Errorf("%q arrives as %q: %v", password, got, err)
		}
	}
}

// The same of a Kafka that refuses the login, hangs up, or is not there; and the
// right one goes in by each password.
func TestKafka_NoFailureShowsAHostilePassword(t *testing.T) {
	set := vaulted.Start(t)
	hanging, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hanging.Close() })
	go func() {
		for {
			conn, err := hanging.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	at := func(broker, kept string) *Pipeline {
		p, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": "k", "source": {"type": "kafka",
			"brokers": [%q], "topic": "orders", "columns": [{"name": "id", "type": "int64"}], "sasl": "SCRAM-SHA-256",
			"user": "weir", "password": %s}, "sinks": [{"format": "ndjson", "url": "file://out", "object": "x"}]}`,
			broker, kept)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	known := func(password string) string {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.EnableSASL(),
			kfake.Superuser("SCRAM-SHA-256", "weir", password))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		return cluster.ListenAddrs()[0]
	}
	another, dir := known("another"), t.TempDir()
	var failures sync.WaitGroup // each is tried for ten seconds
	defer failures.Wait()
	for i, password := range vaulted.Hostile() {
		set(password)
		if _, err := at(known(password), vaultedPassword).Run(t.Context(), options(t)); err != nil {
			t.Errorf("%q does not go in: %v", password, err)
		}
		tellsNothing(t, "no field", password, at(another, strings.Replace(vaultedPassword, "#password", "#none", 1)),
			`no field "none"`)
		kept := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(kept, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		for what, broker := range map[string]string{"a wrong password": another, "no broker": "127.0.0.1:1",
			"one that hangs up": hanging.Addr().String()} {
			p := at(broker, fmt.Sprintf(`{"$file": %q}`, kept))
			failures.Go(func() { tellsNothing(t, what, password, p, "") })
		}
	}
}
