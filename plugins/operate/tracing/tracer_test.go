package tracing

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"weir/internal/platform/trace"
)

func parsed(t *testing.T, yaml string) *service.ParsedConfig {
	t.Helper()
	conf, err := otlpSpec().ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

func TestTracer_WithoutACollectorIsNone(t *testing.T) {
	p, err := newTracer(parsed(t, "{}"))
	if _, none := p.(trace.Silent); err != nil || !none {
		t.Errorf("got %T, %v", p, err)
	}
}

func TestTracer_WhatCannotBeReadIsNamed(t *testing.T) {
	for yaml, says := range map[string]string{
		"url: ftp://localhost": "url", "url: http://": "url", "url: http://localhost:4318\nratio: 1.5": "ratio",
		"url: 'http://me:secret@[::1'": "url",
	} {
		_, err := newTracer(parsed(t, yaml))
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", yaml, err)
		}
	}
}

// Spans come to where the URL says, with its login.
func TestTracer_ACollectorHasTheSpans(t *testing.T) {
	type came struct {
		path, user, password string
		spans                []string
	}
	got := make(chan came, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := came{path: r.URL.Path}
		c.user, c.password, _ = r.BasicAuth()
		raw, err := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(raw, &req) != nil {
			t.Errorf("what came cannot be read (%v)", err)
		}
		for _, of := range req.GetResourceSpans() {
			for _, by := range of.GetScopeSpans() {
				for _, s := range by.GetSpans() {
					c.spans = append(c.spans, s.GetName())
				}
			}
		}
		got <- c
	}))
	defer server.Close()
	for path, want := range map[string]string{"": "/v1/traces", "/": "/v1/traces", "/api/otlp": "/api/otlp"} {
		url := strings.Replace(server.URL, "http://", "http://me:pa%3Ass@", 1) + path
		p, err := newTracer(parsed(t, "url: "+url+"\nratio: 1"))
		if err != nil {
			t.Fatal(err)
		}
		ours, ok := p.(*trace.Provider)
		if !ok {
			t.Fatalf("got a %T", p)
		}
		span, _ := ours.Begin("POST", "", "id")
		span.End(202, 1, 0)
		if err := ours.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if c := <-got; c.path != want || c.user != "me" || c.password != "pa:ss" || strings.Join(c.spans, " ") != "POST" {
			t.Errorf("to %q came %+v", path, c)
		}
	}
}

// Whatever goes wrong, the log has nothing of the address but its host: hosted
// collectors have keys in paths.
func TestTracer_NoFailureShowsTheAddress(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer refuses.Close()
	hangsUp := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	defer hangsUp.Close()
	for _, server := range []*httptest.Server{refuses, hangsUp} {
		exporter, err := newExporter(strings.Replace(server.URL, "http://", "http://me:s3cret@", 1) + "/key-s3cr%20et")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // of what is tried again
		err = exporter.ExportSpans(ctx, tracetest.SpanStubs{{Name: "POST"}}.Snapshots())
		cancel()
		if err == nil || strings.Contains(err.Error(), "s3cr") || !strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%v", err)
		}
	}
}
