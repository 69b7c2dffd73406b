package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/internal/control/hold"
	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
)

// Stores are the other rooms' stores, in their own words.
type Stores struct {
	Raw, DeadLetters *lake.Table
	// Rollups deletes old rollups and ledgers; it names the parts it reports of.
	Rollups func(ctx context.Context, db *sqldb.DB, p expire.Pass, rollups, ledgers time.Duration) ([]Part, error)
	// AuditLog, Alerts, Replays and Outcomes delete old rows of the control
	// store: entries, resolved alerts, jobs that ended, and what became of dead
	// letters.
	AuditLog, Alerts, Replays, Outcomes Expire
}

// Expire deletes the rows of a database that are from before a time.
type Expire func(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error)

// Part is a share of a store.
type Part struct {
	Name string
	expire.Removed
}

// outcomeSlack is how much longer it is kept what became of a dead letter than
// the letter: one whose outcome is forgotten could be sent back a second time.
const outcomeSlack = 180 * 24 * time.Hour

// run does one run, which deletes nothing when its time is to be checked and not
// believed. The report says what was done also after an error.
func (m *processor) run(ctx context.Context, now time.Time, check bool) (*Report, error) {
	started := time.Now()
	r := &Report{At: now.UTC().Truncate(time.Microsecond), DryRun: m.dryRun, Held: []string{}}
	control, release, err := m.openControl(ctx)
	p := expire.Pass{Now: now, DryRun: m.dryRun, Held: func(context.Context) ([]string, error) { return nil, err }}
	if err == nil {
		defer release()
		holds := (*hold.Store)(nil)
		if holds, err = hold.Open(ctx, control); err == nil {
			p.Held = holds.Fleets
			if check {
				if err := believe(ctx, control, now); err != nil {
					p.Held = func(context.Context) ([]string, error) { return nil, err }
				}
			}
		}
	}
	if held, unknown := p.Fleets(ctx); unknown == nil && held != nil {
		r.Held = held
	}
	var failures []error
	done := func(s StoreReport, err error) {
		if err != nil {
			s.Error = err.Error()
			failures = append(failures, fmt.Errorf("%s: %w", s.Store, err))
		}
		r.Stores = append(r.Stores, s)
	}
	done(m.lake(ctx, "raw", m.raw, m.stores.Raw, m.keepRaw, p))
	done(m.lake(ctx, "dead_letters", m.deadLetters, m.stores.DeadLetters, m.keepDeadLetters, p))
	m.expireRollups(ctx, p, r, done)
	if control == nil {
		done(StoreReport{Store: "control"}, err)
		return r, errors.Join(failures...)
	}
	outcomes := m.keepDeadLetters
	if outcomes > 0 {
		outcomes += outcomeSlack
	}
	for _, t := range []struct {
		name   string
		keep   time.Duration
		expire Expire
	}{
		{"audit_log", m.keepAuditLog, m.stores.AuditLog}, {"alerts", m.keepAlerts, m.stores.Alerts},
		{"replays", m.keepReplays, m.stores.Replays}, {"redrive_outcomes", outcomes, m.stores.Outcomes},
		{"released_holds", m.keepAuditLog, hold.Expire}, {"runs", m.keepAuditLog, expireRuns},
	} {
		s := StoreReport{Store: t.name, OlderThan: olderThan(now, t.keep)}
		var err error
		if s.OlderThan != nil {
			s.Removed, err = t.expire(ctx, control, p, *s.OlderThan)
		}
		done(s, err)
	}
	if err := m.giveBack(ctx, "control", control, r); err != nil {
		done(StoreReport{Store: "control"}, err)
	}
	if !m.dryRun {
		if err := record(ctx, control, started, r); err != nil {
			failures = append(failures, err)
		}
	}
	return r, errors.Join(failures...)
}

// olderThan is before when things go; nil when they are kept for good.
func olderThan(now time.Time, age time.Duration) *time.Time {
	if age <= 0 {
		return nil
	}
	t := now.Add(-age).UTC().Truncate(time.Microsecond)
	return &t
}

func (m *processor) openControl(ctx context.Context) (*sqldb.DB, func(), error) {
	db, release, err := sqldb.Shared(ctx, m.res, m.control)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the control store, which has the holds: %w", err)
	}
	if err := openRuns(ctx, db); err != nil {
		release()
		return nil, nil, err
	}
	return db, release, nil
}

func (m *processor) lake(ctx context.Context, name, url string, table *lake.Table, age time.Duration, p expire.Pass) (StoreReport, error) {
	s := StoreReport{Store: name, OlderThan: olderThan(p.Now, age)}
	store, release, err := lake.Shared(ctx, m.res, url)
	if err != nil {
		return s, err
	}
	defer release()
	s.Place = store.Name()
	done, err := lake.Duty{Table: table, Keep: age, Compact: m.compact, Lifecycle: m.lifecycle}.Do(ctx, store, p)
	s.Removed, s.Merged, s.Into, s.Repeats, s.Lifecycle = done.Retention, done.Merged, done.Into, done.Repeats, done.Lifecycle
	return s, err
}

func (m *processor) expireRollups(ctx context.Context, p expire.Pass, r *Report, done func(StoreReport, error)) {
	db, release, err := sqldb.Shared(ctx, m.res, m.rollups)
	if err != nil {
		done(StoreReport{Store: "rollups"}, err)
		return
	}
	defer release()
	parts, err := m.stores.Rollups(ctx, db, p, m.keepRollups, m.keepLedgers)
	for _, part := range parts {
		age := m.keepRollups
		if part.Name == "ledgers" {
			age = m.keepLedgers
		}
		done(StoreReport{Store: part.Name, OlderThan: olderThan(p.Now, age), Removed: part.Removed}, nil)
	}
	if err != nil {
		done(StoreReport{Store: "rollups"}, err)
		return
	}
	if err := m.giveBack(ctx, "rollups", db, r); err != nil {
		done(StoreReport{Store: "rollups"}, err)
	}
}

// giveBack lets a database's file shrink.
func (m *processor) giveBack(ctx context.Context, name string, db *sqldb.DB, r *Report) error {
	if m.dryRun {
		return nil
	}
	n, err := db.GiveBack(ctx)
	if n > 0 {
		r.Freed = append(r.Freed, Freed{Store: name, Bytes: n})
	}
	return err
}
