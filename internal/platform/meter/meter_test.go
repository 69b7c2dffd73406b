package meter_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // generate, drop
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/exporter"
	"weir/internal/platform/meter"
)

// All that is made is served before anything happens, at 0; a time that is none is
// no observation.
func TestMeter_WhatIsMadeIsThereAtOnce(t *testing.T) {
	env := service.NewEnvironment()
	var exported service.MetricsExporter
	if err := exporter.Register(env, "1.4.0", "", func(e service.MetricsExporter) { exported = e }); err != nil {
		t.Fatal(err)
	}
	if err := env.RegisterProcessor("measured", service.NewConfigSpec(),
		func(_ *service.ParsedConfig, res *service.Resources) (service.Processor, error) {
			m := res.Metrics()
			meter.Counter(m, "weir_a_total")
			meter.Counters(m, "weir_b_total", "of", "x", "y")
			meter.Gauge(m, "weir_c_rows")
			meter.Gauges(m, "weir_d_rows", "of", "x", "y")
			meter.Timer(m, "weir_e_seconds")
			return nothing{}, nil
		}); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.SetYAML("logger: {level: OFF}\nmetrics: {weir_metrics: {buckets: [1]}}\n" +
		"input: {generate: {count: 1, mapping: 'root = {}'}}\npipeline: {processors: [{measured: {}}]}\n" +
		"output: {drop: {}}\n"); err != nil {
		t.Fatal(err)
	}
	stream, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	exported.(interface{ HandlerFunc() http.HandlerFunc }).HandlerFunc()(w, httptest.NewRequest("GET", "/metrics", nil))
	raw, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), "{")
		if strings.HasPrefix(name, "weir_") {
			labels, value, _ := strings.Cut(rest, "} ")
			of := ""
			for _, v := range []string{"x", "y"} {
				if strings.Contains(labels, `of="`+v+`"`) {
					of = v
				}
			}
			values[name+of] = value
		}
	}
	for _, name := range []string{"weir_a_total", "weir_b_totalx", "weir_b_totaly", "weir_c_rows", "weir_d_rowsx",
		"weir_d_rowsy", "weir_e_seconds_bucket", "weir_e_seconds_count", "weir_e_seconds_sum"} {
		if values[name] != "0" {
			t.Errorf("%s is %q\n%s", name, values[name], raw)
		}
	}
}

type nothing struct{}

func (nothing) Process(_ context.Context, m *service.Message) (service.MessageBatch, error) {
	return service.MessageBatch{m}, nil
}

func (nothing) Close(context.Context) error { return nil }
