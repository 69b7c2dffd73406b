package rule

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform/sqldb"
)

// Query selects results of a rule by the ends of their windows, in [From, To). Only the newest revision of each is
// returned.
type Query struct {
	Fleet, Rule string
	Devices     []string // empty: all devices
	From, To    time.Time
	After       *After // the last result of the previous page; nil: the first page
	Limit       int
}

// After is the cursor of a page: the page begins after this result.
type After struct {
	End int64  `json:"e"` // of the window, in microseconds since 1970
	ID  string `json:"i"`
}

// Results reads a page of results, the latest windows first. next is the cursor of the next page, nil on the last.
func Results(ctx context.Context, db *sqldb.DB, q Query) (results []json.RawMessage, next *After, err error) {
	if err := migrate(ctx, db); err != nil {
		return nil, nil, err
	}
	where, args := q.where()
	rows, err := db.QueryContext(ctx, `SELECT r.id, r.window_end, r.result FROM rule_result r WHERE `+where+
		` ORDER BY r.window_end DESC, r.id DESC LIMIT `+strconv.Itoa(q.Limit+1), args...)
	if err != nil {
		return nil, nil, fmt.Errorf("reading results of rules: %w", err)
	}
	results = []json.RawMessage{}
	var last After
	for rows.Next() {
		var at After
		var text string
		if err = rows.Scan(&at.ID, &at.End, &text); err != nil {
			break
		}
		if len(results) == q.Limit {
			next = &last
			break
		}
		results, last = append(results, json.RawMessage(text)), at
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, nil, fmt.Errorf("reading results of rules: %w", err)
	}
	return results, next, nil
}

// where returns the condition on rule_result r, and the values of its parameters.
func (q *Query) where() (condition string, args []any) {
	where := []string{`r.fleet = $1`, `r.rule = $2`, `r.window_end >= $3`, `r.window_end < $4`,
		`NOT EXISTS (SELECT 1 FROM rule_result n WHERE n.id = r.id AND n.revision > r.revision)`}
	args = []any{q.Fleet, q.Rule, q.From.UnixMicro(), q.To.UnixMicro()}
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	if len(q.Devices) > 0 {
		marks := make([]string, len(q.Devices))
		for i, d := range q.Devices {
			marks[i] = arg(d)
		}
		where = append(where, `r.device_id IN (`+strings.Join(marks, ", ")+`)`)
	}
	if q.After != nil {
		end := arg(q.After.End)
		where = append(where, `(r.window_end < `+end+` OR r.window_end = `+end+` AND r.id < `+arg(q.After.ID)+`)`)
	}
	return strings.Join(where, " AND "), args
}

// Each calls each with all results of a query, the earliest windows first, without holding them in memory. result is
// valid only during the call. Limit is not used. An error of each ends it and is returned.
func Each(ctx context.Context, db *sqldb.DB, q Query, each func(id string, result []byte) error) error {
	if err := migrate(ctx, db); err != nil {
		return err
	}
	where, args := q.where()
	rows, err := db.QueryContext(ctx, `SELECT r.id, r.result FROM rule_result r WHERE `+where+` ORDER BY r.window_end, r.id`,
		args...)
	if err != nil {
		return fmt.Errorf("reading results of rules: %w", err)
	}
	var id string
	var text sql.RawBytes
	for err == nil && rows.Next() {
		if err = rows.Scan(&id, &text); err == nil {
			err = each(id, text)
		}
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("reading results of rules: %w", err)
	}
	return nil
}
