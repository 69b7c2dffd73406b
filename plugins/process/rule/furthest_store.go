package rule

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The table rule_furthest has the sums of funnels' results by hour and partition. A row is written in the transaction
// that writes the results which it counts, and these are marked as summed. Results that are not summed are found by an
// index, and counted one by one: those of an earlier version of weir, and those of a rule with a window, which may be
// revised. Results of patterns are neither revised nor retracted.
//
// A row without a topic has the sums of several partitions, of an hour that is over or of which results were erased.

// hourLong is an hour, in microseconds.
const hourLong = int64(time.Hour / time.Microsecond)

// hourOf returns the beginning of the hour of a time.
func hourOf(t int64) int64 { return t - (t%hourLong+hourLong)%hourLong }

// furthestKey names the funnel and the hour of a row.
type furthestKey struct {
	fleet, rule string
	hour        int64
}

func (k furthestKey) compare(o furthestKey) int {
	return cmp.Or(cmp.Compare(k.fleet, o.fleet), cmp.Compare(k.rule, o.rule), cmp.Compare(k.hour, o.hour))
}

// sumsMost bounds the rows of one statement: a row may have 4 KiB for each step of its funnel.
const sumsMost = 50

// saveFurthest adds results to the sums of their hours. They must be new in rule_result.
func (t teller) saveFurthest(ctx context.Context, tx *sql.Tx, most int, results []*Result) error {
	more := map[furthestKey]*Furthest{}
	for _, r := range results {
		key := furthestKey{r.Fleet, r.Rule, hourOf(r.End)}
		if more[key] == nil {
			more[key] = &Furthest{}
		}
		if err := more[key].add(r.Device, r.steps); err != nil {
			return err
		}
	}
	most = min(most, sumsMost)
	for keys := range slices.Chunk(slices.SortedFunc(maps.Keys(more), furthestKey.compare), most) {
		sums, err := t.readFurthest(ctx, tx, most, keys)
		if err != nil {
			return fmt.Errorf("reading the sums of funnels: %w", err)
		}
		var rows [][]any
		for _, key := range keys {
			sum := sums[key]
			if sum == nil {
				sum = &Furthest{}
			}
			sum.merge(more[key])
			rows = append(rows, []any{key.fleet, key.rule, key.hour, t.topic, t.number, sum.Entries, t.at, t.at,
				sum.append(nil)})
		}
		if err := insert(ctx, tx, most, `rule_furthest (fleet, rule, hour, topic, part, entries, since, told_at, steps)`,
			`ON CONFLICT (fleet, rule, hour, topic, part) DO UPDATE SET entries = excluded.entries, told_at = excluded.told_at,
			steps = excluded.steps`, rows); err != nil {
			return fmt.Errorf("writing the sums of funnels: %w", err)
		}
	}
	return nil
}

// readFurthest reads the partition's sums of some hours. It locks the rows, in the order of their keys, until the
// transaction ends.
func (t teller) readFurthest(ctx context.Context, tx *sql.Tx, most int,
	keys []furthestKey) (map[furthestKey]*Furthest, error) {
	args := []any{t.topic, t.number}
	which := make([]string, len(keys))
	for i, key := range keys {
		n := len(args)
		which[i] = fmt.Sprintf(`fleet = $%d AND rule = $%d AND hour = $%d`, n+1, n+2, n+3)
		args = append(args, key.fleet, key.rule, key.hour)
	}
	lock := ""
	if most > 1 { // PostgreSQL: SQLite has one writer at a time
		lock = ` FOR UPDATE`
	}
	rows, err := tx.QueryContext(ctx, `SELECT fleet, rule, hour, entries, steps FROM rule_furthest WHERE topic = $1 AND part = $2
		AND (`+strings.Join(which, ` OR `)+`) ORDER BY fleet, rule, hour`+lock, args...)
	if err != nil {
		return nil, err
	}
	sums := map[furthestKey]*Furthest{}
	for err == nil && rows.Next() {
		var key furthestKey
		var entries int64
		var steps []byte
		if err = rows.Scan(&key.fleet, &key.rule, &key.hour, &entries, &steps); err != nil {
			break
		}
		if sums[key], err = decodeFurthest(steps); err == nil {
			sums[key].Entries = entries
		}
	}
	return sums, errors.Join(err, rows.Err(), rows.Close())
}

// saveSummed writes results of funnels that are never revised, and adds those that were not there before to the sums.
func (t teller) saveSummed(ctx context.Context, tx *sql.Tx, most int, results []*Result) error {
	rows, byID := make([][]any, len(results)), make(map[string]*Result, len(results))
	for i, r := range results {
		rows[i] = append(t.rowOf(r), 1)
		byID[r.ID] = r
	}
	fresh := make([]*Result, 0, len(results))
	conflict := `ON CONFLICT (id, revision) DO NOTHING`
	do := func(ctx context.Context, stmt *sql.Stmt, args []any) error { // one row: cheaper in SQLite than RETURNING
		n, err := deleted(stmt.ExecContext(ctx, args...))
		if n == 1 {
			fresh = append(fresh, byID[args[0].(string)])
		}
		return err
	}
	if most > 1 {
		conflict += ` RETURNING id`
		do = func(ctx context.Context, stmt *sql.Stmt, args []any) error {
			rows, err := stmt.QueryContext(ctx, args...)
			if err != nil {
				return err
			}
			for err == nil && rows.Next() {
				var id string
				if err = rows.Scan(&id); err == nil {
					fresh = append(fresh, byID[id])
				}
			}
			return errors.Join(err, rows.Err(), rows.Close())
		}
	}
	if err := inserting(ctx, tx, most, resultColumns(`, summed`), conflict, rows, do); err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	return t.saveFurthest(ctx, tx, most, fresh)
}
