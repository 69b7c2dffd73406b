package quality

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"weir/internal/lifecycle"
	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/jobs"
	"weir/internal/platform/sqldb"
)

// migrations: an hour of a source, fleet and schema is one row; that of the schema ”
// has what was refused, which no schema took. quality_mark says what was stored of an
// hour when it was computed, quality_work has the lease of who computes a source. All of
// it can be computed again.
func migrations() []sqldb.Migration {
	first := `CREATE TABLE quality_hour (
		fleet TEXT NOT NULL, schema_name TEXT NOT NULL, hour BIGINT NOT NULL, profile TEXT NOT NULL, refused BIGINT NOT NULL,
		computed_at BIGINT NOT NULL, PRIMARY KEY (fleet, schema_name, hour));
		CREATE INDEX quality_hour_by_hour ON quality_hour (hour);
		CREATE TABLE quality_work (id TEXT PRIMARY KEY, owner TEXT NOT NULL, lease_until BIGINT NOT NULL, seen BIGINT NOT NULL);
		INSERT INTO quality_work (id, owner, lease_until, seen) VALUES ('hours', '', 0, 0);`
	second := `DROP TABLE quality_hour; DROP TABLE quality_work;
		CREATE TABLE quality_hour (source TEXT NOT NULL, fleet TEXT NOT NULL, schema_name TEXT NOT NULL, hour BIGINT NOT NULL,
		profile TEXT NOT NULL, refused BIGINT NOT NULL, repeats BIGINT NOT NULL, computed_at BIGINT NOT NULL,
		PRIMARY KEY (source, fleet, schema_name, hour));
		CREATE INDEX quality_hour_by_hour ON quality_hour (hour);
		CREATE TABLE quality_mark (source TEXT NOT NULL, hour BIGINT NOT NULL, names TEXT NOT NULL, stored TEXT NOT NULL,
		repeats TEXT NOT NULL, final INTEGER NOT NULL, PRIMARY KEY (source, hour));
		CREATE TABLE quality_work (id TEXT PRIMARY KEY, owner TEXT NOT NULL, lease_until BIGINT NOT NULL);`
	return []sqldb.Migration{{SQLite: first, Postgres: first}, {SQLite: second, Postgres: second}}
}

// Store keeps hours in SQL.
type Store struct{ db *sqldb.DB }

// Open prepares the tables.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := db.Migrate(ctx, "quality", migrations()); err != nil {
		return nil, fmt.Errorf("opening the store of data quality: %w", err)
	}
	return &Store{db}, nil
}

// lease bounds how long a process that crashed keeps others from computing.
const lease = 5 * time.Minute

func (s *Store) work(source string) jobs.Table {
	return jobs.Table{DB: s.db, Name: "quality_work", Key: "id", Until: "lease_until", Owner: "owner", Lease: lease,
		Work: "id = $2", Order: "id", Args: []any{source}}
}

// take gives the work on a source to owner, unless another has it.
func (s *Store) take(ctx context.Context, source, owner string, now time.Time) (bool, error) {
	if _, err := s.db.ExecContext(ctx, `INSERT INTO quality_work (id, owner, lease_until) VALUES ($1, '', 0)
		ON CONFLICT DO NOTHING`, source); err != nil {
		return false, fmt.Errorf("beginning with the data quality of %s: %w", source, err)
	}
	id, err := s.work(source).Take(ctx, owner, "", now)
	return id != "", err
}

func (s *Store) renew(ctx context.Context, source, owner string, now time.Time) error {
	return s.work(source).Renew(ctx, owner, source, now, "")
}

func (s *Store) release(ctx context.Context, source, owner string) error {
	return s.work(source).Release(ctx, owner, source, "")
}

// marks returns what the hours of a source were computed of.
func (s *Store) marks(ctx context.Context, source string) (map[time.Time]mark, error) {
	found := map[time.Time]mark{}
	err := sqldb.Each(ctx, s.db, func(row sqldb.Row) error {
		var m mark
		var at, final int64
		err := row.Scan(&at, &m.Names, &m.Stored, &m.Repeats, &final)
		m.Final = final != 0
		found[time.UnixMicro(at).UTC()] = m
		return err
	}, `SELECT hour, names, stored, repeats, final FROM quality_mark WHERE source = $1`, source)
	if err != nil {
		return nil, fmt.Errorf("reading what data quality was computed of: %w", err)
	}
	return found, nil
}

// Key is whose an hour is.
type Key struct{ Fleet, Schema string }

// Hour is what an hour of a fleet and schema came to.
type Hour struct {
	Key
	Hour    time.Time
	Profile *Profile
	Refused int64 // of the schema "" alone
	Repeats int64 // records that repeat its events; notKnown where there are too many
}

// note says that an hour is what it was computed of, under other names. It is of the
// process that has the lease.
func (s *Store) note(ctx context.Context, source, owner string, hour time.Time, m mark, now time.Time) error {
	return s.change(ctx, source, owner, hour, m, now, func(*sql.Tx) error { return nil })
}

