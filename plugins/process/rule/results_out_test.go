package rule

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/io"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"
)

// The shipped example sends each result to a webhook, which fails once, with a different idempotency key,
// and writes it to the file of its rule. Then no result is left to be handed on.
func TestRuleResults_ExampleReachesAWebhookAndFiles(t *testing.T) {
	b := newBench(t, perMinute)
	b.apply(b.operator(), message(0, 0, at(0, 1)), message(0, 1, at(70*s, 1)), message(0, 2, at(140*s, 1)))
	want := b.results()
	if len(want) != 2 {
		t.Fatalf("the results are %v, want 2", want)
	}
	var mu sync.Mutex
	got, failed := map[string]string{}, false
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if err != nil || !failed {
			failed = true
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		got[strings.Replace(r.Header.Get("Idempotency-Key"), "-", "/", 1)] = string(body)
	}))
	defer hook.Close()
	dir := t.TempDir()
	t.Setenv("WEIR_CONTROL_URL", b.url)
	t.Setenv("RULE_RESULTS_WEBHOOK", hook.URL)
	t.Setenv("RULE_RESULTS_DIR", dir)
	config, err := os.ReadFile("../../../docs/examples/streams/rule_results.yaml")
	if err != nil {
		t.Fatal(err)
	}
	env := service.GlobalEnvironment().Clone()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	builder := env.NewStreamBuilder()
	builder.SetLogger(slog.New(slog.DiscardHandler))
	if err := builder.SetYAML(string(config)); err != nil {
		t.Fatal(err)
	}
	stream, err := builder.Build()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	go func() { ended <- stream.Run(ctx) }()
	o := b.operator()
	for leftOver(t, o) > 0 {
		if ctx.Err() != nil {
			t.Fatal("some results were not handed on in time")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := stream.StopWithin(time.Minute); err != nil {
		t.Error(err)
	}
	<-ended
	mu.Lock()
	defer mu.Unlock()
	if !maps.Equal(got, want) {
		t.Errorf("the webhook was sent\n%v\nwant\n%v", got, want)
	}
	files, err := filepath.Glob(filepath.Join(dir, "minute", "*.ndjson"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var lines []string
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Fields(string(raw))...)
	}
	slices.Sort(lines)
	if kept := slices.Compact(lines); !slices.Equal(kept, slices.Sorted(maps.Values(want))) {
		t.Errorf("the files have\n%s", strings.Join(kept, "\n"))
	}
}

// leftOver returns how many results were not handed on.
func leftOver(t *testing.T, o *output) (n int) {
	t.Helper()
	if err := o.db.QueryRow(`SELECT count(*) FROM rule_result WHERE sent = 0`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
