package alert

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// policy says when people are notified.
type policy struct {
	GroupWait     time.Duration // how long a notice waits for more alerts of its group
	GroupInterval time.Duration // minimum time between two notices of a group
	Cooldown      time.Duration // how long a subject stays silent after people were notified of it
	EscalateAfter time.Duration // after this without acknowledgement an alert escalates; 0: never
	Quiet         time.Duration // pipeline and rule alerts without news for this long resolve
	SendResolved  bool
	MaxOpen       int // maximum of open alerts per fleet, beyond which alerts are not recorded; 0: none
}

// defaultPolicy returns the defaults of alert_store.
func defaultPolicy() policy {
	return policy{
		GroupWait: 5 * time.Second, GroupInterval: 5 * time.Minute, Cooldown: 10 * time.Minute,
		EscalateAfter: 15 * time.Minute, Quiet: time.Hour, SendResolved: true, MaxOpen: 10_000,
	}
}

// store keeps alerts in the control store.
type store struct {
	db     *sqldb.DB
	policy policy
}

// openStore creates or migrates the tables.
func openStore(ctx context.Context, db *sqldb.DB, policy policy) (*store, error) {
	if err := errors.Join(db.Migrate(ctx, "alert", migrations()), tombstone.Migrate(ctx, db)); err != nil {
		return nil, err
	}
	return &store{db, policy}, nil
}

// update runs fn in a transaction, serialized with all others, because announcements depend on what others wrote.
func (s *store) update(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if s.db.Dialect == sqldb.Postgres {
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(7341128)`); err != nil {
			return err
		}
	}
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// applied counts what a batch of records changed.
type applied struct {
	Opened, Folded, Resolved, Repeated, Erased int
	Beyond                                     int    // not recorded: the fleet has the maximum of open alerts
	BeyondOf                                   string // the last such fleet
}

// Apply records a batch in order. When it returns nil, the batch and its notices are committed, else none of it.
// Records that were applied before change nothing.
func (s *store) Apply(ctx context.Context, records []*Record, now time.Time) (done applied, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		done = applied{}
		erased, err := tombstone.Begin(ctx, tx, s.db.Dialect)
		if err != nil {
			return err
		}
		notices := newAnnouncer(tx, s.policy, now)
		for _, r := range records {
			if r.erased(erased) {
				done.Erased++
				continue
			}
			var err error
			if r.Transition == transitionResolved {
				err = s.resolve(ctx, tx, notices, r, now, &done)
			} else {
				err = s.open(ctx, tx, notices, r, now, &done)
			}
			if err != nil {
				return err
			}
		}
		return notices.write(ctx)
	})
	if err != nil {
		return applied{}, fmt.Errorf("storing alerts: %w", err)
	}
	return done, nil
}

func (s *store) open(ctx context.Context, tx *sql.Tx, notices *announcer, r *Record, now time.Time,
	done *applied) error {
	subject := r.subject()
	res, err := tx.ExecContext(ctx, `INSERT INTO alert (alert_id, kind, fleet, device_id, metric, rule, severity, summary, value, event_id,
		record, subject, state, opened_at, recorded_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'open', $13, $14, $14)
		ON CONFLICT (alert_id) DO NOTHING`, r.AlertID, r.Kind, r.Fleet, r.Device, r.Metric, r.Rule, r.Severity, r.Summary, r.Value, r.EventID,
		r.raw, subject, r.At.UnixMicro(), now.UnixMicro())
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		done.Repeated++
		_, err := tx.ExecContext(ctx, `UPDATE alert SET updated_at = $2 WHERE alert_id = $1 AND state <> 'resolved'`,
			r.AlertID, now.UnixMicro())
		return err
	}
	var other string
	err = tx.QueryRowContext(ctx, `SELECT alert_id FROM alert WHERE subject = $1 AND state <> 'resolved' AND alert_id <> $2 LIMIT 1`,
		subject, r.AlertID).Scan(&other)
	if err == nil {
		done.Folded++
		if _, err := tx.ExecContext(ctx, `UPDATE alert SET state = 'resolved', folded_into = $2 WHERE alert_id = $1`,
			r.AlertID, other); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE alert SET updated_at = $2 WHERE alert_id = $1`, other, now.UnixMicro())
		return err
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if full, err := s.full(ctx, tx, r); err != nil {
		return err
	} else if full {
		done.Beyond++
		done.BeyondOf = r.Fleet
		_, err := tx.ExecContext(ctx, `DELETE FROM alert WHERE alert_id = $1`, r.AlertID)
		return err
	}
	done.Opened++
	var told sql.NullInt64
	if err := tx.QueryRowContext(ctx, `SELECT max(announced_at) FROM alert WHERE subject = $1`,
		subject).Scan(&told); err != nil {
		return err
	}
	if told.Valid && now.UnixMicro()-told.Int64 < s.policy.Cooldown.Microseconds() {
		_, err := tx.ExecContext(ctx, `UPDATE alert SET notify_after = $2 WHERE alert_id = $1`,
			r.AlertID, told.Int64+s.policy.Cooldown.Microseconds())
		return err
	}
	return notices.opened(ctx, lineOf(r))
}

