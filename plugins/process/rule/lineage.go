package rule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

// The errors of Trace that callers tell apart.
var (
	ErrNoResult  = errors.New("the rule told no result of this id")
	ErrNoLineage = errors.New("nobody can say which events the result counts: its version of rules is kept no more, or " +
		"it is of two topics or of all devices")
)

// Lineage is a result in its newest revision, with its events.
type Lineage struct {
	Result json.RawMessage `json:"result"`
	// Events are those that the rule counts, of the result's key and time, from its first to its last event. For a
	// window or a pair they are what the result counts; for a pattern, what the match has looked at.
	Events []SourceEvent `json:"events"`
	// Whole tells that there are as many as the result counts, or more for a pattern. If there are fewer, the raw store
	// does not have the others any more.
	Whole bool `json:"whole"`
}

// SourceEvent is an event of a result.
type SourceEvent struct {
	Record string          `json:"record"` // its coordinates
	Event  json.RawMessage `json:"event"`  // as the rule saw it
	offset int64
}

// traceMost bounds the events of a lineage.
const traceMost = 10_000

// Traced names the result that Trace looks for.
type Traced struct {
	Fleet, Rule, ID string
	Devices         []string // the result must be of one of them; none: of any
}

// Trace returns a result with its events. The error is ErrNoResult if there is no such result, and ErrNoLineage if its
// events cannot be found: see the text of that.
func Trace(ctx context.Context, db *sqldb.DB, q Traced, events Events) (*Lineage, error) {
	fail := func(err error) error { return fmt.Errorf("tracing the result %s: %w", q.ID, err) }
	there, err := migrated(ctx, db)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, ErrNoResult
	}
	raw, t, err := newest(ctx, db, q.ID)
	if err != nil {
		return nil, fail(err)
	}
	if t == nil || t.Fleet != q.Fleet || t.Rule != q.Rule || !t.isOf(q.Devices) {
		return nil, ErrNoResult
	}
	l := &Lineage{Result: json.RawMessage(raw), Events: []SourceEvent{}}
	if t.Status == statusRetracted {
		return l, nil // it has no events
	}
	set, err := versionNamed(ctx, db, t.Version)
	if err != nil {
		return nil, fail(err)
	}
	first, err := event.ParseCoordinates(t.First)
	last, err2 := event.ParseCoordinates(t.Last)
	if err = errors.Join(err, err2); err != nil {
		return nil, fail(err)
	}
	i := -1
	if set != nil {
		i = slices.IndexFunc(set.Rules, func(r *Rule) bool { return r.Name == t.Rule })
	}
	if i < 0 {
		return nil, ErrNoLineage
	}
	if r := set.Rules[i]; r.across || strings.Contains(r.whereabouts(), between) {
		return nil, ErrNoLineage
	}
	o := &origin{set: set, at: place{first.Topic, first.Partition}, last: last.Offset, next: last.Offset + 1,
		tally: ruleTally{Since: first.Offset}}
	if o.read, err = readingsOf(ctx, db, o.at); err != nil {
		return nil, fail(err)
	}
	o.operator = o.operatorOf(set.Rules[i])
	o.key = keyOf(o.Rule, t)
	o.name = t.Fleet + "\x00" + o.key
	if err := o.trace(ctx, t, events, l); err != nil {
		return nil, fail(err)
	}
	return l, nil
}

// isOf tells whether a result is of one of the devices. No devices stand for any.
func (t *telling) isOf(devices []string) bool {
	var device string
	err := json.Unmarshal(t.Key[event.FieldDevice], &device)
	return len(devices) == 0 || err == nil && slices.Contains(devices, device)
}

// trace adds the events of a result to l.
func (o *origin) trace(ctx context.Context, t *telling, events Events, l *Lineage) error {
	err := events.Of(ctx, o.wanted(t), o.by, func(s Stored) error {
		e, is, err := o.takes(s)
		if err != nil || !is || o.Rule.join != nil && e.Offset != o.tally.Since && e.Offset != o.last {
			return err
		}
		if counted, err := o.countsAlone(e); err != nil || !counted {
			return err
		}
		if len(l.Events) == traceMost {
			return fmt.Errorf("it is made of more than %d events: ask for those of its device and time", traceMost)
		}
		l.Events = append(l.Events, SourceEvent{s.First.String(), slices.Clone(s.JSON), e.Offset})
		return nil
	})
	slices.SortFunc(l.Events, func(a, b SourceEvent) int { return cmp.Compare(a.offset, b.offset) })
	l.Whole = int64(len(l.Events)) == t.Count || o.Rule.pattern != nil && int64(len(l.Events)) > t.Count
	return err
}

// countsAlone tells whether the rule counts an event under the result's key, as if it were the only one.
func (o *origin) countsAlone(e applied) (bool, error) {
	p := o.partition()
	op := o.operatorOf(o.Rule)
	p.ops = []*operator{op}
	if err := p.apply(e.raw, e.record); err != nil {
		return false, err
	}
	return op.tally[Counted] == 1 && string(p.key) == o.name, nil
}
