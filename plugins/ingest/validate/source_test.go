package validate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/sr"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/registry"
)

// validatorOf starts a schema_validate outside of a stream.
func validatorOf(t testing.TB, config string) *validator {
	t.Helper()
	conf, err := validateSpec().ParseYAML(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newValidator(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

// judged sends one event through and returns its schema, or its code.
func judged(t testing.TB, p *validator, raw string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	m := message(raw)
	if _, err := p.ProcessBatch(ctx, service.MessageBatch{m}); err != nil {
		t.Fatal(err)
	}
	if r := event.RejectionOf(m); r != nil {
		return string(r.Code)
	}
	return event.Meta(m, event.HeaderSchema)
}

func openDB(t testing.TB, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// scratch is a registry of its own, with the shipped schemas.
func scratch(t testing.TB) *registry.Registry {
	t.Helper()
	r, err := registry.Open(context.Background(), openDB(t, "sqlite://"+filepath.Join(t.TempDir(), "control.db")))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// flaky is a server that can be taken away and come back at its address.
type flaky struct {
	http.Handler
	down atomic.Bool
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.down.Load() {
		panic(http.ErrAbortHandler) // the connection breaks
	}
	f.Handler.ServeHTTP(w, r)
}

const (
	metrics3 = `{"cpu_temp":1,"battery_voltage":2}`
	metrics1 = `{"cpu_temp":1,"battery_voltage":2,"vibration":3}`
)

// TestValidate_VersionsComeIntoForceUnderLoad registers versions 2 and 3 while events of
// three firmwares flow, with the registry dying in between: an event is never
// rejected by anything but the lack of its own version, and never once its
// version has been seen.
func TestValidate_VersionsComeIntoForceUnderLoad(t *testing.T) {
	for _, kind := range []string{"http", "sqlite"} {
		t.Run(kind, func(t *testing.T) {
			path := "sqlite://" + filepath.Join(t.TempDir(), "control.db")
			r, err := registry.Open(t.Context(), openDB(t, path))
			if err != nil {
				t.Fatal(err)
			}
			front := &flaky{Handler: r.Handler()}
			server := httptest.NewServer(front)
			defer server.Close()
			cl, err := sr.NewClient(sr.URLs(server.URL))
			if err != nil {
				t.Fatal(err)
			}
			register := func(version int) {
				if v, err := cl.CreateSchema(t.Context(), "field", sr.Schema{Schema: string(readShipped(t, version)),
					Type: sr.TypeJSON}); err != nil || v.Version != version {
					t.Fatalf("registering version %d: %+v (%v)", version, v, err)
				}
			}
			register(1)
			url := path
			if kind == "http" {
				url = server.URL
			}
			p := validatorOf(t, "url: "+url+"\nsubject: field\nrefresh: 10ms")
			var seen [4]atomic.Bool
			seen[1].Store(true)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range 2 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for n := 0; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						version := n%3 + 1
						known := seen[version].Load()
						switch got := judged(t, p, event1(fmt.Sprintf("%d.4.0", version), metrics1)); {
						case got == fmt.Sprintf("field/%d", version):
							seen[version].Store(true)
						case got != "unknown_firmware" || known:
							t.Errorf("firmware %d: %s (its schema had been in force: %v)", version, got, known)
							return
						}
					}
				}()
			}
			for version := 2; version <= 3; version++ {
				front.down.Store(true)
				time.Sleep(50 * time.Millisecond)
				front.down.Store(false)
				register(version)
				eventually(t, fmt.Sprintf("version %d", version), seen[version].Load)
			}
			front.down.Store(true)
			time.Sleep(50 * time.Millisecond)
			close(stop)
			wg.Wait()
		})
	}
}

func TestValidate_LastKnownSchemasSurviveARestartWithoutTheRegistry(t *testing.T) {
	r := scratch(t)
	server := httptest.NewServer(r.Handler())
	cacheDir := t.TempDir()
	config := "url: " + server.URL + "\nrefresh: 10ms\ncache_dir: " + cacheDir
	first := validatorOf(t, config)
	if got := judged(t, first, event1("3.0.0", metrics3)); got != "telemetry/3" {
		t.Fatal(got)
	}
	server.Close()
	if got := judged(t, first, event1("3.0.0", metrics3)); got != "telemetry/3" {
		t.Errorf("after the registry died: %s", got)
	}
	second := validatorOf(t, config)
	for raw, want := range map[string]string{
		event1("3.0.0", metrics3): "telemetry/3",
		event1("3.0.0", `{}`):     "schema_violation",
		event1("9.0.0", `{}`):     "unknown_firmware",
	} {
		if got := judged(t, second, raw); got != want {
			t.Errorf("after a restart: %s, want %s", got, want)
		}
	}
}

func TestValidate_WithoutAnySchemaEventsWait(t *testing.T) {
	front := &flaky{Handler: http.NotFoundHandler()}
	front.down.Store(true)
	server := httptest.NewServer(front)
	defer server.Close()
	p := validatorOf(t, "url: "+server.URL+"\nrefresh: 10ms")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	m := message(goodEvent)
	if _, err := p.ProcessBatch(ctx, service.MessageBatch{m}); err == nil || event.Meta(m, event.MetaCode) != "" {
		t.Errorf("judged without a schema: %v %v", err, event.RejectionOf(m))
	}
	front.Handler = empty{} // it is up, and has no such subject
	front.down.Store(false)
	time.Sleep(30 * time.Millisecond)
	if r := p.rules.Load(); r != nil {
		t.Error("an empty registry made a set")
	}
	r := scratch(t)
	filled := httptest.NewServer(r.Handler())
	defer filled.Close()
	if got := judged(t, validatorOf(t, "url: "+filled.URL), goodEvent); got != "telemetry/2" {
		t.Error(got)
	}
}

type empty struct{}

func (empty) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, `{"error_code":40401,"message":"Subject not found"}`)
}

