package analytics

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
	"weir/plugins/process/rule"
)

// Source reads what rules told of a fleet, and what they have open.
type Source struct {
	db   *sqldb.DB
	open *rule.Openings
}

// Open makes the tables of rules, if nobody has.
func Open(ctx context.Context, db *sqldb.DB) (*Source, error) {
	if _, err := rule.OpenVersions(ctx, db); err != nil {
		return nil, err
	}
	return &Source{db: db, open: rule.NewOpenings(db)}, nil
}

// result is one of a rule, as it stands now.
type result struct {
	ID     string           `json:"id"`
	Status string           `json:"status"`
	Key    map[string]label `json:"key"`
	Start  time.Time        `json:"window_start"`
	End    time.Time        `json:"window_end"`
	Values json.RawMessage  `json:"values"`
}

// label is a value that something is counted by: text, or what else it is as JSON.
type label string

// UnmarshalJSON takes any value.
func (l *label) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil || raw[0] != '"' {
		text = string(raw)
	}
	*l = label(text)
	return nil
}

const (
	retracted   = "retracted"
	provisional = "provisional"
)

// mostResults bounds what one answer is made of.
const mostResults = 500_000

var errTooMuch = fmt.Errorf("the range has more than %d results of the rule: ask for a shorter one", mostResults)

// each hands on the results of a rule whose windows end in [from, to), and what it
// has open there: of each id one. What is retracted is left out.
func (s *Source) each(ctx context.Context, fleet, name string, from, to time.Time, do func(*result) error) error {
	now, err := s.open.Of(ctx, fleet, name)
	if err != nil {
		return err
	}
	open := map[string][]byte{}
	for _, r := range now {
		if r.End >= from.UnixMicro() && r.End < to.UnixMicro() {
			open[r.ID] = r.JSON
		}
	}
	n := 0
	hand := func(raw []byte) error {
		if n++; n > mostResults {
			return errTooMuch
		}
		var r result
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("reading a result of %s: %w", name, err)
		}
		if r.Status == retracted {
			return nil
		}
		return do(&r)
	}
	q := rule.Query{Fleet: fleet, Rule: name, From: from, To: to}
	if err := rule.Each(ctx, s.db, q, func(id string, raw []byte) error {
		if newer := open[id]; newer != nil {
			var told struct{ Status string }
			if err := json.Unmarshal(raw, &told); err == nil && told.Status == provisional {
				return nil
			}
			delete(open, id) // it was closed meanwhile
		}
		return hand(raw)
	}); err != nil {
		return err
	}
	for _, raw := range open {
		if err := hand(raw); err != nil {
			return err
		}
	}
	return nil
}