// replace puts what an hour came to in the place of all that was known of it, with what
// it was computed of: in one transaction, of the process that has the lease. Repeats that
// were known before are not forgotten: objects that are merged may lie elsewhere.
func (s *Store) replace(ctx context.Context, source, owner string, hour time.Time, found []Hour, m mark,
	now time.Time) error {
	return s.change(ctx, source, owner, hour, m, now, func(tx *sql.Tx) error {
		for i, h := range found {
			before := h.Repeats
			err := tx.QueryRowContext(ctx, `SELECT repeats FROM quality_hour WHERE source = $1 AND fleet = $2
				AND schema_name = $3 AND hour = $4`, source, h.Fleet, h.Schema, hour.UnixMicro()).Scan(&before)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			found[i].Repeats = max(h.Repeats, before)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM quality_hour WHERE source = $1 AND hour = $2`, source,
			hour.UnixMicro()); err != nil {
			return err
		}
		for _, h := range found {
			raw, err := json.Marshal(h.Profile)
			if err == nil {
				_, err = tx.ExecContext(ctx, `INSERT INTO quality_hour (source, fleet, schema_name, hour, profile, refused,
					repeats, computed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, source, h.Fleet, h.Schema, hour.UnixMicro(),
					string(raw), h.Refused, h.Repeats, now.UnixMicro())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) change(ctx context.Context, source, owner string, hour time.Time, m mark, now time.Time,
	do func(*sql.Tx) error) error {
	if err := s.renew(ctx, source, owner, now); err != nil {
		return err
	}
	err := tombstone.Update(ctx, s.db, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE quality_work SET owner = owner WHERE id = $1 AND owner = $2`, source, owner)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, jobs.ErrLost)
		}
		final := 0
		if m.Final {
			final = 1
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO quality_mark (source, hour, names, stored, repeats, final)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (source, hour) DO UPDATE SET names = excluded.names,
			stored = excluded.stored, repeats = excluded.repeats, final = excluded.final`, source, hour.UnixMicro(), m.Names,
			m.Stored, m.Repeats, final); err != nil {
			return err
		}
		return do(tx)
	})
	if err != nil {
		return fmt.Errorf("keeping the data quality of %s: %w", hour.Format(time.RFC3339), err)
	}
	return nil
}

// Hours calls each with the hours of a source and fleet in [from, to), "" for all.
func (s *Store) Hours(ctx context.Context, source, fleet string, from, to time.Time, each func(Hour) error) error {
	err := sqldb.Each(ctx, s.db, func(row sqldb.Row) error {
		h := Hour{Profile: newProfile()}
		var at int64
		var raw string
		if err := row.Scan(&h.Fleet, &h.Schema, &at, &raw, &h.Refused, &h.Repeats); err != nil {
			return err
		}
		h.Hour = time.UnixMicro(at).UTC()
		if err := json.Unmarshal([]byte(raw), h.Profile); err != nil {
			return err
		}
		return each(h)
	}, `SELECT fleet, schema_name, hour, profile, refused, repeats FROM quality_hour WHERE ($1 = '' OR source = $1)
		AND ($2 = '' OR fleet = $2) AND hour >= $3 AND hour < $4 ORDER BY hour, source, fleet, schema_name`, source, fleet,
		from.UnixMicro(), to.UnixMicro())
	if err != nil {
		return fmt.Errorf("reading data quality: %w", err)
	}
	return nil
}

// Lifecycle is the store of data quality. It names no device and keeps no text of
// events; an erasure of a device rewrites raw objects, whose hours are then computed
// again. One of a fleet deletes its hours.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "quality", Tables: []string{"quality_hour", "quality_mark"},
		Keep: lifecycle.Keep{Place: lifecycle.Control, Field: "keep_quality", Default: "2160h",
			Description: "How long it is kept how good the events of an hour were."},
		Prepare: func(ctx context.Context, db *sqldb.DB) error {
			_, err := Open(ctx, db)
			return err
		},
		Expire: expireHours, Count: countHours, Erase: eraseHours,
	}.Kind()
}

func expireHours(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error) {
	if _, err := Open(ctx, db); err != nil {
		return expire.Removed{}, err
	}
	removed, err := expire.Rows{Table: "quality_hour", Key: "source, fleet, schema_name, hour", Old: "hour < $1",
		Fleet: "fleet"}.Expire(ctx, db, p, before)
	if err != nil {
		return removed, err
	}
	_, err = expire.Rows{Table: "quality_mark", Key: "source, hour", Old: "hour < $1"}.Expire(ctx, db, p, before)
	return removed, err
}

// counted is what erased hours are counted as.
const counted = "quality_hours"

func countHours(ctx context.Context, db *sqldb.DB, fleet, device string) (map[string]int64, error) {
	if _, err := Open(ctx, db); err != nil || device != "" {
		return nil, err
	}
	var n int64
	err := db.QueryRowContext(ctx, `SELECT count(*) FROM quality_hour WHERE fleet = $1`, fleet).Scan(&n)
	if err != nil {
		return nil, fmt.Errorf("counting data quality: %w", err)
	}
	return map[string]int64{counted: n}, nil
}

func eraseHours(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	if _, err := Open(ctx, db); err != nil || t.Device != "" {
		return err
	}
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM quality_hour WHERE fleet = $1`, t.Fleet)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		return errors.Join(err, tombstone.Add(ctx, tx, t.Job, counted, n))
	})
	if err != nil {
		return fmt.Errorf("erasing data quality: %w", err)
	}
	return nil
}
