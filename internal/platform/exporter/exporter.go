// Package exporter serves the engine's metrics to Prometheus, with a help text per metric and weir's version; the
// engine's own exporter has one help text for all.
package exporter

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/prom"
)

const (
	fieldBuckets = "buckets"
	fieldAges    = "age_buckets"
	fieldCalls   = "call_buckets"
	unknown      = "of a component that docs/metrics.md does not know"
)

func spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Summary("Serves metrics to Prometheus at `/metrics`, with what each says.").
		Description("Times are histograms, in seconds. Beside the streams' are `weir_build_info`, and those of the Go " +
			"runtime and the process.").
		Field(service.NewFloatListField(fieldBuckets).
			Description("The upper bounds of the histograms' buckets, in seconds.").
			Default([]any{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0})).
		Field(service.NewFloatListField(fieldAges).
			Description("Those of names that end in `_freshness_seconds`.").
			Default([]any{1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0})).
		Field(service.NewFloatListField(fieldCalls).
			Description("Those of names that end in `_call_seconds`, and of `processor_latency_seconds`.").
			Default([]any{0.001, 0.005, 0.025, 0.1, 0.5, 2.5}))
}

// buckets are the histogram bounds, selected by suffix of the metric's name.
type buckets struct{ all, ages, calls []float64 }

func (b *buckets) of(name string) []float64 {
	switch {
	case strings.HasSuffix(name, "_freshness_seconds"):
		return b.ages
	case strings.HasSuffix(name, "_call_seconds"), name == "processor_latency_seconds":
		return b.calls
	}
	return b.all
}

func readBuckets(parsed *service.ParsedConfig) (b buckets, err error) {
	for field, to := range map[string]*[]float64{fieldBuckets: &b.all, fieldAges: &b.ages, fieldCalls: &b.calls} {
		if *to, err = parsed.FieldFloatList(field); err != nil {
			return b, err
		}
		if len(*to) == 0 || !slices.IsSorted(*to) || len(slices.Compact(slices.Clone(*to))) < len(*to) {
			return b, fmt.Errorf("reading field %s: expected bounds that rise", field)
		}
	}
	return b, nil
}

// Register adds the metrics exporter `weir_metrics`. Help texts are taken from the tables of a Markdown document.
// Each exporter that is created is passed to the functions in more, which add metrics that belong to no stream.
func Register(env *service.Environment, version, document string, more ...func(service.MetricsExporter)) error {
	texts := help(document)
	return env.RegisterMetricsExporter("weir_metrics", spec(),
		func(parsed *service.ParsedConfig, log *service.Logger) (service.MetricsExporter, error) {
			buckets, err := readBuckets(parsed)
			if err != nil {
				return nil, err
			}
			e, err := newExporter(version, texts, buckets, log)
			if err != nil {
				return nil, err
			}
			for _, meter := range more {
				meter(e)
			}
			return e, nil
		})
}

// exporter holds the metrics of a process. A name has one type and one list of labels; a metric that conflicts is
// logged and dropped.
type exporter struct {
	texts   map[string]string
	buckets buckets
	log     *service.Logger
	reg     *prometheus.Registry

	mu       sync.Mutex
	families map[string]family
}

type family struct {
	labels []string
	vector vector
}

// vector is a metric vector of Prometheus: counters, gauges or histograms.
type vector interface {
	prometheus.Collector
	DeletePartialMatch(prometheus.Labels) int
}

func newExporter(version string, texts map[string]string, buckets buckets,
	log *service.Logger) (*exporter, error) {
	e := &exporter{texts: texts, buckets: buckets, log: log, reg: prometheus.NewRegistry(), families: map[string]family{}}
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := e.reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics of the process: %w", err)
		}
	}
	e.NewGaugeCtor("weir_build_info", "version", "go")(version, runtime.Version()).Set(1)
	return e, nil
}

// HandlerFunc returns the handler for /metrics.
func (e *exporter) HandlerFunc() http.HandlerFunc {
	return promhttp.HandlerFor(e.reg, promhttp.HandlerOpts{}).ServeHTTP
}

