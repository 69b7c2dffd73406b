package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// Nothing can be removed from a sum. So an erasure deletes, with the results of a device, the sums of the hours that
// have such results. These sums are then computed again from the remaining results, some in each transaction. Until
// that is done (due = 1), readers of the hour read its results one by one. The number of remaining results (entries) is
// right at once.

// countSums is the kind under which an erasure counts the hours whose sums it deletes.
const countSums = "rule_funnel_hours"

// eraseResults deletes the results of a device, or of a fleet, and the sums that count them. The caller has locked all
// rows of rule_position, so that nobody writes results until the transaction ends.
func eraseResults(ctx context.Context, tx *sql.Tx, t tombstone.Target) error {
	if t.Device == "" {
		hours, err := countHours(ctx, tx, t.Fleet, "")
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM rule_furthest WHERE fleet = $1`, t.Fleet); err != nil {
			return err
		}
		if err := tombstone.Add(ctx, tx, t.Job, countSums, hours); err != nil {
			return err
		}
		return tombstone.Delete(ctx, tx, t.Job, countResults, `DELETE FROM rule_result`+ofTarget, t.Fleet, t.Device)
	}
	touched := map[furthestKey]int64{} // how many results each hour's sums lose
	n := int64(0)
	if err := sqldb.Each(ctx, tx, func(row sqldb.Row) error {
		key := furthestKey{fleet: t.Fleet}
		var end, summed int64
		err := row.Scan(&key.rule, &end, &summed)
		if n++; summed == 1 {
			key.hour = hourOf(end)
			touched[key]++
		}
		return err
	}, `DELETE FROM rule_result`+ofTarget+` RETURNING rule, window_end, summed`, t.Fleet, t.Device); err != nil {
		return err
	}
	// such sums count results that retention has deleted: the device's may be among them
	if err := sqldb.Each(ctx, tx, func(row sqldb.Row) error {
		key := furthestKey{fleet: t.Fleet}
		err := row.Scan(&key.rule, &key.hour)
		touched[key] += 0
		return err
	}, `SELECT DISTINCT rule, hour FROM rule_furthest WHERE fleet = $1 AND thinned = 1`, t.Fleet); err != nil {
		return err
	}
	hours := int64(0)
	for _, key := range slices.SortedFunc(maps.Keys(touched), furthestKey.compare) {
		had, err := startAnew(ctx, tx, key, touched[key])
		if err != nil {
			return err
		}
		hours += had
	}
	return errors.Join(tombstone.Add(ctx, tx, t.Job, countSums, hours), tombstone.Add(ctx, tx, t.Job, countResults, n))
}

// countHours counts the hours whose sums an erasure of a device, or of a fleet if device is "", would delete.
func countHours(ctx context.Context, q querier, fleet, device string) (n int64, err error) {
	query, args := `SELECT count(*) FROM (SELECT DISTINCT rule, hour FROM rule_furthest WHERE fleet = $1) h`, []any{fleet}
	if device != "" {
		query = `SELECT count(*) FROM (SELECT DISTINCT rule, hour FROM rule_furthest WHERE fleet = $1 AND (thinned = 1 OR (rule, hour)
			IN (SELECT rule, window_end - window_end % 3600000000 FROM rule_result WHERE fleet = $1 AND device_id = $2 AND summed = 1))) h`
		args = append(args, device)
	}
	err = q.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// startAnew deletes the sums of an hour of which gone results were erased, and leaves a row that is due to be computed
// again, unless no results remain. had is 1, or 0 if the hour had no sums.
func startAnew(ctx context.Context, tx *sql.Tx, key furthestKey, gone int64) (had int64, err error) {
	left, err := takeSums(ctx, tx, key, false)
	if err != nil || left == nil {
		return 0, err
	}
	if left.Entries = max(left.Entries-gone, 0); left.Entries == 0 {
		return 1, nil
	}
	left.due = 1
	return 1, left.put(ctx, tx, key)
}

// ofSeveral is the sum of an hour over several partitions, and the other columns of its row.
type ofSeveral struct {
	Furthest
	topic         string
	part          int32
	since, toldAt int64
	thinned, due  int64
}

// takeSums deletes the sums of an hour, and returns their total, or nil if there are none. It reads the steps only if
// steps is true.
func takeSums(ctx context.Context, tx *sql.Tx, key furthestKey, steps bool) (*ofSeveral, error) {
	column := `''`
	if steps {
		column = `steps`
	}
	var rows []*ofSeveral
	take := func(row sqldb.Row) (*ofSeveral, error) {
		s := &ofSeveral{}
		var entries int64
		var raw []byte
		err := row.Scan(&s.topic, &s.part, &entries, &s.since, &s.toldAt, &s.thinned, &s.due, &raw)
		if err == nil && steps {
			var sum *Furthest
			if sum, err = decodeFurthest(raw); err == nil {
				s.Furthest = *sum
			}
		}
		s.Entries = entries
		return s, err
	}
	for range 2 { // if the first waits for a transaction that gathers the rows, only the second sees the new row
		more, err := sqldb.All(ctx, tx, take, `DELETE FROM rule_furthest WHERE fleet = $1 AND rule = $2 AND hour = $3
			RETURNING topic, part, entries, since, told_at, thinned, due, `+column, key.fleet, key.rule, key.hour)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	slices.SortFunc(rows, func(a, b *ofSeveral) int {
		return place{a.topic, a.part}.compare(place{b.topic, b.part})
	})
	all := rows[0]
	for _, s := range rows[1:] {
		all.merge(&s.Furthest)
		all.since, all.toldAt = min(all.since, s.since), max(all.toldAt, s.toldAt)
		all.thinned, all.due = max(all.thinned, s.thinned), max(all.due, s.due)
	}
	return all, nil
}

// put writes the sum as one row without a topic.
func (s *ofSeveral) put(ctx context.Context, tx *sql.Tx, key furthestKey) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO rule_furthest (fleet, rule, hour, topic, part, entries, since, told_at, thinned, due,
		at_end, steps) VALUES ($1, $2, $3, '', -1, $4, $5, $6, $7, $8, $3, $9)`, key.fleet, key.rule, key.hour, s.Entries,
		s.since, s.toldAt, s.thinned, s.due, s.append(nil))
	return err
}

