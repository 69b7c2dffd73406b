package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/platform/sqldb"
)

type running struct {
	t     *testing.T
	url   string
	dir   string // of its stores
	stop  func() // ends the stream, which must not take long
	admin string
	fleet string
}

// start runs the api stream with an output, and fields of its input beside those
// of stores of its own.
func start(t *testing.T, output string, fields ...string) running {
	t.Helper()
	dir := t.TempDir()
	control := "sqlite://" + filepath.Join(dir, "control.db")
	db, err := sqldb.Open(t.Context(), control)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	keys, err := apikey.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	admin, _, err := keys.Create(t.Context(), "", apikey.Options{Admin: true})
	if err != nil {
		t.Fatal(err)
	}
	fleet, _, err := keys.Create(t.Context(), "plant-1", apikey.Options{Scopes: []apikey.Scope{apikey.Ingest, apikey.Query,
		apikey.Operate}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.SetYAML(fmt.Sprintf(`
http: { enabled: false }
logger: { level: NONE }
input:
  api:
    address: %s
    control: %s
    rollups: sqlite://%s
    %s
output:
  %s
`, addr, control, filepath.Join(dir, "rollups.db"), strings.Join(fields, "\n    "), strings.ReplaceAll(output, "CONTROL", control))); err != nil {
		t.Fatal(err)
	}
	stream, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = stream.Run(context.Background()) }()
	stop := sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := stream.Stop(ctx); err != nil && strings.HasPrefix(output, "audit_log") {
			t.Error(err) // an output that refuses everything holds the engine until its shutdown timeout
		}
	})
	t.Cleanup(stop)
	r := running{t, "http://" + addr, dir, stop, admin, fleet}
	for range 200 {
		if resp, err := http.Get(r.url + "/healthz"); err == nil {
			resp.Body.Close()
			return r
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal("the api does not answer")
	return r
}

func (r running) do(key, method, path, body string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := io.Reader(resp.Body)
	if resp.Header.Get("Content-Type") == "text/event-stream" { // it has no end
		answer = io.LimitReader(answer, int64(len(": weir\n\n")))
	}
	raw, err := io.ReadAll(answer)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(raw)
}

func (r running) acts(query string) auditPageJSON {
	r.t.Helper()
	resp, body := r.do(r.admin, "GET", "/v1/audit"+query, "")
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("GET /v1/audit: %d %s", resp.StatusCode, body)
	}
	var page auditPageJSON
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		r.t.Fatal(err)
	}
	return page
}

