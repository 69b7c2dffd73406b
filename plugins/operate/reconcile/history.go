package reconcile

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
	"weir/internal/platform/sqldb"
)

// How long it is known what became of runs, and how many a page tells of.
const (
	historyDays              = 30
	historyLength            = historyDays * 24 * time.Hour
	historyRange             = (historyDays + 1) * 24 * time.Hour // that hours are told of at a time
	historyPage, historyMost = 100, 1000
)

// past is a run without its report.
type past struct {
	id          string
	Verdict     Verdict   `json:"verdict"`
	At          time.Time `json:"at"`
	Accepted    *int64    `json:"accepted"` // null when it failed, and for a fleet
	Unexplained *int64    `json:"unexplained"`
}

// pastPlace is where a page of the history ends.
type pastPlace struct {
	At int64  `json:"a"` // microseconds
	ID string `json:"i"`
}

// history returns the newest runs of a range first, after a place if there is one.
func (p *Proofs) history(ctx context.Context, from, to time.Time, after *pastPlace, most int) ([]past, error) {
	if after == nil {
		after = &pastPlace{At: to.UnixMicro()}
	}
	list, err := sqldb.All(ctx, p.db, func(row sqldb.Row) (one past, err error) {
		var at int64
		var accepted, unexplained sql.Null[int64]
		err = row.Scan(&one.id, &at, &one.Verdict, &accepted, &unexplained)
		one.At = time.UnixMicro(at).UTC()
		if accepted.Valid && unexplained.Valid {
			one.Accepted, one.Unexplained = &accepted.V, &unexplained.V
		}
		return one, err
	}, `SELECT id, at, verdict, accepted, unexplained FROM reconcile_proof
		WHERE at >= $1 AND at < $2 AND (at < $3 OR at = $3 AND id > $4) AND log = $6 ORDER BY at DESC, id LIMIT $5`,
		from.UnixMicro(), to.UnixMicro(), after.At, after.ID, most, p.log)
	if err != nil {
		return nil, fmt.Errorf("listing proofs: %w", err)
	}
	return list, nil
}

// hour is what runs of an hour came to. An hour without any is not told of.
type hour struct {
	Hour      time.Time `json:"hour"`
	Explained int64     `json:"explained"`
	Loss      int64     `json:"loss"`
	Failed    int64     `json:"failed"`
}

// hours returns the hours of a range in which something ran, the oldest first.
func (p *Proofs) hours(ctx context.Context, from, to time.Time) ([]hour, error) {
	list, err := sqldb.All(ctx, p.db, func(row sqldb.Row) (h hour, err error) {
		var n int64
		err = row.Scan(&n, &h.Explained, &h.Loss, &h.Failed)
		h.Hour = time.UnixMicro(n * time.Hour.Microseconds()).UTC()
		return h, err
	}, `SELECT at / 3600000000, SUM(CASE WHEN verdict = 'explained' THEN 1 ELSE 0 END),
			SUM(CASE WHEN verdict = 'loss' THEN 1 ELSE 0 END), SUM(CASE WHEN verdict = 'failed' THEN 1 ELSE 0 END)
		FROM reconcile_proof WHERE at >= $1 AND at < $2 AND log = $3 GROUP BY at / 3600000000 ORDER BY at / 3600000000`,
		from.UnixMicro(), to.UnixMicro(), p.log)
	if err != nil {
		return nil, fmt.Errorf("counting proofs: %w", err)
	}
	return list, nil
}

type historyJSON struct {
	History []past  `json:"history"`
	Next    *string `json:"next"`
}

// pages answers GET /v1/proof/history, the newest first.
func (h *handler) pages(w http.ResponseWriter, r *http.Request) {
	v, bad := httpx.Parse(r, []string{"fleet", "from", "to", "limit", "cursor"}, nil)
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	fleet := apikey.FleetFrom(r.Context())
	hash := httpx.Hash(v, fleet, "from", "to")
	limit, bad := httpx.Limit(v, historyPage, historyMost)
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	from, to, bad := httpx.Range(v, h.clock().Add(time.Minute), historyLength)
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	after, first, last, bad := httpx.Resume[pastPlace](v, hash)
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	if after != nil {
		from, to = time.UnixMicro(first), time.UnixMicro(last)
	}
	list, err := h.proofs.history(r.Context(), from, to, after, limit+1) // one more tells whether there is more
	if err != nil {
		httpx.Unavailable(w, "the control store", err)
		return
	}
	page := historyJSON{History: told(list[:min(limit, len(list))], fleet)}
	if len(list) > limit {
		end := page.History[limit-1]
		next := httpx.Cursor(pastPlace{end.At.UnixMicro(), end.id}, from.UnixMicro(), to.UnixMicro(), hash)
		page.Next = &next
	}
	httpx.Answer(w, http.StatusOK, page)
}

// told is the history as a fleet, or "" for an admin, is told of it.
func told(list []past, fleet string) []past {
	out := make([]past, len(list))
	for i, one := range list {
		if fleet != "" {
			one.Accepted, one.Unexplained = nil, nil
		}
		out[i] = one
	}
	return out
}

type hoursJSON struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Hours []hour    `json:"hours"`
}

// summary answers GET /v1/proof/hours: what a picture of the history is drawn of.
func (h *handler) summary(w http.ResponseWriter, r *http.Request) {
	v, bad := httpx.Parse(r, []string{"fleet", "from", "to"}, nil)
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	from, to, bad := httpx.Range(v, h.clock().Add(time.Minute), historyLength)
	if bad == nil && to.Sub(from) > historyRange {
		bad = httpx.Bad("from", "a range has %d days at most", int(historyRange.Hours()/24))
	}
	if bad != nil {
		httpx.Write(w, *bad)
		return
	}
	list, err := h.proofs.hours(r.Context(), from, to)
	if err != nil {
		httpx.Unavailable(w, "the control store", err)
		return
	}
	httpx.Answer(w, http.StatusOK, hoursJSON{from.UTC(), to.UTC(), append([]hour{}, list...)})
}
