// Package watch checks conditions on weir's own metrics, and emits an alert when one begins or ends. Its state is in
// memory: after a restart a condition that still holds opens again, and the alert store folds that into the open
// alert.
package watch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
	"weir/internal/platform/prom"
)

const (
	watchFieldMetrics    = "metrics"
	watchFieldInterval   = "interval"
	watchFieldConditions = "conditions"

	watchFieldName      = "name"
	watchFieldMetric    = "metric"
	watchFieldLabels    = "labels"
	watchFieldAggregate = "aggregate"
	watchFieldRate      = "rate"
	watchFieldAbove     = "above"
	watchFieldBelow     = "below"
	watchFieldFor       = "for"
	watchFieldSeverity  = "severity"
	watchFieldSummary   = "summary"
)

func watchSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Checks conditions of the pipeline itself on its metrics, and emits an alert when one begins to hold and "+
			"when it ends.").
		Description(`
It reads an endpoint of Prometheus metrics, such as the engine's own `+"`/metrics`"+`, and checks each condition. A message is a record of kind `+"`pipeline`, as in `schemas/alert/v1.json`"+`. An alert that stays open is emitted again every ten minutes, with the same `+"`alert_id`"+`.

State is in memory: after a restart a condition that still holds opens again, and the alert store folds that into the alert that is open.`).
		Field(service.NewStringField(watchFieldMetrics).Secret().
			Description("The URL of the metrics.").
			Example("http://127.0.0.1:4195/metrics")).
		Field(service.NewDurationField(watchFieldInterval).
			Description("How often the metrics are read.").
			Default("15s")).
		Field(service.NewObjectListField(watchFieldConditions,
			service.NewStringField(watchFieldName).Description("The name of the condition, which is the rule of its alerts."),
			service.NewStringField(watchFieldMetric).Description("The metric: a counter or a gauge."),
			service.NewStringMapField(watchFieldLabels).Description("Labels, with their values, that a series must have to "+
				"count.").Default(
				map[string]any{}),
			service.NewStringEnumField(watchFieldAggregate, "sum", "max",
				"min").Description("How the values of several series are combined.").Default("sum"),
			service.NewBoolField(watchFieldRate).Description("Whether to use the change per second instead of the "+
				"value.").Default(
				false),
			service.NewFloatField(watchFieldAbove).Description("The condition holds above this.").Optional(),
			service.NewFloatField(watchFieldBelow).Description("The condition holds below this.").Optional(),
			service.NewDurationField(watchFieldFor).Description("How long the condition must hold before the alert "+
				"opens.").Default("0s"),
			service.NewStringEnumField(watchFieldSeverity, "info", "warning", "critical").Description("The severity of the "+
				"alert.").Default(
				"warning"),
			service.NewStringField(watchFieldSummary).Description("The summary of the alert, for people."),
		).Description("The conditions.")).
		Example("The claims store", "An alert when the store of claims does not answer for a minute.", `
input:
  pipeline_watch:
    metrics: http://127.0.0.1:4195/metrics
    conditions:
      - name: claims_store_down
        metric: weir_dedupe_store_up
        aggregate: min
        below: 1
        for: 1m
        severity: critical
        summary: The store of claims does not answer
`)
}

// Register adds the room's components.
func Register(env *service.Environment) error {
	return env.RegisterInput("pipeline_watch", watchSpec(),
		func(parsed *service.ParsedConfig, res *service.Resources) (service.Input, error) {
			in, err := newWatch(parsed, res)
			if err != nil {
				return nil, err
			}
			return service.AutoRetryNacks(in), nil
		})
}

// watch implements the input pipeline_watch.
type watch struct {
	url        string
	interval   time.Duration
	conditions []*condition
	client     *http.Client
	log        *service.Logger
	now        func() time.Time

	next    time.Time
	blind   bool
	pending [][]byte
	done    chan struct{}
	once    sync.Once
}

func newWatch(parsed *service.ParsedConfig, res *service.Resources) (*watch, error) {
	w := &watch{client: &http.Client{Timeout: 10 * time.Second}, log: res.Logger(), now: time.Now,
		done: make(chan struct{})}
	if err := conf.Read(parsed, watchFieldMetrics, &w.url, watchFieldInterval,
		conf.Positive(&w.interval)); err != nil {
		return nil, err
	}
	list, err := parsed.FieldObjectList(watchFieldConditions)
	if err != nil {
		return nil, err
	}
	for i, c := range list {
		condition, err := newCondition(c)
		if err != nil {
			return nil, fmt.Errorf("reading pipeline_watch: condition %d: %w", i+1, err)
		}
		w.conditions = append(w.conditions, condition)
	}
	return w, conf.Checked(parsed, nil)
}

func newCondition(parsed *service.ParsedConfig) (*condition, error) {
	c := &condition{}
	if err := conf.Read(parsed, watchFieldName, &c.name, watchFieldMetric, &c.metric, watchFieldLabels, &c.labels,
		watchFieldAggregate, &c.aggregate, watchFieldRate, &c.rate, watchFieldAbove, &c.above, watchFieldBelow, &c.below,
		watchFieldFor, conf.NotNegative(&c.hold), watchFieldSeverity, &c.severity,
		watchFieldSummary, &c.summary); err != nil {
		return nil, err
	}
	if c.name == "" || c.metric == "" || c.summary == "" || c.above == nil && c.below == nil {
		return nil, errors.New("expected name, metric, summary, and above or below")
	}
	return c, nil
}

// Connect does nothing.
func (w *watch) Connect(context.Context) error { return nil }

// Read waits for the next alert record.
func (w *watch) Read(ctx context.Context) (*service.Message, service.AckFunc, error) {
	for len(w.pending) == 0 {
		wait := max(0, w.next.Sub(w.now()))
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-w.done:
			return nil, nil, service.ErrEndOfInput
		case <-time.After(wait):
		}
		w.next = w.now().Add(w.interval)
		if err := w.look(ctx); err != nil {
			if !w.blind && ctx.Err() == nil {
				w.log.Warnf("watching the pipeline is tried again every %s: %v", w.interval, err)
			}
			w.blind = true
			continue
		}
		w.blind = false
	}
	raw := w.pending[0]
	w.pending = w.pending[1:]
	return service.NewMessage(raw), func(context.Context, error) error { return nil }, nil
}

func (w *watch) look(ctx context.Context) error {
	scrape, err := prom.Get(ctx, w.client, w.url, nil)
	if err != nil {
		return err
	}
	for _, c := range w.conditions {
		raw, err := c.look(scrape.Series, w.now())
		if err != nil {
			return err
		}
		if raw != nil {
			w.pending = append(w.pending, raw)
		}
	}
	return nil
}

// Close stops the waiting.
func (w *watch) Close(context.Context) error {
	w.once.Do(func() { close(w.done) })
	return nil
}

var _ service.Input = (*watch)(nil)
