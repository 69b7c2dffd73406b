package analytics

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weir/plugins/process/rule"
)

// step is how wide the windows of a series are.
type step struct {
	name  string
	width time.Duration
	every time.Duration // from one window's start to the next one's
	most  time.Duration // the longest range
}

const day = 24 * time.Hour

// stepOf finds a step by its name.
func stepOf(name string) (step, bool) {
	for _, s := range []step{{"1m", time.Minute, time.Minute, day}, {"5m", 5 * time.Minute, time.Minute, day},
		{"1h", time.Hour, time.Hour, 31 * day}, {"1d", day, day, 800 * day}} {
		if s.name == name {
			return s, true
		}
	}
	return step{}, false
}

// ask is what a query is of.
type ask struct {
	fleet    string
	from, to time.Time // windows that begin in it; of what has no windows, that end in it
	step     step
	only     string // the type, or the currency; "": all
}

// windows hands on the results of a rule's windows that begin in the range.
func (s *Source) windows(ctx context.Context, a ask, rule string, do func(*result) error) error {
	return s.each(ctx, a.fleet, rule+"_"+a.step.name, a.from.Add(a.step.width), a.to.Add(a.step.width), do)
}

// row is a line of an answer; they are in the order of their keys.
type row interface{ order() string }

// eventsRow is how many events of a type there were in a window.
type eventsRow struct {
	At     time.Time `json:"at"`
	To     time.Time `json:"to"`
	Type   string    `json:"type"`
	Events int64     `json:"events"`
	Users  *int64    `json:"users"` // null: not counted with this step

	users *rule.Uniques
}

func (r *eventsRow) order() string { return orderOf(r.At) + r.Type }

func orderOf(at time.Time) string { return fmt.Sprintf("%020d ", at.UnixMicro()) }

// events are counts by type and window.
func (s *Source) events(ctx context.Context, a ask) ([]*eventsRow, error) {
	rows := map[string]*eventsRow{}
	err := s.windows(ctx, a, "events", func(r *result) error {
		kind := string(r.Key["metadata.type"])
		if a.only != "" && a.only != kind {
			return nil
		}
		var v struct {
			Events int64
			Users  *string
		}
		if err := values(r, &v); err != nil {
			return err
		}
		row := &eventsRow{At: r.Start, To: r.End, Type: kind}
		row = hold(rows, row)
		row.Events += v.Events
		if v.Users == nil {
			return nil
		}
		if row.users == nil {
			row.users = &rule.Uniques{}
		}
		return row.users.Add(*v.Users)
	})
	for _, row := range rows {
		if row.users != nil {
			n := row.users.Count()
			row.Users = &n
		}
	}
	return sorted(rows), err
}

func values(r *result, into any) error {
	if err := json.Unmarshal(r.Values, into); err != nil {
		return fmt.Errorf("reading the values of result %s: %w", r.ID, err)
	}
	return nil
}

// hold is the row that is there under the same key, or this one.
func hold[R row](rows map[string]R, r R) R {
	if have, there := rows[r.order()]; there {
		return have
	}
	rows[r.order()] = r
	return r
}

func sorted[R row](rows map[string]R) []R {
	all := make([]R, 0, len(rows))
	for _, r := range rows {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b R) int { return cmp.Compare(a.order(), b.order()) })
	return all
}

// usersRow is how many people there were in a window.
type usersRow struct {
	At    time.Time `json:"at"`
	To    time.Time `json:"to"`
	Users int64     `json:"users"`

	users rule.Uniques
}

func (r *usersRow) order() string { return orderOf(r.At) }

// users are people by window, and in the whole range, each counted once.
func (s *Source) users(ctx context.Context, a ask) (_ []*usersRow, total int64, err error) {
	rows := map[string]*usersRow{}
	var all rule.Uniques
	err = s.windows(ctx, a, "users", func(r *result) error {
		var v struct{ Users string }
		if err := values(r, &v); err != nil {
			return err
		}
		row := hold(rows, &usersRow{At: r.Start, To: r.End})
		if err := row.users.Add(v.Users); err != nil {
			return err
		}
		return all.Add(v.Users)
	})
	for _, r := range rows {
		r.Users = r.users.Count()
	}
	return sorted(rows), all.Count(), err
}

// revenueRow is what was sold in a window, in minor units of a currency.
type revenueRow struct {
	At       time.Time `json:"at"`
	To       time.Time `json:"to"`
	Currency string    `json:"currency"`
	saleSums
}

// saleSums are orders and refunds.
type saleSums struct {
	Orders   int64 `json:"orders"`
	Refunds  int64 `json:"refunds"`
	Amount   int64 `json:"amount_minor"`
	Refunded int64 `json:"refunded_minor"`
}

func (r *revenueRow) order() string { return orderOf(r.At) + r.Currency }

// revenue is what was sold by window and currency, and in the whole range by
// currency.
func (s *Source) revenue(ctx context.Context, a ask) (_ []*revenueRow, total map[string]saleSums, err error) {
	rows := map[string]*revenueRow{}
	total = map[string]saleSums{}
	err = s.windows(ctx, a, "revenue", func(r *result) error {
		currency := string(r.Key["payload.currency"])
		if a.only != "" && a.only != currency {
			return nil
		}
		var v saleSums
		if err := values(r, &v); err != nil {
			return err
		}
		row := hold(rows, &revenueRow{At: r.Start, To: r.End, Currency: currency})
		row.saleSums = row.plus(v)
		total[currency] = total[currency].plus(v)
		return nil
	})
	return sorted(rows), total, err
}

func (s saleSums) plus(o saleSums) saleSums {
	return saleSums{s.Orders + o.Orders, s.Refunds + o.Refunds, s.Amount + o.Amount, s.Refunded + o.Refunded}
}
