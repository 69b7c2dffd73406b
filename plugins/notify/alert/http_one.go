package alert

import (
	"context"
	"net/http"
	"strconv"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

// deliveryJSON is the result of a notice on a channel.
type deliveryJSON struct {
	NoticeID string  `json:"notice_id"`
	Reason   string  `json:"reason"`
	Channel  string  `json:"channel"`
	State    string  `json:"state"` // pending, sent, failed or dead
	Attempts int     `json:"attempts"`
	FirstAt  *string `json:"first_at"`
	LastAt   *string `json:"last_at"`
	Error    string  `json:"error,omitempty"`
}

func (h *handler) get(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	a, err := h.find(ctx, r.PathValue("id"))
	if err != nil {
		failed(w, err)
		return
	}
	deliveries, err := h.deliveries(ctx, &a)
	if err != nil {
		failed(w, err)
		return
	}
	httpx.Answer(w, http.StatusOK, struct {
		alertJSON
		Deliveries []deliveryJSON `json:"deliveries"`
	}{a, deliveries})
}

func (h *handler) find(ctx context.Context, id string) (alertJSON, error) {
	if err := h.migrate(ctx); err != nil {
		return alertJSON{}, err
	}
	where, args := scope(ctx)
	args = append(args, id)
	a, _, err := scanAlert(h.db.QueryRowContext(ctx, `SELECT `+alertColumns+` FROM alert WHERE `+where+
		` AND alert_id = $`+strconv.Itoa(len(args)), args...))
	return a, err
}

// deliveries reads the deliveries of notices that list the alert, or may count it without listing it: those of its
// group while it was open.
func (h *handler) deliveries(ctx context.Context, a *alertJSON) ([]deliveryJSON, error) {
	return sqldb.All(ctx, h.db, func(row sqldb.Row) (d deliveryJSON, err error) {
		var first, last *int64
		err = row.Scan(&d.NoticeID, &d.Reason, &d.Channel, &d.State, &d.Attempts, &first, &last, &d.Error)
		for from, to := range map[*int64]**string{first: &d.FirstAt, last: &d.LastAt} {
			if from != nil {
				text := timeOf(*from)
				*to = &text
			}
		}
		return d, err
	}, `SELECT d.notice_id, n.reason, d.channel, d.state, d.attempts, d.first_at, d.last_at, d.last_error
		FROM alert_delivery d JOIN alert_notice n ON n.notice_id = d.notice_id JOIN alert a ON a.alert_id = $1
		WHERE n.group_id = $2 AND d.state <> 'skipped' AND (n.alerts LIKE $3 OR n.count > $4 AND n.sealed_at >= a.announced_at
			AND n.created_at <= coalesce(a.resolved_at, n.created_at))
		ORDER BY n.created_at, d.channel LIMIT 200`,
		a.AlertID, key(a.Kind, a.Fleet, a.Rule, a.Severity), `%"`+a.AlertID+`"%`, maxLines)
}

func (h *handler) acknowledge(w http.ResponseWriter, r *http.Request) {
	h.change(w, r, `UPDATE alert SET state = 'acknowledged', acknowledged_at = $2, acknowledged_by = $3, updated_at = $2, notify_after = NULL
		WHERE alert_id = $1 AND state = 'open'`, stateAcknowledged)
}

func (h *handler) resolve(w http.ResponseWriter, r *http.Request) {
	h.change(w, r, `UPDATE alert SET state = 'resolved', resolved_at = $2, resolved_by = $3, updated_at = $2, notify_after = NULL
		WHERE alert_id = $1 AND state <> 'resolved'`, stateResolved)
}

// change moves an alert to a state and answers with the alert. It answers 409 when the alert cannot move there.
func (h *handler) change(w http.ResponseWriter, r *http.Request, query, state string) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	a, err := h.find(ctx, r.PathValue("id"))
	if err != nil {
		failed(w, err)
		return
	}
	if _, err := h.db.ExecContext(ctx, query, a.AlertID, h.now().UnixMicro(), apikey.CallerFrom(ctx)); err != nil {
		failed(w, err)
		return
	}
	if a, err = h.find(ctx, a.AlertID); err != nil {
		failed(w, err)
		return
	}
	if a.State != state {
		httpx.Write(w, httpx.Problem{Type: "conflict", Status: http.StatusConflict, Title: "The alert is in another state",
			Detail: "the alert is " + a.State})
		return
	}
	httpx.Answer(w, http.StatusOK, a)
}