// TestValidate_OtherRegistriesAnswersAreRead replays answers in the shapes of other
// implementations: more members, plain JSON as media type, spaces, 404 bodies.
func TestValidate_OtherRegistriesAnswersAreRead(t *testing.T) {
	quoted := func(version int) string {
		raw, err := json.Marshal(string(readShipped(t, version)))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for name, answers := range map[string]map[string]string{
		"Confluent 8": {
			"/subjects/telemetry/versions":   `[1,2]`,
			"/subjects/telemetry/versions/1": `{"subject":"telemetry","version":1,"id":100001,"guid":"7f0e3b9c-4d1a-4c6e-9a57-5e1f5f2f9c11","schemaType":"JSON","schema":` + quoted(1) + `,"ts":1763700000000,"deleted":false}`,
			"/subjects/telemetry/versions/2": `{"subject":"telemetry","version":2,"id":100002,"guid":"0b1c2d3e-4f50-4111-8222-933344445555","schemaType":"JSON","references":[],"metadata":null,"schema":` + quoted(2) + `}`,
		},
		"Redpanda": {
			"/subjects/telemetry/versions": `[ 1, 2 ]`,
			"/subjects/telemetry/versions/1": `{"subject":"telemetry","version":1,"id":1,"schema":` + quoted(1) +
				`,"schemaType":"JSON"}`,
			"/subjects/telemetry/versions/2": `{"subject":"telemetry","version":2,"id":2,"schema":` + quoted(2) +
				`,"schemaType":"JSON"}`,
		},
		"Karapace": {
			"/subjects/telemetry/versions": `[2, 1]`,
			"/subjects/telemetry/versions/1": `{"subject": "telemetry", "version": 1, "id": 7, "schema": ` + quoted(1) +
				`, "schemaType": "JSON", "compatibility": "BACKWARD"}`,
			"/subjects/telemetry/versions/2": `{"subject": "telemetry", "version": 2, "id": 9, "schema": ` + quoted(2) +
				`, "schemaType": "JSON"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if user, password, ok := r.BasicAuth(); !ok || user != "u" || password != "p" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				text, ok := answers[r.URL.Path]
				if !ok {
					w.WriteHeader(http.StatusNotFound)
					text = `{"error_code":40401,"message":"Subject 'x' not found."}`
				}
				_, _ = w.Write([]byte(text))
			}))
			defer server.Close()
			p := validatorOf(t, "url: "+strings.Replace(server.URL, "http://", "http://u:p@", 1))
			if got := judged(t, p, event1("1.0.0", metrics1)); got != "telemetry/1" {
				t.Error(got)
			}
			if got := judged(t, p, event1("3.0.0", metrics3)); got != "unknown_firmware" {
				t.Error(got)
			}
		})
	}
}
