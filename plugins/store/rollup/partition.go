package rollup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// partitionWidth returns how many seconds a native partition spans: whole weeks from a Monday
// on; 0 for a table that is not partitioned. The migration uses the same widths.
func partitionWidth(r resolution) int64 {
	switch r {
	case byMinute:
		return 7 * 86400
	case byHour:
		return 91 * 86400
	}
	return 0
}

// partitionLock is the advisory lock for creating a partition.
const partitionLock = 7341129

const firstMonday = 4 * 86400 // in 1970

func partitionStart(r resolution, bucket int64) int64 {
	return bucket - mod(bucket-firstMonday, partitionWidth(r))
}

func partitionName(r resolution, start int64) string {
	return r.table + "_p" + at(start).UTC().Format("20060102")
}

// prepare creates the partitions that rows need, in a transaction of its own.
func (p *postgres) prepare(ctx context.Context, r resolution, rows []*windowRow) error {
	if !p.native || partitionWidth(r) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	last := int64(-1 << 62)
	for _, row := range rows {
		start := partitionStart(r, row.Bucket)
		if start == last {
			continue
		}
		last = start
		name := partitionName(r, start)
		if p.partitions[name] {
			continue
		}
		if err := p.makePartition(ctx, r, name, start); err != nil {
			return fmt.Errorf("making partition %s: %w", name, err)
		}
		p.partitions[name] = true
	}
	return nil
}

// makePartition creates a table and attaches it. Unlike creating a partition in place, this
// takes a lock that lets others read and write, including our own open transaction.
func (p *postgres) makePartition(ctx context.Context, r resolution, name string, start int64) error {
	return p.begin(ctx, pgx.TxOptions{}, func(t pgx.Tx) error {
		if _, err := t.Exec(ctx, `SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))`,
			int32(partitionLock)); err != nil {
			return err
		}
		var attached bool
		if err := t.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass($1) AND inhparent = to_regclass($2))`,
			name, r.table).Scan(&attached); err != nil || attached {
			return err
		}
		_, err := t.Exec(ctx, fmt.Sprintf(`CREATE TABLE %[1]s (LIKE %[2]s INCLUDING DEFAULTS INCLUDING STORAGE) WITH (fillfactor = 50);
			ALTER TABLE %[2]s ATTACH PARTITION %[1]s FOR VALUES FROM ('%[3]s') TO ('%[4]s')`,
			name, r.table, at(start).UTC().Format(time.RFC3339), at(start+partitionWidth(r)).UTC().Format(time.RFC3339)))
		return err
	})
}

// partitionsBefore returns the partitions that end at the cutoff or before.
func (p *postgres) partitionsBefore(ctx context.Context, r resolution, cutoff int64) (names []string, err error) {
	if !p.native || partitionWidth(r) == 0 {
		return nil, nil
	}
	err = p.begin(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(t pgx.Tx) error {
		rows, err := t.Query(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::regclass ORDER BY 1`, r.table)
		if err != nil {
			return err
		}
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	limit := partitionName(r, partitionStart(r, cutoff))
	return slices.DeleteFunc(names, func(n string) bool { return n >= limit }), err // names sort by time
}

// dropPartition drops a partition, unless it has rows of held fleets; then dropped is false. It
// fails after a few seconds rather than make others wait behind a long query; the next pass
// tries again.
func (p *postgres) dropPartition(ctx context.Context, name string, held []string) (n int64, dropped bool, err error) {
	err = p.begin(ctx, pgx.TxOptions{}, func(t pgx.Tx) error {
		if _, err := t.Exec(ctx, `SET LOCAL lock_timeout = '3s'`); err != nil {
			return err
		}
		kept := int64(0)
		if err := t.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE fleet = ANY($1)) FROM `+
			pgx.Identifier{name}.Sanitize(), held).Scan(&n, &kept); err != nil || kept > 0 {
			return err
		}
		dropped = true
		_, err := t.Exec(ctx, `DROP TABLE IF EXISTS `+pgx.Identifier{name}.Sanitize())
		return err
	})
	if err != nil || !dropped {
		return 0, false, err
	}
	p.mu.Lock()
	delete(p.partitions, name)
	p.mu.Unlock()
	return n, true, nil
}

// dropEmpty drops a partition without rows: deleting the rows has not returned the space of its
// indexes. It gives up, without an error, when it would block others for more than a few
// seconds, for example before a vacuum; the next pass tries again.
func (p *postgres) dropEmpty(ctx context.Context, name string) (dropped bool, err error) {
	quoted := pgx.Identifier{name}.Sanitize()
	err = p.begin(ctx, pgx.TxOptions{}, func(t pgx.Tx) error {
		// The parent first, as everybody locks it.
		if _, err := t.Exec(ctx, `SET LOCAL lock_timeout = '3s'; SET LOCAL statement_timeout = '3s'`); err != nil {
			return err
		}
		filled := true
		if err := t.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+quoted+`)`).Scan(&filled); err != nil || filled {
			return err
		}
		if _, err := t.Exec(ctx, `LOCK TABLE ONLY rollup_window_1m IN ACCESS EXCLUSIVE MODE`); err != nil {
			return err
		}
		if err := t.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+quoted+`)`).Scan(&filled); err != nil || filled {
			return err
		}
		dropped = true
		_, err := t.Exec(ctx, `DROP TABLE `+quoted)
		return err
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == pgLocked || pg.Code == pgTooSlow) {
		return false, nil
	}
	if err != nil || !dropped {
		return false, err
	}
	p.mu.Lock()
	delete(p.partitions, name)
	p.mu.Unlock()
	return true, nil
}

func (t *postgresTx) forgetHours(ctx context.Context, cutoff int64) error {
	if _, err := t.Exec(ctx, `DELETE FROM rollup_hour WHERE hour < $1`, at(cutoff)); err != nil {
		return err
	}
	_, err := t.Exec(ctx, `DELETE FROM rollup_mark WHERE hour < $1`, at(cutoff))
	return err
}
