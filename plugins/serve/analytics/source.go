package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
	"weir/plugins/process/rule"
)

// Source reads what rules told of a fleet, and what they have open.
type Source struct {
	db       *sqldb.DB
	open     *rule.Openings
	oneByOne int64
}

// Open makes the tables of rules, if nobody has.
func Open(ctx context.Context, db *sqldb.DB) (*Source, error) {
	if _, err := rule.OpenVersions(ctx, db); err != nil {
		return nil, err
	}
	return &Source{db: db, open: rule.NewOpenings(db), oneByOne: oneByOne}, nil
}

// result is one of a rule, as it stands now.
type result struct {
	ID         string
	Status     string
	Key        map[string]label
	Start, End time.Time // of its window; zero when it is retracted
	Values     []byte    // a JSON object, for as long as the result is looked at
}

// parse reads a result as rules write it: an answer is made of half a million of them.
func parse(raw []byte) (r result, err error) {
	_, err = rawjson.Object(raw, 0, 0, func(key []byte, _ bool, i int) (end int, err error) {
		if end, err = rawjson.Value(raw, i, 1); err != nil {
			return end, err
		}
		ok := true
		switch string(key) {
		case "id":
			r.ID = string(labelOf(raw[i:end]))
		case "status":
			r.Status = string(labelOf(raw[i:end]))
		case "key":
			r.Key = map[string]label{}
			_, err = rawjson.Object(raw[i:end], 0, 1, func(key []byte, plain bool, at int) (int, error) {
				end, err := rawjson.Value(raw[i:], at, 2)
				r.Key[nameOf(key, plain)] = labelOf(raw[i+at : i+end])
				return end, err
			})
		case "window_start":
			r.Start, ok = text.ParseTime(string(labelOf(raw[i:end])))
		case "window_end":
			r.End, ok = text.ParseTime(string(labelOf(raw[i:end])))
		case "values":
			r.Values = raw[i:end]
		}
		if !ok {
			err = errors.New("a time is none")
		}
		return end, err
	})
	return r, err
}

// nameOf is the name of a member, which it keeps.
func nameOf(key []byte, plain bool) string {
	if !plain {
		key = rawjson.Unquote(key)
	}
	return string(key)
}

// labelOf is the value of JSON that has been checked.
func labelOf(raw []byte) label {
	if raw[0] == '"' {
		return label(rawjson.Unquote(raw[1 : len(raw)-1]))
	}
	return label(raw)
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
	hand := bounded(name, do)
	find := func(id string, _ []byte) (drop func(), is bool) {
		if _, is = open[id]; is {
			drop = func() { delete(open, id) }
		}
		return drop, is
	}
	if err := s.told(ctx, fleet, name, from, to, find, hand); err != nil {
		return err
	}
	for _, raw := range open {
		if err := hand(raw); err != nil {
			return err
		}
	}
	return nil
}

// ended is each of what has ended alone, and how many windows are open that end in
// the range: what they hold is not looked at.
func (s *Source) ended(ctx context.Context, fleet, name string, from, to time.Time,
	do func(*result) error) (goOn int64, err error) {
	open, err := s.open.Ends(ctx, fleet, name, from, to)
	if err != nil {
		return 0, err
	}
	err = s.told(ctx, fleet, name, from, to, open.Find, bounded(name, do))
	return int64(open.Len()), err
}

// bounded reads results for do, and as many as an answer is made of.
func bounded(name string, do func(*result) error) func([]byte) error {
	n := 0
	return func(raw []byte) error {
		if n++; n > mostResults {
			return errTooMuch
		}
		r, err := parse(raw)
		if err != nil {
			return fmt.Errorf("reading a result of %s: %w", name, err)
		}
		if r.Status == retracted {
			return nil
		}
		return do(&r)
	}
}

// told hands on what was told of windows that end in a range, but for what is open,
// which is found by a result's id, or by what it tells: what was closed since that was
// read is taken out of it.
func (s *Source) told(ctx context.Context, fleet, name string, from, to time.Time,
	open func(id string, raw []byte) (drop func(), is bool), hand func([]byte) error) error {
	q := rule.Query{Fleet: fleet, Rule: name, From: from, To: to}
	return rule.Each(ctx, s.db, q, func(id string, raw []byte) error {
		if drop, is := open(id, raw); is {
			var told struct{ Status string }
			if err := json.Unmarshal(raw, &told); err == nil && told.Status == provisional {
				return nil
			}
			drop() // it was closed meanwhile
		}
		return hand(raw)
	})
}
