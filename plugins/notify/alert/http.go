package alert

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
)

const (
	queryTimeout = 30 * time.Second
	pageSize     = 100
	maxPage      = 1000
)

// Handler answers
//
//	GET  /v1/alerts?device=&state=&rule=&severity=&from=&to=&limit=&cursor=   the newest first
//	GET  /v1/alerts/{id}                with the deliveries of its notices
//	POST /v1/alerts/{id}/acknowledge    again is no error; 409 when it has resolved
//	POST /v1/alerts/{id}/resolve        by hand, for one that nothing resolves
//
// Requests see the fleet that apikey.Authenticator determined, within the device prefix of their key. An admin's key
// also sees pipeline alerts, and, when it names no fleet, the alerts of all fleets. The tables are created on first
// use.
func Handler(db *sqldb.DB) http.Handler {
	h := &handler{db: db, now: time.Now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/alerts", h.list)
	mux.HandleFunc("GET /v1/alerts/{id}", h.get)
	mux.HandleFunc("POST /v1/alerts/{id}/acknowledge", h.acknowledge)
	mux.HandleFunc("POST /v1/alerts/{id}/resolve", h.resolve)
	return mux
}

type handler struct {
	db       *sqldb.DB
	now      func() time.Time
	migrated atomic.Bool
}

// alertJSON is an alert in API answers.
type alertJSON struct {
	AlertID        string   `json:"alert_id"`
	Kind           string   `json:"kind"`
	Fleet          string   `json:"fleet"`
	Device         string   `json:"device_id"`
	Metric         string   `json:"metric"`
	Rule           string   `json:"rule"`
	Severity       string   `json:"severity"`
	State          string   `json:"state"`
	Value          *float64 `json:"value"`
	At             string   `json:"at"`
	EventID        string   `json:"event_id"`
	Summary        string   `json:"summary"`
	AcknowledgedAt *string  `json:"acknowledged_at"`
	AcknowledgedBy string   `json:"acknowledged_by,omitempty"` // id of a key, or name of a person
	ResolvedAt     *string  `json:"resolved_at"`
	ResolvedBy     string   `json:"resolved_by,omitempty"` // id of a key, name of a person, or "quiet"
	EscalatedAt    *string  `json:"escalated_at"`
}

const alertColumns = `alert_id, kind, fleet, device_id, metric, rule, severity, state, value, opened_at, event_id, summary,
	acknowledged_at, acknowledged_by, resolved_at, resolved_by, escalated_at`

func scanAlert(row sqldb.Row) (a alertJSON, opened int64, err error) {
	var acknowledged, resolved, escalated sql.NullInt64
	err = row.Scan(&a.AlertID, &a.Kind, &a.Fleet, &a.Device, &a.Metric, &a.Rule, &a.Severity, &a.State, &a.Value, &opened,
		&a.EventID, &a.Summary,
		&acknowledged, &a.AcknowledgedBy, &resolved, &a.ResolvedBy, &escalated)
	a.At = timeOf(opened)
	for _, f := range []struct {
		from sql.NullInt64
		to   **string
	}{{acknowledged, &a.AcknowledgedAt}, {resolved, &a.ResolvedAt}, {escalated, &a.EscalatedAt}} {
		if f.from.Valid {
			text := timeOf(f.from.Int64)
			*f.to = &text
		}
	}
	return a, opened, err
}

// scope returns the SQL condition of the alerts that a request may see.
func scope(ctx context.Context) (where string, args []any) {
	fleet := apikey.FleetFrom(ctx)
	key, _ := apikey.KeyFrom(ctx)
	admin := key != nil && key.Everywhere()
	if key != nil && key.DevicePrefix != "" {
		n := strconv.Itoa(len(key.DevicePrefix))
		return `folded_into IS NULL AND fleet = $1 AND kind <> 'pipeline' AND substr(device_id, 1, ` + n + `) = $2`,
			[]any{fleet, key.DevicePrefix}
	}
	switch {
	case admin && fleet == "":
		return `folded_into IS NULL`, nil
	case admin:
		return `folded_into IS NULL AND (fleet = $1 OR kind = 'pipeline')`, []any{fleet}
	default:
		return `folded_into IS NULL AND fleet = $1 AND kind <> 'pipeline'`, []any{fleet}
	}
}

type filter struct {
	where []string
	args  []any
	limit int
}

func (f *filter) add(condition string, args ...any) {
	for _, a := range args {
		f.args = append(f.args, a)
		condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(f.args)), 1)
	}
	f.where = append(f.where, condition)
}

