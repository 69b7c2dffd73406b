package alert

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"
)

// Reasons of notices.
const (
	reasonOpened    = "opened"
	reasonResolved  = "resolved"
	reasonEscalated = "escalated"
)

// maxLines is how many alerts a notice lists; its count includes all.
const maxLines = 20

// line is an alert in a notice.
type line struct {
	AlertID string   `json:"alert_id"`
	Device  string   `json:"device_id,omitempty"`
	Metric  string   `json:"metric,omitempty"`
	Value   *float64 `json:"value,omitempty"`
	Summary string   `json:"summary"`
	At      string   `json:"at"`

	kind, fleet, rule, severity string
	announced                   bool
}

func lineOf(r *Record) line {
	return line{AlertID: r.AlertID, Device: r.Device, Metric: r.Metric, Value: r.Value, Summary: r.Summary,
		At: timeOf(r.At.UnixMicro()), kind: r.Kind, fleet: r.Fleet, rule: r.Rule, severity: r.Severity}
}

func (l *line) group() string { return key(l.kind, l.fleet, l.rule, l.severity) }

// announcer collects the notices of one transaction: one per group and reason, to which alerts are added until it is
// sealed.
type announcer struct {
	tx      *sql.Tx
	policy  policy
	now     int64
	notices map[[2]string]*notice
	order   []*notice
}

type notice struct {
	id, group, reason, kind, fleet, rule, severity string
	count                                          int64
	lines                                          []line
	created, send                                  int64
	stored, changed                                bool
}

func newAnnouncer(tx *sql.Tx, policy policy, now time.Time) *announcer {
	return &announcer{tx: tx, policy: policy, now: now.UnixMicro(), notices: map[[2]string]*notice{}}
}

// opened adds an opened alert to its group's notice and marks it as announced.
func (a *announcer) opened(ctx context.Context, l line) error {
	if _, err := a.tx.ExecContext(ctx, `UPDATE alert SET announced_at = $2, notify_after = NULL WHERE alert_id = $1`,
		l.AlertID, a.now); err != nil {
		return err
	}
	return a.add(ctx, reasonOpened, l)
}

func (a *announcer) add(ctx context.Context, reason string, l line) error {
	n, err := a.notice(ctx, reason, &l)
	if err != nil {
		return err
	}
	n.count++
	n.changed = true
	if len(n.lines) < maxLines {
		n.lines = append(n.lines, l)
	}
	return nil
}

// notice returns the unsealed notice of a group and reason, or starts one.
func (a *announcer) notice(ctx context.Context, reason string, l *line) (*notice, error) {
	group := l.group()
	if n := a.notices[[2]string{group, reason}]; n != nil {
		return n, nil
	}
	n := &notice{group: group, reason: reason, kind: l.kind, fleet: l.fleet, rule: l.rule, severity: l.severity}
	var lines string
	err := a.tx.QueryRowContext(ctx, `SELECT notice_id, count, alerts, created_at, send_at FROM alert_notice
		WHERE group_id = $1 AND reason = $2 AND sealed_at IS NULL LIMIT 1`, group, reason).Scan(&n.id, &n.count, &lines, &n.created, &n.send)
	switch {
	case err == nil:
		n.stored = true
		if err := json.Unmarshal([]byte(lines), &n.lines); err != nil {
			return nil, err
		}
	case errors.Is(err, sql.ErrNoRows):
		var last sql.NullInt64
		if err := a.tx.QueryRowContext(ctx, `SELECT max(sealed_at) FROM alert_notice WHERE group_id = $1 AND reason = $2`,
			group, reason).Scan(&last); err != nil {
			return nil, err
		}
		n.id, n.created, n.send = noticeID(group, reason, l.AlertID, a.now), a.now, a.now+a.policy.GroupWait.Microseconds()
		if last.Valid {
			n.send = max(n.send, last.Int64+a.policy.GroupInterval.Microseconds())
		}
	default:
		return nil, err
	}
	a.notices[[2]string{group, reason}] = n
	a.order = append(a.order, n)
	return n, nil
}

func noticeID(group, reason, first string, now int64) string {
	h := sha256.Sum256([]byte(key("weir notice", group, reason, first, timeOf(now))))
	return hex.EncodeToString(h[:16])
}

// write stores the changed notices.
func (a *announcer) write(ctx context.Context) error {
	for _, n := range a.order {
		if !n.changed {
			continue
		}
		lines, err := json.Marshal(n.lines)
		if err != nil {
			return err
		}
		if n.stored {
			_, err = a.tx.ExecContext(ctx, `UPDATE alert_notice SET count = $2, alerts = $3 WHERE notice_id = $1`, n.id, n.count,
				string(lines))
		} else {
			_, err = a.tx.ExecContext(ctx, `INSERT INTO alert_notice (notice_id, group_id, reason, kind, fleet, rule, severity, count, alerts, created_at, send_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, n.id, n.group, n.reason, n.kind, n.fleet, n.rule, n.severity,
				n.count, string(lines), n.created, n.send)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
