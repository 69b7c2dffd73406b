package exporter

import (
	"fmt"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // generate, drop
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/prom"
)

const document = "| metric | type | labels | says | when it rises |\n|---|---|---|---|---|\n" +
	"| `weir_a_total` | counter | `code` | what `a` counts ([ingest.md](ingest.md)) | look |\n" +
	"| `weir_build_info` | gauge | `version` | what runs | - |\n"

func made(t *testing.T) *exporter {
	t.Helper()
	b := buckets{all: []float64{0.1, 1}, ages: []float64{60}, calls: []float64{0.5}}
	e, err := newExporter("1.4.0", help(document), b, service.MockResources().Logger())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *exporter) served() string {
	w := httptest.NewRecorder()
	e.HandlerFunc()(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestExporter_MetricsSayWhatTheyAre(t *testing.T) {
	e := made(t)
	e.NewCounterCtor("weir_a_total", "code")("x").Incr(2)
	e.NewCounterCtor("weir_a_total", "code")("x").(interface{ IncrFloat64(float64) }).IncrFloat64(0.5)
	e.NewTimerCtor("weir_b_seconds")().Timing(250_000_000)
	e.NewTimerCtor("weir_d_freshness_seconds")().Timing(1)
	e.NewTimerCtor("weir_e_call_seconds")().Timing(1)
	e.NewGaugeCtor("weir_c_up", "stream")("raw").Set(1)
	e.NewGaugeCtor("weir_c_up", "stream")("raw").(interface{ SetFloat64(float64) }).SetFloat64(0.25)
	said := e.served()
	for _, line := range []string{"# HELP weir_a_total what a counts (ingest.md)\n", "# TYPE weir_a_total counter\n",
		`weir_a_total{code="x"} 2.5` + "\n", "# HELP weir_b_seconds " + unknown + "\n",
		`weir_b_seconds_bucket{le="0.1"} 0` + "\n", `weir_b_seconds_bucket{le="1"} 1` + "\n",
		"weir_b_seconds_sum 0.25\n", `weir_d_freshness_seconds_bucket{le="60"} 1` + "\n",
		`weir_e_call_seconds_bucket{le="0.5"} 1` + "\n", `weir_c_up{stream="raw"} 0.25` + "\n",
		`weir_build_info{go="go`, `version="1.4.0"} 1` + "\n", "# HELP weir_build_info what runs\n", "process_cpu_seconds_total",
		"go_goroutines"} {
		if !strings.Contains(said, line) {
			t.Errorf("%q is not served:\n%s", line, said)
		}
	}
}

// A name that comes as another type, or with other labels, harms no other.
func TestExporter_ANameHasOneTypeAndOneListOfLabels(t *testing.T) {
	e := made(t)
	e.NewCounterCtor("weir_a_total", "code")("x").Incr(1)
	e.NewCounterCtor("weir_a_total")().Incr(1)
	e.NewCounterCtor("weir_a_total", "other")("x").Incr(1)
	e.NewGaugeCtor("weir_a_total", "code")("x").Set(7)
	e.NewTimerCtor("weir_a_total", "code")("x").Timing(7)
	e.NewTimerCtor("no name")().Timing(1)
	if said := e.served(); strings.Count(said, "\nweir_a_total") != 1 || strings.Contains(said, "no name") ||
		!strings.Contains(said, `weir_a_total{code="x"} 1`+"\n") {
		t.Errorf("served is\n%s", said)
	}
}

// Who reads the metrics of its own process finds what it would be served.
func TestExporter_ReadsWhatItServes(t *testing.T) {
	e := made(t)
	e.NewCounterCtor("weir_a_total", "code")("x").Incr(2)
	e.NewCounterCtor("weir_a_total", "code")("y").Incr(3)
	e.NewTimerCtor("weir_b_seconds")().Timing(250_000_000)
	e.NewGaugeCtor("weir_c_up", "stream")("raw").Set(1)
	e.NewGaugeCtor("weir_unwanted")().Set(1)
	want := func(name string) bool { return strings.HasPrefix(name, "weir_") && name != "weir_unwanted" }
	read, err := e.Read(want)
	if err != nil {
		t.Fatal(err)
	}
	served, err := prom.Parse(strings.NewReader(e.served()), want)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []prom.Scrape{read, served} {
		for _, all := range s.Series {
			slices.SortFunc(all, func(a, b prom.Series) int { return strings.Compare(a.Labels["code"], b.Labels["code"]) })
		}
	}
	if !reflect.DeepEqual(read, served) || len(read.Series) != 3 || len(read.Histograms["weir_b_seconds"]) != 1 {
		t.Errorf("read\n%v\nserved\n%v", read, served)
	}
}

func TestExporter_AStreamThatEndedLeavesNoSeries(t *testing.T) {
	e := made(t)
	for _, stream := range []string{"raw", "rollup"} {
		e.NewCounterCtor("weir_a_total", "stream", "code")(stream, "x").Incr(1)
		e.NewTimerCtor("weir_b_seconds", "stream")(stream).Timing(1)
		e.NewGaugeCtor("weir_c_up", "stream")(stream).Set(1)
	}
	var _ service.MetricsExporterSeriesDeleter = e
	e.DeleteSeriesPartialMatch(map[string]string{"stream": "raw"})
	said := e.served()
	if strings.Contains(said, `stream="raw"`) || strings.Count(said, `stream="rollup"`) < 3 ||
		!strings.Contains(said, "weir_build_info") {
		t.Errorf("served is\n%s", said)
	}
}

func TestExporter_BucketsRise(t *testing.T) {
	env := service.NewEnvironment()
	if err := Register(env, "1.4.0", document); err != nil {
		t.Fatal(err)
	}
	for buckets, ok := range map[string]bool{"[0.1, 1]": true, "[]": false, "[1, 0.1]": false, "[1, 1]": false} {
		b := env.NewStreamBuilder()
		if err := b.SetMetricsYAML("weir_metrics: { buckets: " + buckets + " }"); err != nil {
			t.Fatal(err)
		}
		if err := b.AddInputYAML("generate: { count: 1, mapping: 'root = {}' }"); err != nil {
			t.Fatal(err)
		}
		if err := b.AddOutputYAML("drop: {}"); err != nil {
			t.Fatal(err)
		}
		s, err := b.Build()
		if err == nil {
			err = s.Run(t.Context())
		}
		if (err == nil) != ok {
			t.Errorf("buckets %s: %v", buckets, err)
		}
	}
}

// As many series as a process may have are served within a fraction of the time
// that a scrape may take: the quickest of some, since a test shares its machine.
func TestExporter_AScrapeTakesNoTime(t *testing.T) {
	all := []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
	e, err := newExporter("1.4.0", help(document), buckets{all: all}, service.MockResources().Logger())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 24 { // of 17 series each
		e.NewTimerCtor("weir_b_seconds", "stream")(fmt.Sprint("s", i)).Timing(1)
	}
	for i := range 500 {
		e.NewCounterCtor("weir_a_total", "code")(fmt.Sprint("code_", i)).Incr(1)
	}
	quickest := time.Hour
	for range 20 {
		began := time.Now()
		series := 0
		for line := range strings.Lines(e.served()) {
			if !strings.HasPrefix(line, "#") {
				series++
			}
		}
		if series < 900 {
			t.Fatalf("only %d series are served", series)
		}
		quickest = min(quickest, time.Since(began))
	}
	t.Logf("the quickest scrape took %s", quickest)
	if quickest > 50*time.Millisecond {
		t.Errorf("the quickest scrape took %s", quickest)
	}
}