// Read returns the metrics whose names want accepts, for use in this process. Serving and parsing all of /metrics
// instead takes some fifteen times the memory and more time.
func (e *exporter) Read(want func(name string) bool) (prom.Scrape, error) {
	out := prom.New()
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, f := range e.families {
		if !want(name) {
			continue
		}
		family := &dto.MetricFamily{Name: &name}
		all := make(chan prometheus.Metric)
		go func() { defer close(all); f.vector.Collect(all) }()
		var failed error
		for m := range all { // drain the channel, or Collect blocks forever
			one := &dto.Metric{}
			if err := m.Write(one); err != nil {
				failed = err
			}
			family.Metric = append(family.Metric, one)
		}
		if failed != nil {
			return out, fmt.Errorf("reading the metric %s: %w", name, failed)
		}
		out.Add(family)
	}
	return out, nil
}

// Close does nothing: metrics are not saved.
func (e *exporter) Close(context.Context) error { return nil }

func (e *exporter) NewCounterCtor(name string, labels ...string) service.MetricsExporterCounterCtor {
	vec, ok := kept(e, name, labels, func(help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	})
	return func(values ...string) service.MetricsExporterCounter {
		if !ok {
			return nothing{}
		}
		return counter{vec.WithLabelValues(values...)}
	}
}

func (e *exporter) NewTimerCtor(name string, labels ...string) service.MetricsExporterTimerCtor {
	vec, ok := kept(e, name, labels, func(help string) *prometheus.HistogramVec {
		o := prometheus.HistogramOpts{Name: name, Help: help, Buckets: e.buckets.of(name)}
		return prometheus.NewHistogramVec(o, labels)
	})
	return func(values ...string) service.MetricsExporterTimer {
		if !ok {
			return nothing{}
		}
		return timer{vec.WithLabelValues(values...)}
	}
}

func (e *exporter) NewGaugeCtor(name string, labels ...string) service.MetricsExporterGaugeCtor {
	vec, ok := kept(e, name, labels, func(help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	})
	return func(values ...string) service.MetricsExporterGauge {
		if !ok {
			return nothing{}
		}
		return gauge{vec.WithLabelValues(values...)}
	}
}

// DeleteSeriesPartialMatch drops the series of a stream that has ended.
func (e *exporter) DeleteSeriesPartialMatch(labels map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.families {
		f.vector.DeletePartialMatch(labels)
	}
}

// kept returns the metric of a name, registering it if it is new. ok is false when the name has another type or other
// labels.
func kept[T vector](e *exporter, name string, labels []string, made func(help string) T) (T, bool) {
	var none T
	e.mu.Lock()
	defer e.mu.Unlock()
	known, is := e.families[name]
	if !is {
		text := e.texts[name]
		if text == "" {
			text = unknown
		}
		known = family{slices.Clone(labels), made(text)}
		if err := e.reg.Register(known.vector); err != nil {
			e.log.Errorf("the metric %s is not kept: %v", name, err)
			return none, false
		}
		e.families[name] = known
	}
	vec, ok := known.vector.(T)
	if ok = ok && slices.Equal(known.labels, labels); !ok {
		e.log.Errorf("the metric %s with labels %q is not kept: it is a %T with %q", name, labels, known.vector,
			known.labels)
	}
	return vec, ok
}

type counter struct{ prometheus.Counter }

func (c counter) Incr(n int64)          { c.Add(float64(n)) }
func (c counter) IncrFloat64(n float64) { c.Add(n) }

type timer struct{ prometheus.Observer }

// Timing records a duration; a negative one only creates the series: see meter.None.
func (t timer) Timing(nanoseconds int64) {
	if nanoseconds >= 0 {
		t.Observe(float64(nanoseconds) / 1e9)
	}
}

type gauge struct{ prometheus.Gauge }

func (g gauge) Set(n int64)          { g.Gauge.Set(float64(n)) }
func (g gauge) SetFloat64(n float64) { g.Gauge.Set(n) }

// nothing is a dropped metric.
type nothing struct{}

func (nothing) Incr(int64)   {}
func (nothing) Timing(int64) {}
func (nothing) Set(int64)    {}
