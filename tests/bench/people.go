package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	peopleTopic = "user-events"
	peopleRate  = 16_700 // events a second: a million a minute
	visitors    = 200_000
	products    = 500
	// probeEach is how often the prober looks for an event or an alert.
	probeEach = 250 * time.Millisecond
	// probeCycle is how often it sends an event and a burst, and asks the queries: dashboards refresh each 30 s.
	probeCycle = 5 * time.Second
)

// peopleSettings give weir time and memory to do more at once: docs/user-events.md, "A million events a minute".
var peopleSettings = []string{"GOMEMLIMIT=16GiB", "WEIR_USER_GATHER=50ms", "WEIR_LOG_LINGER=20ms",
	"WEIR_RULES_WAIT=250ms", "WEIR_USER_MAKE_WAY=200000", "WEIR_RULES_MAKE_WAY=200000"}

// people measures a million user events a minute through all streams that are shipped for them, and how soon queries
// and alerts reflect an event.
func (b *bench) people(ctx context.Context) error {
	catalogue := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"category":"c%d"}`, len(r.URL.Path)%7)
	}))
	defer catalogue.Close()
	home, err := b.peopleHome(catalogue.URL)
	if err != nil {
		return err
	}
	var gate string
	if err := freeAddresses(&gate); err != nil {
		return err
	}
	s, err := b.up(ctx, home, append([]string{"WEIR_USER_INGEST_ADDRESS=" + gate, "WEIR_RULES_TOPICS=" + peopleTopic,
		"WEIR_PRIVACY_KEYS=k1:" + strings.Repeat("0123456789abcdef", 2)}, peopleSettings...)...)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.await(ctx, gate, ""); err != nil {
		return err
	}
	load := poster{url: "http://" + gate, key: s.key, devices: visitors, batch: 20, rate: peopleRate, connections: 512,
		event: visit}
	probe := &prober{system: s, gate: load}
	warmup, measured := b.seconds(60), b.seconds(600)
	if err := s.meet(ctx, load, warmup); err != nil {
		return err
	}
	before, err := s.usage()
	if err != nil {
		return err
	}
	probing, stop := context.WithCancel(ctx)
	defer stop()
	probed := make(chan error, 1)
	go func() { probed <- probe.run(probing) }()
	if b.profile != "" {
		time.AfterFunc(measured/2, func() { b.keepProfile(ctx, s.ops, "people") })
	}
	start := time.Now()
	taken, failed, sendErr := load.post(ctx, measured)
	took := time.Since(start)
	stop()
	if err := errors.Join(sendErr, <-probed); err != nil {
		return err
	}
	gone, err := s.drainTopic(ctx, peopleTopic, 5*time.Minute, peopleGroups...)
	if err != nil {
		return err
	}
	after, err := s.usage() // after the backlog: otherwise a lagging consumer would seem cheap
	if err != nil {
		return err
	}
	if err := b.peopleStored(ctx, s); err != nil {
		return err
	}
	t := b.report.table("A million events about people a minute",
		fmt.Sprintf("All streams of `configs/people` beside those of telemetry in one `weir up`: privacy, consent, a "+
			"look-up of "+
			"%d products over HTTP, schema, blocks, Parquet, data quality, and the rules of `configs/analytics.yaml`; %s "+
			"visitors, who have been there before, twenty events a request on 512 connections, for %s; the generator is "+
			"beside it. Shows: from an event's time until `/v1/analytics/events` counts it. Alert: from the tenth order of "+
			"a burst until `/v1/alerts` "+
			"has it. Each 5 s both are sent, and looked for each 0.25 s; then come five queries. Settings: `"+
			strings.Join(peopleSettings, "`, `")+"`. Goals: 16,700 events/s, p95 of both 5 s, of queries 2 s.",
			products, number(visitors), measured),
		"events/s asked", "events/s", "refused", "µs of CPU per event", "peak memory MiB", "shows p50 s", "p95 s",
		"alert p50 s",
		"p95 s", "queries", "p50 ms", "p95 ms", "seconds to drain")
	t.row(peopleRate, float64(taken)/took.Seconds(), failed, perEvent(before, after, taken), after.peak,
		quantile(probe.shows, 0.5), quantile(probe.shows, 0.95), quantile(probe.alerts, 0.5), quantile(probe.alerts, 0.95),
		len(probe.queries), 1e3*quantile(probe.queries, 0.5), 1e3*quantile(probe.queries, 0.95), gone.took.Seconds())
	return nil
}

