package watch

import (
	"encoding/json"
	"strconv"
	"time"

	"weir/internal/event"
	"weir/internal/platform/prom"
)

// condition is a condition on weir's own metrics that raises an alert.
type condition struct {
	name      string
	metric    string
	labels    map[string]string
	aggregate string // sum, max or min over the matching series
	rate      bool   // compare the change per second instead of the value
	above     *float64
	below     *float64
	hold      time.Duration
	severity  string
	summary   string

	last     *float64 // the last value, for the rate
	lastAt   time.Time
	since    time.Time // since when the condition holds; zero: it does not
	openedAt time.Time // zero: no open alert
	told     time.Time // when the alert was last emitted
}

// Transitions of a record.
const (
	transitionOpened   = "opened"
	transitionResolved = "resolved"
)

// remindEvery is how often an open alert is emitted again, which shows that the condition still holds.
const remindEvery = 10 * time.Minute

// value computes the condition's value from a scrape; ok is false when no series matches.
func (c *condition) value(scrape map[string][]prom.Series) (v float64, ok bool) {
	for _, s := range scrape[c.metric] {
		match := true
		for name, want := range c.labels {
			match = match && s.Labels[name] == want
		}
		switch {
		case !match:
			continue
		case !ok:
			v = s.Value
		case c.aggregate == "max":
			v = max(v, s.Value)
		case c.aggregate == "min":
			v = min(v, s.Value)
		default:
			v += s.Value
		}
		ok = true
	}
	return v, ok
}

// look updates the condition from a scrape and returns the record to emit, or nil.
func (c *condition) look(scrape map[string][]prom.Series, now time.Time) (raw []byte, err error) {
	v, ok := c.value(scrape)
	if ok && c.rate {
		v, ok = c.perSecond(v, now)
	}
	if !ok { // unknown: an open alert resolves when it has been quiet long enough
		return nil, nil
	}
	if c.above != nil && v > *c.above || c.below != nil && v < *c.below {
		if c.since.IsZero() {
			c.since = now
		}
		switch {
		case !c.openedAt.IsZero() && now.Sub(c.told) < remindEvery, now.Sub(c.since) < c.hold:
			return nil, nil
		case c.openedAt.IsZero():
			c.openedAt = now
		}
		c.told = now
		return c.record(transitionOpened, v, now)
	}
	c.since = time.Time{}
	if c.openedAt.IsZero() {
		return nil, nil
	}
	raw, err = c.record(transitionResolved, v, now)
	c.openedAt = time.Time{}
	return raw, err
}

// perSecond returns the rate since the last scrape. A counter that decreased was reset.
func (c *condition) perSecond(v float64, now time.Time) (float64, bool) {
	last, at := c.last, c.lastAt
	c.last, c.lastAt = &v, now
	if last == nil || !now.After(at) {
		return 0, false
	}
	delta := v - *last
	if delta < 0 {
		delta = v
	}
	return delta / now.Sub(at).Seconds(), true
}

func (c *condition) record(transition string, v float64, now time.Time) ([]byte, error) {
	id := event.AlertID("weir pipeline alert", c.name, c.openedAt.UTC().Format(event.TimeFormat))
	number := strconv.FormatFloat(v, 'g', 4, 64)
	summary := c.summary + " (" + number + ")"
	if transition == transitionResolved {
		summary = c.summary + ": over, at " + number
	}
	return json.Marshal(map[string]any{
		"version": 1, "alert_id": id, "kind": event.KindPipeline, "transition": transition, "rule": c.name, "subject": c.name,
		"severity": c.severity, "fleet": "", "summary": summary, "value": v, "at": now.UTC().Format(event.TimeFormat),
		"details": map[string]any{"metric": c.metric, "labels": c.labels, "since": c.since},
	})
}
