package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBench_BenchmarkLinesAreReadPerEvent(t *testing.T) {
	for line, want := range map[string][3]float64{
		"BenchmarkParse-2 544678 844.4 ns/op 3 B/op 1 allocs/op":                                  {844.4, 1, 3},
		"BenchmarkRequest/100_events-2 296 806000 ns/op 8060 ns/event 200000 B/op 2400 allocs/op": {8060, 24, 2000},
		"BenchmarkProcessor/pebble-2 106 3500000 ns/op 3.5 µs/event 277000 B/op 1000 allocs/op":   {3500, 1, 277},
		"goos: linux\nBenchmarkParse-2 	 1	 10 ns/op	 0 B/op	 0 allocs/op\nPASS\nok  	weir/internal/event	1.0s": {10,
			0, 0},
	} {
		if got, err := parseBenchmark([]byte(line)); err != nil || [3]float64{got.ns, got.allocs, got.bytes} != want ||
			got.units["ns/op"] == 0 {
			t.Errorf("%s: %+v, %v; expected %v", line, got, err, want)
		}
	}
	if _, err := parseBenchmark([]byte("PASS\n")); err == nil {
		t.Error("no result must be an error")
	}
}

func TestBench_ResultsStandBetweenTheMarkers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, []byte("before\n"+markBegin+"\nold\n"+markEnd+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeBetweenMarkers(path, "new\n"); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if want := "before\n" + markBegin + "\nnew\n" + markEnd + "\nafter\n"; err != nil || string(raw) != want {
		t.Errorf("%q, %v; expected %q", raw, err, want)
	}
	if err := os.WriteFile(path, []byte("no markers"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeBetweenMarkers(path, "new\n"); err == nil || !strings.Contains(err.Error(), markBegin) {
		t.Errorf("a page without markers must be an error that names them, got %v", err)
	}
}

func TestBench_SteadyLoadsAreRead(t *testing.T) {
	loads, err := parseLoads(steadyLoads)
	if err != nil || len(loads) != 4 || loads[1] != (steadyLoad{5000, 10, 64}) {
		t.Errorf("%+v, %v", loads, err)
	}
	for _, text := range []string{"", "5000", "5000x10", "5000x10x0", "5000x10x64x1", "5000x10x64,"} {
		if loads, err := parseLoads(text); err == nil {
			t.Errorf("%q is read as %+v", text, loads)
		}
	}
}

func TestBench_MetricsAreSummed(t *testing.T) {
	text := "# TYPE rows counter\nrows_total{a=\"1\"} 2\nrows{a=\"x y\"} 3\nrows{a=\"2\"} 1.5e+06\n"
	if got, err := sumMetric(text, "rows"); err != nil || got != 1500003 {
		t.Errorf("%v, %v; expected 1500003", got, err)
	}
}

func TestBench_NumbersAreReadable(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234: "1,234",
		1234567.8: "1,234,568"} {
		if got := number(v); got != want {
			t.Errorf("%v is written %q, expected %q", v, got, want)
		}
	}
}

func TestBench_SizesOfStoresAreRead(t *testing.T) {
	if sizes, err := parseSizes("1,10,100"); err != nil || len(sizes) != 3 || sizes[2] != 100 {
		t.Errorf("%v, %v", sizes, err)
	}
	for _, text := range []string{"", "1,", "0", "x", "10,1", "1,1"} {
		if sizes, err := parseSizes(text); err == nil {
			t.Errorf("%q is read as %v", text, sizes)
		}
	}
}

// All devices report, each event is valid JSON, and refused events are counted.
func TestBench_PosterSendsForAllDevices(t *testing.T) {
	var mu sync.Mutex
	seen, requests := map[string]int{}, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var events []struct {
			Device string `json:"device_id"`
		}
		if err := json.NewDecoder(r.Body).Decode(&events); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, e := range events {
			seen[e.Device]++
		}
		if requests++; requests%5 == 0 {
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	defer server.Close()
	p := poster{url: server.URL, devices: 30, batch: 5, rate: 1000, connections: 2}
	taken, failed, err := p.post(t.Context(), 100*time.Millisecond)
	if err != nil || taken+failed != 100 || failed != 20 {
		t.Errorf("%d taken, %d refused, %v; expected 80 and 20", taken, failed, err)
	}
	if len(seen) != 30 {
		t.Errorf("%d devices reported, expected 30", len(seen))
	}
}

func TestBench_AnHourHasItsEvents(t *testing.T) {
	for _, h := range []hour{{devices: 3}, {devices: 250, every: time.Minute}} {
		n := int64(0)
		h.bodies(func(body []byte) bool {
			n += int64(bytes.Count(body, []byte("\n")))
			return true
		})
		if n != h.events() {
			t.Errorf("%+v: %d events, expected %d", h, n, h.events())
		}
	}
}
