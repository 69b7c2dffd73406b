package etl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// mysqlSnapshot are the rows of a table as of a position of the log.
type mysqlSnapshot struct {
	*mysqlReading
	meta changeFacts
	at   string
	n    int64
}

// snapshot takes a snapshot. MariaDB tells the position of one; otherwise it is taken while the
// table is locked against writes.
func (s *mysqlStream) snapshot(ctx context.Context) (snapshotReading, marks, error) {
	conn, err := s.connect(ctx, false)
	if err != nil {
		return nil, marks{}, err
	}
	r := s.reading(conn)
	at, err := s.beginSnapshot(ctx, r)
	if err == nil && !slices.Equal(r.cols, s.at.cols) {
		err = fmt.Errorf("taking a snapshot of table %s: its columns were changed meanwhile", s.table)
	}
	if err == nil {
		err = r.from(ctx, "")
	}
	if err != nil {
		r.close()
		return nil, marks{}, err
	}
	return &mysqlSnapshot{r, s.meta, placed(at), 0}, s.mark(at), nil
}

func (s *mysqlStream) beginSnapshot(ctx context.Context, r *mysqlReading) (int64, error) {
	if s.maria {
		if err := r.begin(ctx); err != nil {
			return 0, err
		}
		at, err := toldPlace(ctx, r)
		if err != nil || at.name != "" {
			return s.placeOf(at, err)
		}
	}
	return s.lockedSnapshot(ctx, r)
}

// toldPlace returns the position of the snapshot that was just begun. Its name is "" if the server
// does not tell it.
func toldPlace(ctx context.Context, r *mysqlReading) (at mysqlPlace, err error) {
	rows, err := r.conn.QueryContext(ctx, "SHOW STATUS LIKE 'binlog_snapshot_%'")
	if err != nil {
		return at, r.refused("asking", err)
	}
	for rows.Next() && err == nil {
		var name, value string
		if err = rows.Scan(&name, &value); err != nil {
			break
		}
		switch name {
		case "Binlog_snapshot_file":
			at.name = value
		case "Binlog_snapshot_position":
			_, err = fmt.Sscan(value, &at.pos)
		}
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return at, r.refused("asking", err)
	}
	return at, nil
}

// lockedSnapshot begins a snapshot while the table is locked against writes: the snapshot has
// exactly what was committed to the table before the position. The lock is released when it
// returns.
func (s *mysqlStream) lockedSnapshot(ctx context.Context, r *mysqlReading) (int64, error) {
	lock, err := s.connect(ctx, false)
	if err != nil {
		return 0, err
	}
	defer lock.end()
	for _, sql := range []string{fmt.Sprintf("SET SESSION lock_wait_timeout = %d", int(mysqlTimeout/time.Second)),
		"LOCK TABLES " + backtickedTable(s.at.schema+"."+s.at.name) + " READ"} {
		if _, err := lock.ExecContext(ctx, sql); err != nil {
			err = s.refused("locking a table of", err)
			if Final(err) {
				err = dataError{fmt.Errorf("%w; for a snapshot the user needs GRANT LOCK TABLES ON %s.* TO …", err,
					backticked(s.at.schema))}
			}
			return 0, err
		}
	}
	if err := r.restart(ctx); err != nil {
		return 0, err
	}
	return s.placeOf(s.logEnds(ctx, s.reading(lock), s.at.schema))
}

// restart begins the snapshot, again if it was begun before.
func (r *mysqlReading) restart(ctx context.Context) error {
	r.cols, r.has = nil, nil
	return r.begin(ctx) // this ends an open transaction
}

func (s *mysqlStream) placeOf(at mysqlPlace, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	_, number, err := numberOfFile(at.name)
	return logged(number, at.pos), err
}

func (r *mysqlSnapshot) next() (row, string, error) {
	out, _, err := r.mysqlReading.next()
	if err != nil {
		return nil, "", err
	}
	r.n++
	return r.meta.of(out, operationSnapshot, r.at, r.n, time.Time{}), "", nil
}