// full tells whether the fleet exceeds its maximum of open alerts, counting the one just recorded. Pipeline alerts
// are few and never limited.
func (s *store) full(ctx context.Context, tx *sql.Tx, r *Record) (bool, error) {
	if s.policy.MaxOpen == 0 || r.Kind == Pipeline {
		return false, nil
	}
	var open int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM alert WHERE fleet = $1 AND state <> 'resolved' LIMIT $2) AS open`,
		r.Fleet, s.policy.MaxOpen+1).Scan(&open)
	return open > s.policy.MaxOpen, err
}

func (s *store) resolve(ctx context.Context, tx *sql.Tx, notices *announcer, r *Record, now time.Time,
	done *applied) error {
	where, args := `alert_id = $1 OR subject = $2 AND opened_at <= $3`, []any{r.AlertID, r.subject(), r.At.UnixMicro()}
	if r.Kind == Rule { // resolve only the withdrawn result, not its key's other alerts
		where, args = `alert_id = $1`, args[:1]
	}
	lines, err := unresolved(ctx, tx, where, args...)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		done.Repeated++
	}
	for _, l := range lines {
		done.Resolved++
		if err := s.settle(ctx, tx, notices, l, r.At, now, "", r); err != nil {
			return err
		}
	}
	return nil
}

// settle resolves one alert, and notifies those who were notified of its opening.
func (s *store) settle(ctx context.Context, tx *sql.Tx, notices *announcer, l line, at, now time.Time, by string,
	r *Record) error {
	if _, err := tx.ExecContext(ctx, `UPDATE alert SET state = 'resolved', resolved_at = $2, resolved_by = $3, updated_at = $4, notify_after = NULL
		WHERE alert_id = $1`, l.AlertID, at.UnixMicro(), by, now.UnixMicro()); err != nil {
		return err
	}
	if !l.announced || !s.policy.SendResolved {
		return nil
	}
	if r != nil {
		l.Summary, l.Value = r.Summary, r.Value
	}
	l.At = timeOf(at.UnixMicro())
	return notices.add(ctx, reasonResolved, l)
}

// unresolved reads the unresolved alerts that match a condition.
func unresolved(ctx context.Context, tx *sql.Tx, where string, args ...any) ([]line, error) {
	return sqldb.All(ctx, tx, func(row sqldb.Row) (l line, err error) {
		var opened int64
		err = row.Scan(&l.AlertID, &l.kind, &l.fleet, &l.Device, &l.Metric, &l.rule, &l.severity, &l.Summary, &l.Value,
			&opened, &l.announced)
		l.At = timeOf(opened)
		return l, err
	}, `SELECT alert_id, kind, fleet, device_id, metric, rule, severity, summary, value, opened_at, announced_at IS NOT NULL
		FROM alert WHERE state <> 'resolved' AND (`+where+`) ORDER BY opened_at, alert_id`, args...)
}