// peopleGroups are the consumer groups of user events.
var peopleGroups = []string{"weir-user-raw", "weir-rules"}

// meet is the warm-up: it sends the load for d and until each visitor has sent an event, and waits until all of it is
// processed. So the measurement has returning visitors, and starts from a state that weir kept up with.
func (s *system) meet(ctx context.Context, load poster, d time.Duration) error {
	load.least = visitors
	taken, failed, err := load.post(ctx, d)
	if err == nil && taken == 0 {
		err = errors.New("none was taken")
	}
	if err != nil {
		return fmt.Errorf("warming up: %d events taken, %d refused: %w", taken, failed, err)
	}
	if _, err := s.drainTopic(ctx, peopleTopic, 10*time.Minute, peopleGroups...); err != nil {
		return fmt.Errorf("warming up: %w", err)
	}
	return nil
}

// peopleStored fails unless weir reconcile explains every event.
func (b *bench) peopleStored(ctx context.Context, s *system) error {
	ends, err := s.admin.ListEndOffsets(ctx, peopleTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("reading the log's ends: %w", err)
	}
	var events int64
	ends.Each(func(o kadm.ListedOffset) { events += o.Offset })
	out, err := exec.CommandContext(ctx, b.binary, "reconcile", "--log", peopleTopic, "--data", s.data).CombinedOutput()
	if err != nil {
		return fmt.Errorf("reconciling %d events: %w\n%s", events, err, out)
	}
	return nil
}

// peopleHome creates a --home folder with all shipped streams and those of configs/people, and adds to the ingest of
// user events what docs/privacy.md and docs/enrich.md describe.
func (b *bench) peopleHome(catalogue string) (string, error) {
	names, err := b.shipped()
	if err != nil {
		return "", err
	}
	home, err := b.home(names...)
	if err != nil {
		return "", err
	}
	configs := filepath.Join(home, "configs")
	if err := copyFile(filepath.Join(b.repo, "configs", "analytics.yaml"), filepath.Join(configs,
		"rules.yaml")); err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(b.repo, "configs", "people", "*.yaml"))
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if err := copyFile(f, filepath.Join(configs, "streams", filepath.Base(f))); err != nil {
			return "", err
		}
	}
	ingest := filepath.Join(configs, "streams", "user_ingest.yaml")
	raw, err := os.ReadFile(ingest)
	if err != nil {
		return "", err
	}
	const before = "    - label: validate\n"
	whole := bytes.Replace(raw, []byte(before), []byte(strings.ReplaceAll(alsoForPeople, "CATALOGUE", catalogue)+before),
		1)
	if bytes.Equal(raw, whole) {
		return "", fmt.Errorf("%s has no step labelled validate to put others before", ingest)
	}
	return home, os.WriteFile(ingest, whole, 0o600)
}

func copyFile(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o600)
}

const alsoForPeople = `    - label: consent
      consent:
        url: ${WEIR_CONTROL_URL}
        purposes: [analytics]
        unknown: pass
    - label: enrich
      enrich:
        deadline: 100ms
        lookups:
          - name: product
            key: ${! this.payload.product }
            result_map: root.payload.category = this.category
            processors:
              - label: ask
                http:
                  url: CATALOGUE/${! content().string().escape_url_query() }
                  verb: GET
                  retries: 0
`

// visit returns the nth event of the load: visitors view pages and products, and some of them order.
func visit(n int, device, at string) string {
	number := strconv.Itoa
	kind, metrics, payload := "page_viewed", "", `"page":"/p/`+number(n%97)+`"`
	switch v := n / 7 % 100; {
	case v < 6:
		kind, payload = "product_viewed", `"product":"p`+number(n%products)+`"`
	case v < 9:
		kind, payload = "cart_added", `"product":"p`+number(n%products)+`"`
	case v == 9:
		kind, payload = "checkout_started", `"step":1`
	case v == 10:
		kind, metrics, payload = "order_placed", `"amount_minor":`+number(500+n%9000), `"currency":"EUR"`
	case v < 15:
		payload = `"page":"/","campaign":"c` + number(n%12) + `"`
	}
	return personal(device, at, kind, metrics, payload, "u-"+number(n%visitors))
}

func personal(device, at, kind, metrics, payload, user string) string {
	return `{"event_id":"` + uuid.NewString() + `","device_id":"` + device + `","device_firmware_version":"1.2.0",` +
		`"timestamp":"` + at + `","metrics":{` + metrics + `},"metadata":{"type":"` + kind + `","source":"web"},` +
		`"user":{"id":"` + user + `","email":"` + user + `@example.com"},"context":{"user_agent":` +
		`"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0","ip":"198.51.100.7"},"payload":{` + payload + `}}`
}

