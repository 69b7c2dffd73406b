package rule

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
)

const fieldMisses = "misses"

func ruleTrySpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Evaluates rules on the events of each batch alone, for tests, and replaces the events by the results.").
		Description(`
Each batch is evaluated alone, in memory, as `+"`weir rules try`"+` does: in the order of its messages, at the times of the events. After the last message all
windows close. An event that comes twice counts once. The fleet is that of the metadata `+"`weir_fleet`"+`, else `+"`try`"+`. If
rules name topics, the topic of an event is that of `+"`kafka_topic`"+`.

It is for `+"`weir test`"+`. Streams evaluate rules with the output `+"`event_rules`"+`, which keeps open windows between batches.`).
		Field(service.NewStringField(fieldRules).Description("The file of rules.").Example("configs/rules.yaml")).
		Field(service.NewDurationField(fieldDelay).
			Description("How far out of order events normally come.").Default("5s")).
		Field(service.NewBoolField(fieldMisses).
			Description("Whether to add a message for each event that passed the conditions of a rule and was not counted: "+
				"`rule`, `outcome`, `message` (its place in the batch, from 0), `late_by_seconds` and `why`. At most five for "+
				"each rule.").
			Default(false)).
		Example("A test", "A config for `weir test hot_minute_test.yaml`, which compares the results with the expected ones.", `
pipeline:
  processors:
    - rule_try:
        rules: configs/rules.yaml
        misses: true
`)
}

// try is the processor rule_try. It keeps nothing between batches.
type try struct {
	set    *Set
	delay  time.Duration
	misses bool
}

func newTry(parsed *service.ParsedConfig) (*try, error) {
	t := &try{}
	var file string
	err := conf.Read(parsed, fieldRules, &file, fieldDelay, conf.NotNegative(&t.delay), fieldMisses, &t.misses)
	if err != nil {
		return nil, err
	}
	if err = conf.Checked(parsed, rightIfThere(file)); err != nil {
		return nil, fmt.Errorf("reading rule_try: %w", err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading rule_try: %w", err)
	}
	if t.set, err = Parse(raw); err != nil {
		return nil, fmt.Errorf("reading rule_try: the rules in %s are wrong: %w", file, err)
	}
	return t, nil
}

// ProcessBatch returns the results of a batch, and its misses if they are wanted. A message that is not an event
// fails the whole batch.
func (t *try) ProcessBatch(_ context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	report := &Report{}
	var lines []tried
	for i, msg := range batch {
		raw, err := msg.AsBytes()
		var e event.Event
		if err == nil {
			err = event.Parse(raw, &e)
		}
		if err != nil {
			return nil, fmt.Errorf("reading message %d as an event: %w", i, err)
		}
		fleet := event.FleetOf(msg)
		if fleet == "" {
			fleet = "try"
		}
		topic := ""
		if t.set.by != nil {
			topic = event.Meta(msg, "kafka_topic")
		}
		lines = append(lines, tried{topic, fleet, raw, e.Time.UnixMicro(), e.UUID, int64(i)})
	}
	out := service.MessageBatch{}
	if err := t.set.try(lines, Trial{Delay: t.delay}, report, func(r Result) error {
		out = append(out, service.NewMessage(r.JSON))
		return nil
	}); err != nil {
		return nil, fmt.Errorf("trying rules: %w", err)
	}
	for _, m := range report.Misses {
		if !t.misses {
			break
		}
		raw, err := json.Marshal(missedJSON{m.Rule, m.Outcome.String(), m.Offset,
			(time.Duration(m.By) * time.Microsecond).Seconds(), m.Why})
		if err != nil {
			return nil, fmt.Errorf("trying rules: %w", err)
		}
		out = append(out, service.NewMessage(raw))
	}
	if len(out) == 0 {
		return nil, nil
	}
	return []service.MessageBatch{out}, nil
}

// missedJSON is the message for an event that a rule did not count.
type missedJSON struct {
	Rule    string  `json:"rule"`
	Outcome string  `json:"outcome"`
	Message int64   `json:"message"`
	LateBy  float64 `json:"late_by_seconds,omitempty"`
	Why     string  `json:"why,omitempty"`
}

// Close does nothing: there is nothing to release.
func (t *try) Close(context.Context) error { return nil }
