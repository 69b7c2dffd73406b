package alert

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// swept counts what a sweep changed.
type swept struct{ Announced, Escalated, Quieted, Sealed int64 }

// Sweep does what has become due: it announces alerts whose cooldown has passed, escalates unacknowledged alerts,
// resolves quiet pipeline and rule alerts, and seals notices that have waited long enough. Several processes may
// sweep: each step is done once.
func (s *store) Sweep(ctx context.Context, now time.Time) (done swept, err error) {
	due, err := s.due(ctx, now)
	if err != nil || !due {
		return done, err
	}
	err = s.update(ctx, func(tx *sql.Tx) error {
		done = swept{}
		notices := newAnnouncer(tx, s.policy, now)
		for _, step := range []func(context.Context, *sql.Tx, *announcer, time.Time, *swept) error{s.announceDue, s.escalate,
			s.quieten} {
			if err := step(ctx, tx, notices, now, &done); err != nil {
				return err
			}
		}
		if err := notices.write(ctx); err != nil {
			return err
		}
		done.Sealed, err = seal(ctx, tx, now)
		return err
	})
	if err != nil {
		return swept{}, fmt.Errorf("sweeping alerts: %w", err)
	}
	return done, nil
}

// due checks, without a lock, whether there is anything to do.
func (s *store) due(ctx context.Context, now time.Time) (bool, error) {
	n := 0
	err := s.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM alert_notice WHERE sealed_at IS NULL AND send_at <= $1)
		+ (SELECT count(*) FROM alert WHERE state <> 'resolved' AND (notify_after <= $1 OR `+escalates("$2")+` OR kind <> 'metric' AND updated_at < $3))`,
		now.UnixMicro(), s.escalateBefore(now), now.Add(-s.policy.Quiet).UnixMicro()).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("sweeping alerts: %w", err)
	}
	return n > 0, nil
}

// escalates is the condition of open alerts that were announced before a time and have not escalated yet.
func escalates(before string) string {
	return `state = 'open' AND escalated_at IS NULL AND announced_at <= ` + before
}

func (s *store) escalateBefore(now time.Time) int64 {
	if s.policy.EscalateAfter <= 0 {
		return -1
	}
	return now.Add(-s.policy.EscalateAfter).UnixMicro()
}

func (s *store) announceDue(ctx context.Context, tx *sql.Tx, notices *announcer, now time.Time, done *swept) error {
	lines, err := unresolved(ctx, tx, `state = 'open' AND notify_after <= $1`, now.UnixMicro())
	if err != nil {
		return err
	}
	for _, l := range lines {
		if err := notices.opened(ctx, l); err != nil {
			return err
		}
		done.Announced++
	}
	return nil
}

func (s *store) escalate(ctx context.Context, tx *sql.Tx, notices *announcer, now time.Time, done *swept) error {
	lines, err := unresolved(ctx, tx, escalates("$1"), s.escalateBefore(now))
	if err != nil {
		return err
	}
	for _, l := range lines {
		if _, err := tx.ExecContext(ctx, `UPDATE alert SET escalated_at = $2 WHERE alert_id = $1`, l.AlertID,
			now.UnixMicro()); err != nil {
			return err
		}
		if err := notices.add(ctx, reasonEscalated, l); err != nil {
			return err
		}
		done.Escalated++
	}
	return nil
}

func (s *store) quieten(ctx context.Context, tx *sql.Tx, notices *announcer, now time.Time, done *swept) error {
	lines, err := unresolved(ctx, tx, `kind <> 'metric' AND updated_at < $1`, now.Add(-s.policy.Quiet).UnixMicro())
	if err != nil {
		return err
	}
	for _, l := range lines {
		if err := s.settle(ctx, tx, notices, l, now, now, "quiet", nil); err != nil {
			return err
		}
		done.Quieted++
	}
	return nil
}

// seal seals the notices that have waited for their group: they no longer change, and channels may send them.
func seal(ctx context.Context, tx *sql.Tx, now time.Time) (int64, error) {
	res, err := tx.ExecContext(ctx, `UPDATE alert_notice SET sealed_at = $1 WHERE sealed_at IS NULL AND send_at <= $1`,
		now.UnixMicro())
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
