// Package tracing sends traces to a collector, over OTLP. Package platform/trace decides what is
// traced.
//
// A crash loses the spans that were not sent yet, about the last second; no data depends on them.
package tracing

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"

	"weir/internal/platform/conf"
	"weir/internal/platform/trace"
)

const (
	tracerName     = "otlp"
	otlpFieldURL   = "url"
	otlpFieldRatio = "ratio"
)

func otlpSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Summary("Sends traces to a collector of OpenTelemetry, over HTTP.").
		Description(`
The gate decides which requests are traced: a share of them by chance, and up to ten a second whose clients ask for
it with the flag of `+"`traceparent`"+`. A traced request has one trace, from the gate over the log to the stores.
Where there is no URL nothing is traced, and it costs nothing.

Nothing waits for the collector. Of spans that it does not take in time the newest are lost, and counted in
`+"`weir_trace_spans_total{result=sent|dropped|failed}`"+`. Spans hold no events, devices, fleets, keys or texts of
errors.`).
		Field(service.NewStringField(otlpFieldURL).
			Description("The collector, as `http://HOST:PORT` or `https://…`, with `user:password@` if it wants that. "+
				"Without a path, spans go to `/v1/traces`. Empty traces nothing.").
			Secret().Default("").Example("http://localhost:4318").
			LintRule("root = if this.string() != \"\" && "+
				"!this.string().re_match(\"^https?://([^@/]*@)?[^@/]+(/|$)\") { "+
				"\"field url of otlp: expected a URL such as http://localhost:4318\" }")).
		Field(service.NewFloatField(otlpFieldRatio).
			Description("The share of requests that are traced, 0 to 1.").
			Default(0.01).
			LintRule("root = if this.type() == \"number\" && (this < 0 || this > 1) { "+
				"\"field ratio of otlp: expected 0 to 1\" }")).
		Example("A collector on this machine", "One request in a hundred, of all streams of the process.", `
tracer:
  otlp:
    url: http://localhost:4318
    ratio: 0.01
`)
}

// Register registers the components of this package.
func Register(env *service.Environment) error {
	return env.RegisterOtelTracerProvider(tracerName, otlpSpec(), newTracer)
}

func newTracer(parsed *service.ParsedConfig) (oteltrace.TracerProvider, error) {
	var address string
	var ratio float64
	if err := conf.Read(parsed, otlpFieldURL, conf.MaybeURL(&address, "http", "https"),
		otlpFieldRatio, conf.Between(&ratio, 0, 1)); err != nil {
		return nil, fmt.Errorf("reading the tracer %s: %w", tracerName, err)
	}
	if address == "" {
		return trace.Silent{}, nil
	}
	exporter, err := newExporter(address)
	if err != nil {
		return nil, fmt.Errorf("reading the tracer %s: reading field %s: %w", tracerName, otlpFieldURL, err)
	}
	res := parsed.Resources()
	return trace.New(trace.Options{Ratio: ratio, Exporter: exporter, Version: res.EngineVersion(),
		Log: res.Logger()}), nil
}

// newExporter returns an exporter to a collector. Its errors contain only the host of the address,
// as the user part may hold a password, and the path a key.
func newExporter(address string) (sdktrace.SpanExporter, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("expected a URL such as http://localhost:4318")
	}
	options := []otlptracehttp.Option{
		otlptracehttp.WithTimeout(10 * time.Second), // of one attempt
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second,
			MaxInterval: 5 * time.Second, MaxElapsedTime: 20 * time.Second}),
	}
	if u.User != nil {
		password, _ := u.User.Password()
		login := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		options = append(options, otlptracehttp.WithHeaders(map[string]string{"Authorization": "Basic " + login}))
		u.User = nil
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	options = append(options, otlptracehttp.WithEndpointURL(u.String()))
	exporter, err := otlptrace.New(context.Background(), otlptracehttp.NewClient(options...)) // it does not connect yet
	return quiet{exporter, u}, err
}

// quiet removes the path from errors.
type quiet struct {
	sdktrace.SpanExporter
	at *url.URL
}

func (q quiet) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := q.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	return errors.New(strings.NewReplacer(q.at.Path, "/…", q.at.EscapedPath(), "/…").Replace(err.Error()))
}
