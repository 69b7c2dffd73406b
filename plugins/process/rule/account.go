package rule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/internal/platform/sqldb"
)

// Account counts what became of the records of a partition: offsets First to Next-1. It is written in the transaction
// that writes the state of the rules.
type Account struct {
	Topic      string        `json:"topic"`
	Partition  int32         `json:"partition"`
	First      int64         `json:"first"`
	Next       int64         `json:"next"`
	Read       int64         `json:"read"`
	Missed     int64         `json:"missed"` // offsets without an event, or gone before they were read
	Duplicates int64         `json:"duplicates"`
	Erased     int64         `json:"erased"`
	Muted      int64         `json:"muted"`
	Invalid    int64         `json:"invalid"`
	Rules      []RuleAccount `json:"rules"`
	// Sides are the next offsets of two joined topics, by topic. Topic is then both names with a + between them, and
	// First and Next count records instead of offsets.
	Sides map[string]int64 `json:"sides,omitempty"`
}

// RuleAccount counts the outcomes, in one rule, of the events that reached it since it began to count in its present
// form, at offset Since.
type RuleAccount struct {
	Name    string `json:"name"`
	Since   int64  `json:"since"`
	Reached int64  `json:"reached"`
	Counts  Counts `json:"counts"`
	// GivenUp counts the partial matches of a pattern that were dropped because there were too many.
	GivenUp int64 `json:"given_up,omitempty"`
}

// Counts are the numbers of events by outcome.
type Counts [Outcomes]int64

// MarshalJSON writes an object whose members are the names of the outcomes.
func (c Counts) MarshalJSON() ([]byte, error) {
	named := map[string]int64{}
	for o, n := range c {
		named[Outcome(o).String()] = n
	}
	return json.Marshal(named)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Counts) UnmarshalJSON(raw []byte) error {
	named := map[string]int64{}
	if err := json.Unmarshal(raw, &named); err != nil {
		return err
	}
	for o := range c {
		c[o] = named[Outcome(o).String()]
	}
	return nil
}

// Problems describes where the account does not add up: every offset must be read or missed, and every event that
// reached a rule must have exactly one outcome in it.
func (a Account) Problems() (problems []string) {
	if a.First+a.Read+a.Missed != a.Next {
		problems = append(problems, fmt.Sprintf("rules have read %d records of %s/%d and missed %d, which are not those "+
			"from offset %d to %d", a.Read, a.Topic, a.Partition, a.Missed, a.First, a.Next-1))
	}
	for _, r := range a.Rules {
		sum := int64(0)
		for _, n := range r.Counts {
			sum += n
		}
		if sum != r.Reached {
			problems = append(problems, fmt.Sprintf("rule %s tells of %d of the %d events of %s/%d that reached it since "+
				"offset %d", r.Name, sum, r.Reached, a.Topic, a.Partition, r.Since))
		}
	}
	return problems
}

// Unequal describes the joins of two topics that are not at the offsets of the topics' own accounts: a join must have
// read every record that the rules of its topics have read.
func Unequal(accounts []Account) (problems []string) {
	next := map[place]int64{}
	for _, a := range accounts {
		next[place{a.Topic, a.Partition}] = a.Next
	}
	for _, a := range accounts {
		for _, topic := range slices.Sorted(maps.Keys(a.Sides)) {
			if at, read := next[place{topic, a.Partition}]; read && a.Sides[topic] != at {
				problems = append(problems, fmt.Sprintf("rules have read %s/%d to offset %d, and the join %s to %d", topic,
					a.Partition, at, a.Topic, a.Sides[topic]))
			}
		}
	}
	return problems
}

// reached returns how many records came to the rules.
func (t *tally) reached() int64 { return t.Read - t.Duplicate - t.Erased - t.Muted - t.Invalid }

// Accounts reads the accounts of all partitions, by topic and partition. There are none if no rule ever counted, or the
// tables are not those of this weir yet. It writes nothing, so that db may be open for reading only.
func Accounts(ctx context.Context, db *sqldb.DB) ([]Account, error) {
	there, err := migrated(ctx, db)
	if err != nil || !there { // the tables are an older weir's, or none: the rules stream has yet to migrate them
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `SELECT topic, part, next, tally FROM rule_position WHERE next >= 0
		ORDER BY topic, part`)
	if err != nil {
		return nil, fmt.Errorf("reading what rules counted: %w", err)
	}
	var list []Account
	for rows.Next() {
		var a Account
		var t tally
		var text string
		if err = rows.Scan(&a.Topic, &a.Partition, &a.Next, &text); err == nil {
			err = json.Unmarshal([]byte(text), &t)
		}
		if err != nil {
			break
		}
		a.First, a.Read, a.Missed, a.Duplicates, a.Erased = t.First, t.Read, t.Missed, t.Duplicate, t.Erased
		a.Muted, a.Invalid, a.Rules = t.Muted, t.Invalid, []RuleAccount{}
		for topic, s := range t.Sides {
			if a.Sides == nil {
				a.Sides = map[string]int64{}
			}
			a.Sides[topic] = s.Next
		}
		for name, r := range t.Rules {
			a.Rules = append(a.Rules, RuleAccount{name, r.Since, t.reached() - r.Before, r.Counts, r.GivenUp})
		}
		beside := func(d drained, how string) {
			a.Rules = append(a.Rules, RuleAccount{d.Name + " of version " + d.Version + ", " + how, d.Since,
				t.reached() - d.Before, d.Counts, d.GivenUp})
		}
		for _, d := range t.Drains {
			if d.Last == never {
				beside(d, "for some fleets")
			} else {
				beside(d, "which drains")
			}
		}
		slices.SortFunc(a.Rules, func(a, b RuleAccount) int { return strings.Compare(a.Name, b.Name) })
		list = append(list, a)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("reading what rules counted: %w", err)
	}
	return list, nil
}