// parseFilter parses the query of GET /v1/alerts.
func parseFilter(ctx context.Context, q url.Values) (*filter, error) {
	where, args := scope(ctx)
	f := &filter{where: []string{where}, args: args, limit: pageSize}
	for name := range q {
		if text := q.Get(name); text != "" {
			if err := f.parameter(name, text); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

func (f *filter) parameter(name, value string) error {
	switch name {
	case "fleet": // checked by the Authenticator
	case "device":
		if !event.ValidDevice(value) {
			return errors.New("device: expected a device_id")
		}
		f.add(`device_id = ?`, value)
	case "state":
		if value != stateOpen && value != stateAcknowledged && value != stateResolved {
			return errors.New("state: expected open, acknowledged or resolved")
		}
		f.add(`state = ?`, value)
	case "severity":
		if _, ok := severities()[value]; !ok {
			return errors.New("severity: expected info, warning or critical")
		}
		f.add(`severity = ?`, value)
	case "rule":
		f.add(`rule = ?`, value)
	case "from", "to":
		at, ok := text.ParseTime(value)
		if !ok {
			return errors.New(name + ": expected an RFC 3339 time with a zone")
		}
		f.add(map[string]string{"from": `opened_at >= ?`, "to": `opened_at < ?`}[name], at.UnixMicro())
	case "limit":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxPage {
			return fmt.Errorf("limit: expected 1 to %d", maxPage)
		}
		f.limit = n
	case "cursor":
		raw, err := base64.RawURLEncoding.DecodeString(value)
		at, id, ok := strings.Cut(string(raw), " ")
		opened, err2 := strconv.ParseInt(at, 10, 64)
		if err != nil || err2 != nil || !ok {
			return errors.New("cursor: expected the next of an earlier answer")
		}
		f.add(`(opened_at < ? OR opened_at = ? AND alert_id < ?)`, opened, opened, id)
	default:
		return fmt.Errorf("%s: unknown parameter", name)
	}
	return nil
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	f, err := parseFilter(ctx, r.URL.Query())
	if err != nil {
		httpx.Invalid(w, err.Error())
		return
	}
	alerts, next, err := h.page(ctx, f)
	if err != nil {
		failed(w, err)
		return
	}
	httpx.Answer(w, http.StatusOK, map[string]any{"alerts": alerts, "next": next})
}

func (h *handler) page(ctx context.Context, f *filter) (alerts []alertJSON, next *string, err error) {
	if err := h.migrate(ctx); err != nil {
		return nil, nil, err
	}
	rows, err := h.db.QueryContext(ctx, `SELECT `+alertColumns+` FROM alert WHERE `+strings.Join(f.where, " AND ")+
		` ORDER BY opened_at DESC, alert_id DESC LIMIT `+strconv.Itoa(f.limit+1), f.args...)
	if err != nil {
		return nil, nil, err
	}
	alerts = []alertJSON{}
	var last int64
	for rows.Next() {
		var a alertJSON
		var opened int64
		if a, opened, err = scanAlert(rows); err != nil {
			break
		}
		if len(alerts) == f.limit {
			c := base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(last, 10) + " " + alerts[f.limit-1].AlertID))
			next = &c
			break
		}
		alerts, last = append(alerts, a), opened
	}
	return alerts, next, errors.Join(err, rows.Err(), rows.Close())
}

// migrate creates the tables on first use.
func (h *handler) migrate(ctx context.Context) error {
	if h.migrated.Load() {
		return nil
	}
	if err := h.db.Migrate(ctx, "alert", migrations()); err != nil {
		return err
	}
	h.migrated.Store(true)
	return nil
}

// failed answers 404 for an unknown alert, and 503 when the store does not answer.
func failed(w http.ResponseWriter, err error) {
	if errors.Is(err, sql.ErrNoRows) {
		httpx.NotFound(w, "there is no alert of this id, or it is of another fleet")
		return
	}
	httpx.Unavailable(w, "the alert store", err)
}