func TestAPI_AnActIsInTheAuditLogWhenItIsAnswered(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	resp, body := r.do(r.admin, "POST", "/v1/keys", `{"fleet":"plant-2"}`)
	if resp.StatusCode != http.StatusCreated || resp.Header.Get("Weir-Audit") != "" {
		t.Fatalf("creating a key: %d %q %s", resp.StatusCode, resp.Header.Get("Weir-Audit"), body)
	}
	page := r.acts("")
	if len(page.Acts) != 1 {
		t.Fatalf("the log has %d acts, want 1", len(page.Acts))
	}
	a := page.Acts[0]
	if a.Method != "POST" || a.Path != "/v1/keys" || a.Status != http.StatusCreated || a.Key == "" || a.From == "" ||
		time.Since(a.At) > time.Minute {
		t.Errorf("the act is %+v", a)
	}
	if a.Detail["fleet"] != "plant-2" || a.Detail["id"] == nil {
		t.Errorf("the act does not say which key was made for whom: %v", a.Detail)
	}
	var made struct{ Key string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || made.Key == "" {
		t.Fatalf("the answer has no key: %s (%v)", body, err)
	}
	if log, _ := json.Marshal(page); strings.Contains(string(log), made.Key) || strings.Contains(string(log), r.admin) {
		t.Error("the audit log holds the text of a key")
	}
}

func TestAPI_TheAuditLogIsReadInPages(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	for i := range 5 {
		if resp, body := r.do(r.admin, "POST", "/v1/keys", fmt.Sprintf(`{"fleet":"plant-%d"}`,
			i+10)); resp.StatusCode != http.StatusCreated {
			t.Fatalf("creating a key: %d %s", resp.StatusCode, body)
		}
	}
	seen, query := map[string]bool{}, "?limit=2"
	for range 10 {
		page := r.acts(query)
		for _, a := range page.Acts {
			if seen[a.ID] {
				t.Errorf("act %s is on two pages", a.ID)
			}
			seen[a.ID] = true
		}
		if page.Next == nil {
			break
		}
		query = "?limit=2&cursor=" + *page.Next
	}
	if len(seen) != 5 {
		t.Errorf("the pages hold %d acts, want 5", len(seen))
	}
}

func TestAPI_EveryAdministrativeActIsLogged(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	for _, c := range []struct{ method, path, body, key, value string }{
		{"POST", "/v1/keys", `{"fleet":"plant-2","name":"for the press"}`, "name", "for the press"},
		{"DELETE", "/v1/keys/nobody", "", "", ""},
		{"PUT", "/v1/groups/press?fleet=plant-2", `{"devices":["p1","p2"]}`, "devices", "2 of them"},
		{"DELETE", "/v1/groups/press?fleet=plant-2", "", "fleet", "plant-2"},
		{"POST", "/v1/replays", `{"mode":"redrive","reason":"fixed","fleet":"plant-2"}`, "reason", "fixed"},
		{"POST", "/v1/replays/nothing/cancel", "", "", ""},
		{"POST", "/registry/subjects/telemetry/versions", `{"schemaType":"JSON","schema":"{}"}`, "schemaType", "JSON"},
		{"PUT", "/registry/config/telemetry", `{"compatibility":"FULL"}`, "compatibility", "FULL"},
		{"DELETE", "/registry/subjects/none", "", "", ""},
		{"POST", "/v1/rule-versions", `{"text":"rules: []","comment":"none"}`, "comment", "none"},
		{"POST", "/v1/rule-versions/1/activate", "", "", ""},
		{"POST", "/v1/rule-versions/rollback", "", "", ""},
		{"POST", "/v1/alerts/none/acknowledge?fleet=plant-2", `{"note":"seen"}`, "", ""},
	} {
		resp, body := r.do(r.admin, c.method, c.path, c.body)
		a := r.acts("?limit=1").Acts
		path, _, _ := strings.Cut(c.path, "?")
		if len(a) != 1 || a[0].Method != c.method || a[0].Path != path || a[0].Status != resp.StatusCode || a[0].Key == "" ||
			a[0].From == "" {
			t.Errorf("%s %s was answered %d %s, and is logged as %+v", c.method, c.path, resp.StatusCode, body, a)
			continue
		}
		if c.key != "" && a[0].Detail[c.key] != c.value {
			t.Errorf("%s %s: the log says %v", c.method, c.path, a[0].Detail)
		}
	}
	if n := len(r.acts("?path=/v1/groups").Acts); n != 2 {
		t.Errorf("%d acts on groups are found, want 2", n)
	}
}

// A fleet sees and uses its own groups, and those for all; the devices that
// others have put into one are not shown to it.
func TestAPI_AFleetSeesItsOwnGroups(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	for path, body := range map[string]string{
		"/v1/groups/own?fleet=plant-1": `{"devices":["p1"]}`, "/v1/groups/theirs?fleet=plant-2": `{"devices":["x1"]}`,
		"/v1/groups/all": `{"devices":["p1","x1"]}`,
	} {
		if resp, answer := r.do(r.admin, "PUT", path, body); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.StatusCode, answer)
		}
	}
	if resp, body := r.do(r.fleet, "GET", "/v1/groups", ""); resp.StatusCode != http.StatusOK ||
		!strings.Contains(body, `"own"`) || strings.Contains(body, "x1") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	for path, want := range map[string]int{
		"/v1/groups/own": 200, "/v1/groups/theirs": 404, "/v1/groups/all": 404, "/v1/groups/theirs?fleet=plant-2": 403,
		"/v1/rollups?group=own": 200, "/v1/rollups?group=all": 200, "/v1/rollups?group=theirs": 404,
	} {
		if resp, body := r.do(r.fleet, "GET", path, ""); resp.StatusCode != want || strings.Contains(body, "x1") {
			t.Errorf("GET %s: %d, want %d: %s", path, resp.StatusCode, want, body)
		}
	}
	if resp, body := r.do(r.admin, "GET", "/v1/groups", ""); resp.StatusCode != http.StatusOK ||
		strings.Count(body, `"name"`) != 3 {
		t.Errorf("an admin sees all: %d %s", resp.StatusCode, body)
	}
}

func TestAPI_AnActWaitsOnlySoLongForTheAuditLog(t *testing.T) {
	r := start(t, `reject: "the audit log is down"`)
	begun := time.Now()
	resp, _ := r.do(r.admin, "POST", "/v1/keys", `{"fleet":"plant-2"}`)
	if resp.StatusCode != http.StatusCreated || resp.Header.Get("Weir-Audit") != "pending" {
		t.Errorf("creating a key: %d %q", resp.StatusCode, resp.Header.Get("Weir-Audit"))
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestAPI_EachPathWantsItsKey(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	for _, c := range []struct {
		key, method, path string
		want              int
	}{
		{"", "GET", "/v1/rollups?device=a", 401},
		{"weir_made_up", "GET", "/v1/rollups?device=a", 401},
		{r.fleet, "GET", "/v1/devices/a/latest", 404},
		{r.fleet, "GET", "/v1/keys", 403},
		{r.fleet, "GET", "/v1/alerts", 200},
		{r.admin, "GET", "/v1/alerts", 200},
		{"", "GET", "/v1/alerts", 401},
		{r.fleet, "GET", "/v1/groups", 200},
		{r.fleet, "PUT", "/v1/groups/g", 403},
		{r.fleet, "DELETE", "/v1/groups/g", 403},
		{"", "GET", "/v1/groups", 401},
		{r.fleet, "GET", "/registry/subjects", 200},
		{r.fleet, "DELETE", "/registry/subjects/telemetry", 403},
		{"", "GET", "/openapi.json", 200},
		{r.fleet, "GET", "/v1/audit", 403},
		{r.admin, "GET", "/v1/keys", 200},
		{r.admin, "POST", "/v1/audit", 405},
		{r.admin, "GET", "/v1/audit?from=yesterday", 400},
		{r.admin, "GET", "/nowhere", 404},
	} {
		if resp, body := r.do(c.key, c.method, c.path, ""); resp.StatusCode != c.want {
			t.Errorf("%s %s: %d, want %d: %s", c.method, c.path, resp.StatusCode, c.want, body)
		}
	}
}
