package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/internal/control/hold"
	"weir/internal/lifecycle"
	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
)

// run does one run. With check set, it deletes nothing if the clock is in doubt. The report says
// what was done also after an error.
func (r *processor) run(ctx context.Context, now time.Time, check bool) (*Report, error) {
	started := time.Now()
	report := &Report{At: now.UTC().Truncate(time.Microsecond), DryRun: r.dryRun, Held: []string{}}
	at := lifecycle.NewPlaces(r.res, r.urls)
	defer at.Close()
	control, held := r.holds(ctx, at, now, check)
	pass := expire.Pass{Now: now, DryRun: r.dryRun, Held: held, Log: r.ofLog}
	if fleets, err := pass.Fleets(ctx); err == nil && fleets != nil {
		report.Held = fleets
	}
	var failures []error
	for _, kind := range r.list {
		if !r.keepsOf(kind) {
			continue
		}
		shares, err := r.keep(ctx, at, kind, pass)
		report.add(kind.Name, shares, err)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", kind.Name, err))
		}
	}
	if r.dryRun {
		return report, errors.Join(failures...)
	}
	failures = append(failures, r.giveBack(ctx, at, report))
	if control != nil {
		failures = append(failures, record(ctx, control, started, report))
	}
	return report, errors.Join(failures...)
}

// holds returns the control store, and a func that returns the fleets on hold. If these cannot be
// read, or the clock is in doubt, the func returns an error, so that nothing is deleted. control is
// nil if it cannot be opened.
func (r *processor) holds(ctx context.Context, at *lifecycle.Places, now time.Time, check bool) (
	control *sqldb.DB, held func(context.Context) ([]string, error)) {
	unknown := func(err error) func(context.Context) ([]string, error) {
		return func(context.Context) ([]string, error) { return nil, err }
	}
	control, err := at.SQL(ctx, lifecycle.Control)
	if err == nil {
		err = openRuns(ctx, control)
	}
	if err != nil {
		return nil, unknown(fmt.Errorf("asking for the holds: %w", err))
	}
	holds, err := hold.Open(ctx, control)
	if err != nil {
		return control, unknown(err)
	}
	if check {
		if err := believe(ctx, control, now); err != nil {
			return control, unknown(err)
		}
	}
	return control, holds.Fleets
}

// keep makes a store delete what is old.
func (r *processor) keep(ctx context.Context, at *lifecycle.Places, kind lifecycle.Kind,
	pass expire.Pass) ([]lifecycle.Share, error) {
	store, err := kind.Open(ctx, at)
	if err != nil {
		return nil, err
	}
	u := lifecycle.Upkeep{Pass: pass, Compact: r.compact, Rules: r.lifecycle}
	for _, k := range kind.Keep {
		age := r.keeps[k.Place][k.Field]
		if age > 0 {
			age += k.Longer
		}
		u.Keep = append(u.Keep, age)
	}
	return store.Expire(ctx, u)
}

// add adds the shares of a store. An error is recorded in its only share, or in one of its own.
func (r *Report) add(store string, shares []lifecycle.Share, err error) {
	if err != nil {
		if len(shares) != 1 {
			shares = append(shares, lifecycle.Share{Store: store})
		}
		shares[len(shares)-1].Error = err.Error()
	}
	r.Stores = append(r.Stores, shares...)
}

// giveBack shrinks the files of databases.
func (r *processor) giveBack(ctx context.Context, at *lifecycle.Places, report *Report) error {
	var failures []error
	for _, place := range []lifecycle.Place{lifecycle.Rollups, lifecycle.Control} {
		if !r.orders(place) {
			continue
		}
		db, err := at.SQL(ctx, place)
		if err != nil {
			continue // its stores have reported the error
		}
		n, err := db.GiveBack(ctx)
		if n > 0 {
			report.Freed = append(report.Freed, Freed{Store: string(place), Bytes: n})
		}
		if err != nil {
			report.add(string(place), nil, err)
			failures = append(failures, fmt.Errorf("%s: %w", place, err))
		}
	}
	return errors.Join(failures...)
}
