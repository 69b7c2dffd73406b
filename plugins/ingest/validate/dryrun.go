package validate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"weir/internal/event"
	"weir/internal/platform/schemadoc"
	"weir/plugins/ingest/registry"
)

// Recent calls each with events as they were sent, each valid until it returns.
type Recent func(ctx context.Context, each func(fleet string, raw []byte) error) error

// DryRun is what a candidate schema would have done to events that were accepted.
type DryRun struct {
	Read     int          `json:"read"`
	Judged   int          `json:"judged"` // those of the candidate's firmware
	Rejected int          `json:"rejected"`
	Rules    []BrokenRule `json:"rules"` // the most broken first
}

// BrokenRule is one reason for rejections, with some of the events it hit.
type BrokenRule struct {
	Code     event.Code `json:"code"`
	Pointer  string     `json:"pointer"`
	Message  string     `json:"message"`
	Count    int        `json:"count"`
	Examples []Example  `json:"examples"`
}

// Example names an event.
type Example struct {
	Fleet    string `json:"fleet"`
	Device   string `json:"device_id"`
	ID       string `json:"event_id"`
	Firmware string `json:"firmware"`
}

const (
	examplesMax = 3
	rulesMax    = 200 // kept apart; more are counted together
)

// TryOn judges recent events by a candidate schema. A candidate that names no firmware judges all
// of them.
func TryOn(ctx context.Context, subject string, candidate []byte, recent Recent) (*DryRun, error) {
	s, err := registry.Compile(subject, 1, candidate)
	if err != nil {
		return nil, err
	}
	d := &DryRun{}
	t := trial{schema: planOf(s), out: d, at: map[event.FieldError]int{}}
	if err := recent(ctx, t.try); err != nil {
		return nil, fmt.Errorf("trying a candidate on recent events: %w", err)
	}
	slices.SortStableFunc(d.Rules, func(a, b BrokenRule) int { return b.Count - a.Count })
	return d, nil
}

type trial struct {
	schema *planned
	out    *DryRun
	at     map[event.FieldError]int
	walk   walk
	parsed event.Event
}

func (t *trial) try(fleet string, raw []byte) error {
	t.out.Read++
	e := &t.parsed
	if err := event.Parse(raw, e); err != nil {
		return fmt.Errorf("reading a stored event: %w", err)
	}
	if t.schema.Firmware != "" {
		if !t.schema.Describes(e.Firmware) {
			return nil
		}
	}
	t.out.Judged++
	if t.schema.plan != nil && t.walk.document(raw, t.schema.plan) {
		return nil
	}
	doc, err := schemadoc.Decode(raw)
	if err != nil {
		return fmt.Errorf("reading a stored event: %w", err)
	}
	if r := t.schema.violation(doc); r != nil {
		t.out.Rejected++
		for _, fe := range r.Errors {
			t.broken(r.Code, fe, Example{Fleet: fleet, Device: e.Device, ID: e.ID, Firmware: e.Firmware})
		}
	}
	return nil
}

func (t *trial) broken(code event.Code, fe event.FieldError, ex Example) {
	fe.Message, _, _ = strings.Cut(fe.Message, ", got ") // the same rule, whatever the value
	at, ok := t.at[fe]
	if !ok && len(t.out.Rules) >= rulesMax {
		fe = event.FieldError{Message: "more rules than are kept apart"}
		at, ok = t.at[fe]
	}
	if !ok {
		at = len(t.out.Rules)
		t.at[fe] = at
		t.out.Rules = append(t.out.Rules, BrokenRule{Code: code, Pointer: fe.Pointer, Message: fe.Message})
	}
	rule := &t.out.Rules[at]
	rule.Count++
	if len(rule.Examples) < examplesMax {
		rule.Examples = append(rule.Examples, ex.clone())
	}
}

// clone copies the texts, so that the event's bytes are not kept.
func (e Example) clone() Example {
	return Example{strings.Clone(e.Fleet), strings.Clone(e.Device), strings.Clone(e.ID), strings.Clone(e.Firmware)}
}
