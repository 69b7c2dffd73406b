// Package alert keeps alerts from the moment they open until a person has dealt with them. The output alert_store
// records alerts from the topic alert-events and decides whom to notify and when; the input alert_notices gives each
// notification channel its notices and records the result of each delivery.
//
// Crash safety: every step is one transaction. A redelivered record changes nothing; a notice that was being sent is
// sent again.
package alert

import (
	"encoding/json"
	"fmt"
	"time"

	"weir/internal/event"
)

// States of an alert.
const (
	stateOpen         = "open"
	stateAcknowledged = "acknowledged"
	stateResolved     = "resolved"
)

// Kinds of alerts.
const (
	Metric   = "metric"
	Pipeline = "pipeline"
	Rule     = "rule"
)

// Record is one record of the topic alert-events: schemas/alert/v1.json.
type Record struct {
	AlertID    string          `json:"alert_id"`
	Version    *int            `json:"version"`
	Kind       string          `json:"kind"`
	Transition string          `json:"transition"`
	Rule       string          `json:"rule"`
	Severity   string          `json:"severity"`
	Fleet      string          `json:"fleet"`
	Device     string          `json:"device_id"`
	Metric     string          `json:"metric"`
	Value      *float64        `json:"value"`
	EventID    string          `json:"event_id"`
	Summary    string          `json:"summary"`
	Details    json.RawMessage `json:"details"`
	At         time.Time       `json:"at"`
	ReceivedAt *time.Time      `json:"received_at"` // of the event; nil: unknown
	Subject    string          `json:"subject"`

	raw string
}

// The transitions of a record.
const (
	transitionOpened   = "opened"
	transitionResolved = "resolved"
)

func severities() map[string]int { return map[string]int{"info": 0, "warning": 1, "critical": 2} }

// ParseRecord parses a record of the topic. The error is always an *event.Rejection.
func ParseRecord(raw []byte) (*Record, error) {
	r := &Record{raw: string(raw)}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, event.Reject(event.CodeInvalidJSON, "", "an alert cannot be read: "+err.Error())
	}
	if r.Transition == "" {
		r.Transition = transitionOpened
	}
	bad := func(field, message string) error { return event.Reject(event.CodeInvalidEvent, "/"+field, message) }
	_, known := severities()[r.Severity]
	switch {
	case r.AlertID == "" || len(r.AlertID) > 128:
		return nil, bad("alert_id", "expected 1 to 128 characters")
	case r.Version != nil && *r.Version != 1:
		return nil, bad("version", "expected 1")
	case r.Kind != Metric && r.Kind != Pipeline && r.Kind != Rule:
		return nil, bad("kind", "expected metric, rule or pipeline")
	case r.Transition != transitionOpened && r.Transition != transitionResolved:
		return nil, bad("transition", "expected opened or resolved")
	case r.Rule == "" || len(r.Rule) > 128:
		return nil, bad("rule", "expected 1 to 128 characters")
	case !known:
		return nil, bad("severity", "expected info, warning or critical")
	case r.Kind != Pipeline && r.Fleet == "":
		return nil, bad("fleet", "is required of an alert about a device")
	case r.Kind != Pipeline && !event.ValidDevice(r.Device):
		return nil, bad("device_id", "is required of an alert about a device")
	case r.Kind == Metric && r.Metric == "":
		return nil, bad("metric", "is required of a metric alert")
	case len(r.Subject) > maxSubject:
		return nil, bad("subject", "expected up to 2048 characters")
	case r.At.IsZero():
		return nil, bad("at", "expected an RFC 3339 time")
	}
	return r, nil
}

// maxSubject is the maximum length of a subject. For a rule's alert the subject is the rule's key.
const maxSubject = 2048

// subject identifies what an alert is about: at most one alert per subject is open at a time. A pipeline alert
// without a subject is its own.
func (r *Record) subject() string {
	switch {
	case r.Kind == Metric:
		return key(r.Kind, r.Fleet, r.Rule, r.Device, r.Metric)
	case r.Kind == Rule:
		return key(r.Kind, r.Fleet, r.Rule, r.Device, r.Subject)
	case r.Subject != "":
		return key(r.Kind, r.Rule, r.Subject)
	default:
		return key(r.Kind, r.AlertID)
	}
}

func key(parts ...string) string {
	raw, err := json.Marshal(parts)
	if err != nil { // strings: cannot fail
		return fmt.Sprintf("%q", parts)
	}
	return string(raw)
}

func timeOf(us int64) string { return time.UnixMicro(us).UTC().Format(event.TimeFormat) }
