// Package prom parses metrics in Prometheus' text format, as the engine serves them.
package prom

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Series is one series of a counter or a gauge.
type Series struct {
	Labels map[string]string
	Value  float64
}

// Bucket is a cumulative histogram bucket: Count observations were at most Le.
type Bucket struct {
	Le    float64
	Count uint64
}

// Scrape is the result of a scrape: series and histograms by metric name.
type Scrape struct {
	Series     map[string][]Series
	Histograms map[string][][]Bucket
}

// New returns an empty Scrape.
func New() Scrape {
	return Scrape{Series: map[string][]Series{}, Histograms: map[string][][]Bucket{}}
}

// Parse parses the metrics whose names want accepts; a nil want accepts all.
func Parse(r io.Reader, want func(name string) bool) (Scrape, error) {
	out := New()
	if want != nil {
		var err error
		if r, err = only(r, want); err != nil {
			return out, err
		}
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return out, fmt.Errorf("reading metrics: %w", err)
	}
	for _, family := range families {
		out.Add(family)
	}
	return out, nil
}

// Add adds a counter, gauge, untyped metric or histogram; it ignores others.
func (s *Scrape) Add(family *dto.MetricFamily) {
	name := family.GetName()
	for _, m := range family.GetMetric() {
		one := Series{Labels: map[string]string{}}
		for _, l := range m.GetLabel() {
			one.Labels[l.GetName()] = l.GetValue()
		}
		switch {
		case m.Counter != nil:
			one.Value = m.Counter.GetValue()
		case m.Gauge != nil:
			one.Value = m.Gauge.GetValue()
		case m.Untyped != nil:
			one.Value = m.Untyped.GetValue()
		case m.Histogram != nil:
			var buckets []Bucket
			for _, b := range m.Histogram.GetBucket() {
				buckets = append(buckets, Bucket{b.GetUpperBound(), b.GetCumulativeCount()})
			}
			if n := len(buckets); n == 0 || !math.IsInf(buckets[n-1].Le, 1) { // only the text format has +Inf
				buckets = append(buckets, Bucket{math.Inf(1), m.Histogram.GetSampleCount()})
			}
			s.Histograms[name] = append(s.Histograms[name], buckets)
			continue
		default:
			continue
		}
		s.Series[name] = append(s.Series[name], one)
	}
}

// only keeps the lines of wanted metrics, since most of a large scrape need not be parsed.
func only(r io.Reader, want func(string) bool) (io.Reader, error) {
	var kept bytes.Buffer
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for lines.Scan() {
		name := lines.Text()
		if comment, ok := strings.CutPrefix(name, "# "); ok { // # TYPE name counter
			_, comment, _ = strings.Cut(comment, " ")
			name = comment
		}
		if end := strings.IndexAny(name, "{ "); end >= 0 {
			name = name[:end]
		}
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, part)
		}
		if want(name) {
			kept.Write(lines.Bytes())
			kept.WriteByte('\n')
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	return &kept, nil
}

// Get scrapes an endpoint.
func Get(ctx context.Context, client *http.Client, url string, want func(name string) bool) (Scrape, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Scrape{}, fmt.Errorf("reading metrics: %w", err)
	}
	// No compression: most scrapers are on this machine, where it costs more than all the rest.
	req.Header.Set("Accept-Encoding", "identity")
	res, err := client.Do(req)
	if err != nil {
		return Scrape{}, fmt.Errorf("reading metrics: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // the body was read; nothing to do about an error
	if res.StatusCode != http.StatusOK {
		return Scrape{}, fmt.Errorf("reading metrics: the server answered %s", res.Status)
	}
	return Parse(res.Body, want)
}
