package analytics

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// visits are the visits that ended in a range, and those that go on.
type visits struct {
	Sessions  int64         `json:"sessions"`  // that ended
	Open      int64         `json:"open"`      // that go on now
	Converted int64         `json:"converted"` // of those that ended, with an order
	Bounced   int64         `json:"bounced"`   // with one event
	Events    int64         `json:"events"`
	Average   *float64      `json:"average_seconds"` // from the first event to the last; null without any
	Hours     []*sessionRow `json:"hours"`
}

// sessionRow is what ended in an hour.
type sessionRow struct {
	At        time.Time `json:"at"`
	Sessions  int64     `json:"sessions"`
	Converted int64     `json:"converted"`
}

func (r *sessionRow) order() string { return orderOf(r.At) }

// gap is what a session waits for another event, behind its last.
const gap = 30 * time.Minute

// sessions counts visits. One that is open ends later than now.
func (s *Source) sessions(ctx context.Context, a ask, now time.Time) (*visits, error) {
	sum, hours, seconds := &visits{}, map[string]*sessionRow{}, 0.0
	if until := now.Add(2 * day); a.to.After(now.Add(-time.Minute)) {
		a.to = until // of a range to now, also those that are open
	}
	var err error
	sum.Open, err = s.ended(ctx, a.fleet, "sessions", a.from, a.to, func(r *result) error {
		if r.Status == provisional { // told early, of one that is not open any more in the range
			return nil
		}
		var v struct{ Events, Orders int64 }
		if err := values(r, &v); err != nil {
			return err
		}
		hour := hold(hours, &sessionRow{At: r.End.Truncate(time.Hour)})
		hour.Sessions++
		sum.Sessions++
		sum.Events += v.Events
		seconds += max(r.End.Sub(r.Start)-gap, 0).Seconds()
		if v.Orders > 0 {
			hour.Converted++
			sum.Converted++
		}
		if v.Events == 1 {
			sum.Bounced++
		}
		return nil
	})
	if sum.Sessions > 0 {
		average := seconds / float64(sum.Sessions)
		sum.Average = &average
	}
	sum.Hours = sorted(hours)
	return sum, err
}

// The models of attribution.
const (
	modelFirst  = "first"
	modelLast   = "last"
	modelLinear = "linear"
)

// attributionRow is what a campaign brought in a currency.
type attributionRow struct {
	Campaign *label `json:"campaign"` // null: orders that came by none
	Currency label  `json:"currency"`
	Orders   int64  `json:"orders"` // that it had a part in
	Amount   int64  `json:"amount_minor"`
}

func (r *attributionRow) order() string {
	if r.Campaign == nil {
		return string(r.Currency) + "\x00"
	}
	return string(r.Currency) + "\x01" + string(*r.Campaign)
}

var errModel = errors.New("the touches of an order cannot be told apart: there were more than 1,000 campaigns")

// attribution shares what was ordered among campaigns: all of an order goes to the
// first that it came by, or to the last, or an equal share to each touch, where the
// minor units that are left over go to those with the largest remainders.
func (s *Source) attribution(ctx context.Context, a ask, model string) ([]*attributionRow, error) {
	rows := map[string]*attributionRow{}
	err := s.each(ctx, a.fleet, "attribution", a.from, a.to, func(r *result) error {
		var v struct {
			Touches     int64
			First, Last *label
			Campaigns   []share
			Currency    label
			Amount      int64 `json:"amount_minor"`
		}
		if err := values(r, &v); err != nil {
			return err
		}
		if a.only != "" && a.only != string(v.Currency) {
			return nil
		}
		add := func(campaign *label, amount int64) {
			row := hold(rows, &attributionRow{Campaign: campaign, Currency: v.Currency})
			row.Orders++
			row.Amount += amount
		}
		switch {
		case v.Touches == 0:
			add(nil, v.Amount)
		case model == modelFirst:
			add(v.First, v.Amount)
		case model == modelLast:
			add(v.Last, v.Amount)
		case len(v.Campaigns) == 0, slices.ContainsFunc(v.Campaigns, func(s share) bool { return s.Count <= 0 }):
			return errModel
		default:
			for i, amount := range split(v.Amount, v.Campaigns) {
				add(&v.Campaigns[i].Campaign, amount)
			}
		}
		return nil
	})
	return sorted(rows), err
}

// share is a campaign and how often somebody came by it.
type share struct {
	Campaign label `json:"value"`
	Count    int64 `json:"count"`
}

// split divides an amount by shares, whole: of two equal remainders the first
// campaign by name gets the unit that is left.
func split(amount int64, shares []share) []int64 {
	if amount < 0 { // a refund
		parts := split(-amount, shares)
		for i := range parts {
			parts[i] = -parts[i]
		}
		return parts
	}
	total := int64(0)
	for _, s := range shares {
		total += s.Count
	}
	parts, order, left := make([]int64, len(shares)), make([]int, len(shares)), amount
	rest := make([]int64, len(shares))
	for i, s := range shares {
		whole, over := amount/total*s.Count, amount%total*s.Count
		parts[i], rest[i], order[i] = whole+over/total, over%total, i
		left -= parts[i]
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(rest[b], rest[a]), cmp.Compare(shares[a].Campaign, shares[b].Campaign))
	})
	for i := int64(0); i < left; i++ {
		parts[order[i]]++
	}
	return parts
}