// remakeMost bounds the results that one transaction reads, because in SQLite other writers wait for it.
const remakeMost = 5000

// remakeSums computes all sums of a fleet that are due again, the newest hours first. After a crash the next call goes
// on after the last committed transaction.
func remakeSums(ctx context.Context, db *sqldb.DB, fleet string) error {
	for more := true; more; {
		if err := tombstone.Update(ctx, db, func(tx *sql.Tx) (err error) {
			more, err = remakeSome(ctx, tx, db.ForUpdate(), fleet, remakeMost)
			return err
		}); err != nil {
			return fmt.Errorf("computing the sums of funnels again: %w", err)
		}
	}
	return nil
}

// remakeSome goes on with the newest hour that is due, by at most so many results; more is false if no hour is due.
// Results that are written meanwhile are in the sums of their partitions already. Reading them here as well is
// harmless: adding a device to a set again changes nothing.
func remakeSome(ctx context.Context, tx *sql.Tx, lock, fleet string, most int) (more bool, err error) {
	key := furthestKey{fleet: fleet}
	var end int64
	var id string
	var steps []byte
	err = tx.QueryRowContext(ctx, `SELECT rule, hour, at_end, at_id, steps FROM rule_furthest WHERE fleet = $1 AND due = 1
		ORDER BY hour DESC, rule LIMIT 1`+lock, fleet).Scan(&key.rule, &key.hour, &end, &id, &steps)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sum, err := decodeFurthest(steps)
	if err != nil {
		return false, err
	}
	n := 0
	if err := sqldb.Each(ctx, tx, func(row sqldb.Row) error {
		var device string
		var raw sql.RawBytes
		if err := row.Scan(&id, &device, &end, &raw); err != nil {
			return err
		}
		n++
		return sum.addResult(device, raw)
	}, fmt.Sprintf(`SELECT id, device_id, window_end, result FROM rule_result WHERE fleet = $1 AND rule = $2 AND window_end >= $3
		AND window_end < $4 AND (window_end > $3 OR id > $5) AND summed = 1 ORDER BY window_end, id LIMIT %d`, most),
		key.fleet, key.rule, end, key.hour+hourLong, id); err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE rule_furthest SET at_end = $4, at_id = $5, steps = $6, due = $7 WHERE fleet = $1 AND rule = $2
		AND hour = $3 AND due = 1`, key.fleet, key.rule, key.hour, end, id, sum.append(nil), bit(n == most))
	return true, err
}

// thinSums marks the sums that count results older than a time, before these are deleted, and merges the partitions'
// sums of hours that are over.
func thinSums(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) error {
	if p.DryRun {
		return nil
	}
	if _, err := db.ExecContext(ctx, `UPDATE rule_furthest SET thinned = 1 WHERE since < $1 AND thinned = 0`,
		before.UnixMicro()); err != nil {
		return fmt.Errorf("noting which sums of funnels lose results: %w", err)
	}
	if err := gatherSums(ctx, db, p.Now.Add(-gatherAfter)); err != nil {
		return fmt.Errorf("adding up the sums of funnels: %w", err)
	}
	return nil
}

// gatherAfter is how old an hour is when its sums are merged: few results come for it later.
const gatherAfter = 3 * time.Hour

// gatherMost bounds the hours that one pass merges.
const gatherMost = 10_000

// gatherSums merges the rows of each hour before a time into one, in a transaction for each hour.
func gatherSums(ctx context.Context, db *sqldb.DB, before time.Time) error {
	keys, err := sqldb.All(ctx, db, func(row sqldb.Row) (k furthestKey, err error) {
		return k, row.Scan(&k.fleet, &k.rule, &k.hour)
	}, fmt.Sprintf(`SELECT fleet, rule, hour FROM rule_furthest WHERE hour < $1 GROUP BY fleet, rule, hour
		HAVING count(*) > 1 AND max(due) = 0 LIMIT %d`, gatherMost), hourOf(before.UnixMicro()))
	if err != nil {
		return err
	}
	for _, key := range keys {
		err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
			all, err := takeSums(ctx, tx, key, true)
			switch {
			case err != nil || all == nil:
				return err
			case all.due == 1:
				return errDue
			}
			return all.put(ctx, tx, key)
		})
		if err != nil && !errors.Is(err, errDue) {
			return err
		}
	}
	return nil
}

// errDue says that an erasure has made the sums of the hour due in the meantime, so they are not merged.
var errDue = errors.New("the sums are being computed again")