// prober measures delays and queries while a load runs.
type prober struct {
	*system
	gate poster

	shows, alerts, queries []float64 // seconds
}

// run measures until ctx ends.
func (p *prober) run(ctx context.Context) error {
	for n := 0; ctx.Err() == nil; n++ {
		next := time.After(probeCycle)
		if err := p.shown(ctx); err != nil {
			return p.ended(ctx, err)
		}
		if err := p.burst(ctx, fmt.Sprintf("burst-%d", n)); err != nil {
			return p.ended(ctx, err)
		}
		now := time.Now().UTC()
		hour, minute := now.Add(-time.Hour).Format(time.RFC3339), now.Add(-time.Minute).Format(time.RFC3339)
		for _, q := range []string{"users?step=1m&from=" + hour, "revenue?step=1m&currency=EUR&from=" + hour,
			"sessions?from=" + hour, "funnels/funnel_checkout?from=" + minute, "attribution?model=linear&from=" + minute} {
			if err := p.ask(ctx, "/v1/analytics/"+q, nil); err != nil {
				return p.ended(ctx, err)
			}
		}
		select {
		case <-ctx.Done():
		case <-next:
		}
	}
	return nil
}

// ended returns err, or nil if ctx has ended.
func (p *prober) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// probeMost is the timeout of a probe.
const probeMost = 2 * time.Minute

// until polls each probeEach until there returns true or an error, at most for probeMost.
func until(ctx context.Context, what string, there func() (bool, error)) error {
	for deadline := time.Now().Add(probeMost); time.Now().Before(deadline); {
		if ok, err := there(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(probeEach):
		}
	}
	return fmt.Errorf("%s was not there after %s", what, probeMost)
}

// probeType is the type of the events that shown sends.
const probeType = "probe"

// counted returns how many probe events analytics counts in the last hour.
func (p *prober) counted(ctx context.Context) (n int64, err error) {
	var a struct {
		Windows []struct {
			Events int64 `json:"events"`
		} `json:"events"`
	}
	err = p.ask(ctx, "/v1/analytics/events?step=1m&type="+probeType, &a)
	for _, w := range a.Windows {
		n += w.Events
	}
	return n, err
}

// shown measures how soon an event is counted.
func (p *prober) shown(ctx context.Context) error {
	had, err := p.counted(ctx)
	if err != nil {
		return err
	}
	at := time.Now()
	if err := p.send(ctx, personal("probe", at.UTC().Format(time.RFC3339Nano), probeType, "", "", "u-probe")); err != nil {
		return err
	}
	err = until(ctx, "an event", func() (bool, error) {
		n, err := p.counted(ctx)
		return n > had, err
	})
	if err == nil {
		p.shows = append(p.shows, time.Since(at).Seconds())
	}
	return err
}

// burst measures how soon ten orders of one device raise an alert.
func (p *prober) burst(ctx context.Context, device string) error {
	var at time.Time
	for range 10 {
		at = time.Now()
		if err := p.send(ctx, personal(device, at.UTC().Format(time.RFC3339Nano), "order_placed", `"amount_minor":100`,
			`"currency":"EUR"`, "u-"+device)); err != nil {
			return err
		}
	}
	err := until(ctx, "an alert", func() (bool, error) {
		var a struct {
			Alerts []json.RawMessage `json:"alerts"`
		}
		err := p.ask(ctx, "/v1/alerts?device="+url.QueryEscape(device), &a)
		return len(a.Alerts) > 0, err
	})
	if err == nil {
		p.alerts = append(p.alerts, time.Since(at).Seconds())
	}
	return err
}

// send posts one event and fails unless it was accepted.
func (p *prober) send(ctx context.Context, event string) error {
	taken, err := p.gate.send(ctx, http.DefaultClient, strings.NewReader(event))
	if err == nil && !taken {
		err = errors.New("a probe was refused")
	}
	return err
}

// ask sends a query to the API and records the time until the answer.
func (p *prober) ask(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.api+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", p.key)
	start := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking %s: %w", path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("asking %s: %w", path, err)
	}
	p.queries = append(p.queries, time.Since(start).Seconds())
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking %s: answered %d: %s", path, resp.StatusCode, raw)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(raw, into)
}

// quantile returns a quantile of unsorted values, 0 if there are none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1))]
}
