package alert

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"weir/internal/platform/flow"
	"weir/internal/platform/jobs"
	"weir/internal/platform/sqldb"
)

// States of a delivery.
const (
	deliveryPending = "pending" // to be sent, perhaps again
	deliveryFailed  = "failed"  // attempts used up: to become a dead letter
	deliverySent    = "sent"
	deliveryDead    = "dead" // became a dead letter
)

// lease is how long a notice belongs to the process that took it. If that process dies, another sends it afterwards.
const lease = 2 * time.Minute

// outgoing is a notice as sent by a channel: one message about one or many alerts.
type outgoing struct {
	ID       string `json:"notice_id"`
	Group    string `json:"group"` // identifies fleet, rule and severity
	Reason   string `json:"reason"`
	Kind     string `json:"kind"`
	Fleet    string `json:"fleet"`
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Count    int64  `json:"count"`
	Open     int64  `json:"open"` // unresolved alerts of its fleet, kind and rule when sent
	Alerts   []line `json:"alerts"`
	At       string `json:"at"`
	Attempt  int    `json:"attempt"`

	failed    bool
	lastError string
}

// queue holds the notices of one channel.
type queue struct {
	store       *store
	channel     string
	minSeverity int
	reasons     []string
	maxAge      time.Duration
	maxTries    int
	backoff     time.Duration
	maxBackoff  time.Duration
}

// open records the time since when the channel exists, once.
func (q *queue) open(ctx context.Context, now time.Time) error {
	_, err := q.store.db.ExecContext(ctx, `INSERT INTO alert_channel (channel, since) VALUES ($1, $2) ON CONFLICT (channel) DO NOTHING`,
		q.channel, now.UnixMicro())
	if err != nil {
		return fmt.Errorf("opening channel %s: %w", q.channel, err)
	}
	return nil
}

// take leases the next due notice to the caller; nil when there is none.
func (q *queue) take(ctx context.Context, now time.Time) (n *outgoing, err error) {
	if err := q.enqueue(ctx, now); err != nil {
		return nil, fmt.Errorf("reading the notices of channel %s: %w", q.channel, err)
	}
	// A delivery has no owner: after the lease, any process may send it again.
	work := jobs.Table{DB: q.store.db, Name: "alert_delivery", Key: "notice_id", Until: "claimed_until", Lease: lease,
		Work: `channel = $2 AND state IN ('pending', 'failed') AND next_at <= $1`, Order: `next_at, notice_id`,
		Args: []any{q.channel}}
	id, err := work.Take(ctx, "", "", now)
	if err == nil && id == "" {
		return nil, nil
	}
	if err == nil {
		n, err = q.read(ctx, id)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the notices of channel %s: %w", q.channel, err)
	}
	return n, nil
}

// enqueue creates a delivery for every sealed notice that the channel has not seen yet.
func (q *queue) enqueue(ctx context.Context, now time.Time) error {
	const unseen = ` FROM alert_notice n WHERE n.sealed_at >= (SELECT since FROM alert_channel WHERE channel = $1) AND n.sealed_at > $2
		AND NOT EXISTS (SELECT 1 FROM alert_delivery d WHERE d.notice_id = n.notice_id AND d.channel = $1)`
	args := []any{q.channel, now.Add(-q.maxAge).UnixMicro()}
	some := false
	if err := q.store.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1`+unseen+`)`, args...).Scan(&some); err != nil ||
		!some {
		return err
	}
	states := map[string]string{}
	err := sqldb.Each(ctx, q.store.db, func(row sqldb.Row) error {
		var id, severity, reason string
		if err := row.Scan(&id, &severity, &reason); err != nil {
			return err
		}
		states[id] = "skipped" // excluded by the channel's severity or reasons
		if severities()[severity] >= q.minSeverity && q.wants(reason) {
			states[id] = deliveryPending
		}
		return nil
	}, `SELECT n.notice_id, n.severity, n.reason`+unseen, args...)
	if err != nil {
		return err
	}
	return q.store.update(ctx, func(tx *sql.Tx) error {
		for id, state := range states {
			if _, err := tx.ExecContext(ctx, `INSERT INTO alert_delivery (notice_id, channel, state, next_at) VALUES ($1, $2, $3, $4)
				ON CONFLICT (notice_id, channel) DO NOTHING`, id, q.channel, state, now.UnixMicro()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (q *queue) wants(reason string) bool {
	for _, r := range q.reasons {
		if r == reason {
			return true
		}
	}
	return false
}

// read returns a notice as it is to be sent.
func (q *queue) read(ctx context.Context, id string) (*outgoing, error) {
	n := &outgoing{ID: id}
	var lines, state string
	var sealed int64
	if err := q.store.db.QueryRowContext(ctx, `SELECT n.group_id, n.reason, n.kind, n.fleet, n.rule, n.severity, n.count, n.alerts, n.sealed_at,
		d.attempts, d.state, d.last_error,
		(SELECT count(*) FROM alert a WHERE a.state <> 'resolved' AND a.kind = n.kind AND a.fleet = n.fleet AND a.rule = n.rule)
		FROM alert_notice n JOIN alert_delivery d ON d.notice_id = n.notice_id AND d.channel = $2 WHERE n.notice_id = $1`, id, q.channel).
		Scan(&n.Group, &n.Reason, &n.Kind, &n.Fleet, &n.Rule, &n.Severity, &n.Count, &lines, &sealed, &n.Attempt, &state,
			&n.lastError, &n.Open); err != nil {
		return nil, err
	}
	n.At, n.failed = timeOf(sealed), state == deliveryFailed
	if !n.failed {
		n.Attempt++
	}
	return n, json.Unmarshal([]byte(lines), &n.Alerts)
}

// settle records the result of an attempt. A temporary failure is retried after a growing pause; a permanent one, or
// that of the last attempt, makes the notice a dead letter.
func (q *queue) settle(ctx context.Context, n *outgoing, cause error, now time.Time) (state string, err error) {
	next := now
	switch {
	case cause == nil && n.failed:
		state = deliveryDead
	case cause == nil:
		state = deliverySent
	case n.failed: // the dead-letter output failed
		state, next = deliveryFailed, now.Add(q.backoff)
	default:
		var f *flow.Failure
		errors.As(cause, &f)
		state, next = deliveryPending, now.Add(q.pause(n.Attempt))
		if f != nil && f.After > 0 {
			next = now.Add(min(f.After, q.maxBackoff))
		}
		if f != nil && f.Permanent || n.Attempt >= q.maxTries {
			state, next = deliveryFailed, now
		}
	}
	text := n.lastError
	if cause != nil && !n.failed {
		text = cut(cause.Error(), 500)
	}
	_, err = q.store.db.ExecContext(ctx, `UPDATE alert_delivery SET state = $3, attempts = $4, next_at = $5, claimed_until = 0,
		first_at = coalesce(first_at, $6), last_at = $6, last_error = $7 WHERE notice_id = $1 AND channel = $2`,
		n.ID, q.channel, state, n.Attempt, next.UnixMicro(), now.UnixMicro(), text)
	if err != nil {
		return state, fmt.Errorf("recording a delivery on channel %s: %w", q.channel, err)
	}
	return state, nil
}

// pause returns the pause before the next attempt, which doubles with each.
func (q *queue) pause(attempt int) time.Duration {
	d := q.backoff
	for i := 1; i < attempt && d < q.maxBackoff; i++ {
		d *= 2
	}
	return min(d, q.maxBackoff)
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return string([]rune(s[:n])) + "…"
}
