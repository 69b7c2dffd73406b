package block

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"weir/internal/platform/sqldb"
)

// Query selects blocks of a fleet.
type Query struct {
	Kind    Kind   // "": both
	Subject string // "": all
	Past    bool   // also those that ended
	Limit   int
}

// List returns blocks, newest first, and the total that match, also beyond the limit.
func (s *Store) List(ctx context.Context, fleet string, q Query) (blocks []Block, total int64, err error) {
	where := ` FROM subject_block WHERE fleet = $1 AND ($2 = '' OR kind = $2) AND ($3 = '' OR subject = $3)`
	args := []any{fleet, string(q.Kind), q.Subject}
	if !q.Past {
		where += ` AND ` + inForce + `$4`
		args = append(args, s.now().UnixMicro())
	}
	err = s.db.QueryRowContext(ctx, `SELECT count(*)`+where, args...).Scan(&total)
	if err == nil {
		blocks, err = sqldb.All(ctx, s.db, scan, `SELECT `+columns+where+` ORDER BY placed_at DESC, id LIMIT `+
			strconv.Itoa(q.Limit), args...)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading blocks: %w", err)
	}
	return blocks, total, nil
}

func scan(row sqldb.Row) (b Block, err error) {
	var until, at, lifted int64
	err = row.Scan(&b.ID, &b.Kind, &b.Subject, &until, &b.Reason, &b.Rule, &b.By, &at, &b.LiftedBy, &lifted)
	b.Until, b.At = time.UnixMicro(until).UTC(), time.UnixMicro(at).UTC()
	if lifted != 0 {
		t := time.UnixMicro(lifted).UTC()
		b.LiftedAt = &t
	}
	return b, err
}

// changes returns the counter that every change of a block increments.
func (s *Store) changes(ctx context.Context) (n int64, err error) {
	if err := s.db.QueryRowContext(ctx, `SELECT n FROM subject_block_change`).Scan(&n); err != nil {
		return 0, fmt.Errorf("asking whether blocks changed: %w", err)
	}
	return n, nil
}

// blocked reads the blocks in force of all fleets.
func (s *Store) blocked(ctx context.Context) (map[string]*Fleet, error) {
	fleets := map[string]*Fleet{}
	err := sqldb.Each(ctx, s.db, func(row sqldb.Row) error {
		var fleet, subject string
		var kind Kind
		var until int64
		if err := row.Scan(&fleet, &kind, &subject, &until); err != nil {
			return err
		}
		f := fleets[fleet]
		if f == nil {
			f = &Fleet{devices: map[string]int64{}, users: map[string]int64{}}
			fleets[fleet] = f
		}
		f.of(kind)[subject] = until
		return nil
	}, `SELECT fleet, kind, subject, max(until) FROM subject_block WHERE `+inForce+`$1 GROUP BY fleet, kind, subject`,
		s.now().UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("reading who is blocked: %w", err)
	}
	return fleets, nil
}
