package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/sqldb"
)

// ErrRemade says that sums of the range are being computed again after an erasure, and that they have too many results
// to be read one by one. The caller may try again later.
var ErrRemade = errors.New("sums of the range are being computed again after an erasure")

// FunnelEntries returns how many results of a funnel are in the sums of the whole hours of a range.
func FunnelEntries(ctx context.Context, db *sqldb.DB, q Query) (n int64, err error) {
	if err := migrate(ctx, db); err != nil {
		return 0, err
	}
	first, last := q.hours()
	if err := db.QueryRowContext(ctx, `SELECT coalesce(sum(entries), 0) FROM rule_furthest WHERE fleet = $1 AND rule = $2
		AND hour >= $3 AND hour < $4`, q.Fleet, q.Rule, first, last).Scan(&n); err != nil {
		return 0, fmt.Errorf("reading the sums of a funnel: %w", err)
	}
	return n, nil
}

// hours returns where the whole hours of the range begin and end; first > last or first == last if it has none.
func (q *Query) hours() (first, last int64) {
	return hourOf(q.From.UnixMicro() + hourLong - 1), hourOf(q.To.UnixMicro())
}

// SumFunnel adds up a funnel over a range: the sums of its whole hours, and one by one the results that these do not
// count: those at the ends of the range, those of hours whose sums are being computed again, and those that an earlier
// version of weir or a rule with a window has written. It reads at most so many results one by one. If there are more,
// the error is ErrTooMany, or ErrRemade if the number is exceeded only by hours whose sums are being computed again.
func SumFunnel(ctx context.Context, db *sqldb.DB, q Query, most int) (*Furthest, error) {
	if err := migrate(ctx, db); err != nil {
		return nil, err
	}
	tx, err := view(ctx, db)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	s := &funnelSum{Furthest: &Furthest{}, q: q, left: most}
	if err := s.read(ctx, tx); err != nil {
		return nil, fmt.Errorf("adding up the funnel %s: %w", q.Rule, err)
	}
	return s.Furthest, nil
}

// funnelSum is the work of SumFunnel.
type funnelSum struct {
	*Furthest
	q    Query
	left int // how many results may still be read
}

func (s *funnelSum) read(ctx context.Context, tx *sql.Tx) error {
	from, to := s.q.From.UnixMicro(), s.q.To.UnixMicro()
	first, last := s.q.hours()
	if first >= last {
		return s.results(ctx, tx, from, to, false, nil)
	}
	if err := s.results(ctx, tx, from, first, false, nil); err != nil {
		return err
	}
	remade, err := s.sums(ctx, tx, first, last)
	if err != nil {
		return err
	}
	if err := s.results(ctx, tx, first, last, true, remade); err != nil {
		return err
	}
	if err := s.results(ctx, tx, last, to, false, nil); err != nil {
		return err
	}
	for hour := range remade {
		err := s.results(ctx, tx, hour, hour+hourLong, false, nil)
		if errors.Is(err, ErrTooMany) {
			return ErrRemade
		} else if err != nil {
			return err
		}
	}
	return nil
}

// sums adds the sums of hours, except of those that are due to be computed again, which it returns.
func (s *funnelSum) sums(ctx context.Context, tx *sql.Tx, first, last int64) (remade map[int64]bool, err error) {
	remade = map[int64]bool{}
	const of = ` FROM rule_furthest WHERE fleet = $1 AND rule = $2 AND hour >= $3 AND hour < $4`
	args := []any{s.q.Fleet, s.q.Rule, first, last}
	if err := sqldb.Each(ctx, tx, func(row sqldb.Row) error {
		hour, err := sqldb.Value[int64](row)
		remade[hour] = true
		return err
	}, `SELECT hour`+of+` AND due = 1`, args...); err != nil {
		return nil, err
	}
	return remade, sqldb.Each(ctx, tx, func(row sqldb.Row) error {
		var hour, entries int64
		var steps sql.RawBytes
		if err := row.Scan(&hour, &entries, &steps); err != nil || remade[hour] {
			return err
		}
		sum, err := decodeFurthest(steps)
		if err != nil {
			return err
		}
		sum.Entries = entries
		s.merge(sum)
		return nil
	}, `SELECT hour, entries, steps`+of+` ORDER BY hour, topic, part`, args...)
}

// ofUnsummed is the condition on rule_result r for results of funnels that no sum counts. It matches the index
// rule_result_unsummed.
const ofUnsummed = ` AND r.summed = 0 AND substr(r.rule, 1, 7) = '` + funnelPrefix + `'`

// results adds, one by one, the results of windows that end in [from, to): all of them or, if unsummed, those that no
// sum counts, except in the hours of but.
func (s *funnelSum) results(ctx context.Context, tx *sql.Tx, from, to int64, unsummed bool, but map[int64]bool) error {
	if from >= to {
		return nil
	}
	q := Query{Fleet: s.q.Fleet, Rule: s.q.Rule, From: time.UnixMicro(from), To: time.UnixMicro(to)}
	where, args := q.where()
	if unsummed {
		where += ofUnsummed
	}
	return sqldb.Each(ctx, tx, func(row sqldb.Row) error {
		var device string
		var end int64
		var raw sql.RawBytes
		if err := row.Scan(&device, &end, &raw); err != nil || but[hourOf(end)] {
			return err
		}
		if s.left--; s.left < 0 {
			return ErrTooMany
		}
		return s.addResult(device, raw)
	}, `SELECT r.device_id, r.window_end, r.result FROM rule_result r WHERE `+where+` ORDER BY r.window_end, r.id`, args...)
}

// addResult adds a result as it is stored, unless it is retracted.
func (f *Furthest) addResult(device string, raw []byte) error {
	var values []byte
	back := false
	_, err := rawjson.Object(raw, 0, 0, func(key []byte, _ bool, i int) (int, error) {
		end, err := rawjson.Value(raw, i, 1)
		if err != nil {
			return end, err
		}
		switch string(key) {
		case "status":
			back = strings.Trim(string(raw[i:end]), `"`) == string(statusRetracted)
		case "values":
			values = raw[i:end]
		}
		return end, nil
	})
	if err != nil {
		return fmt.Errorf("reading a result: %w", err)
	}
	if back {
		return nil
	}
	return f.add(device, values)
}
