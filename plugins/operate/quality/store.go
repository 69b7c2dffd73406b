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

// migrations: an hour of a fleet and schema is one row; that of the schema ” has
// what was refused, which no schema took. quality_work has one row, the lease of who
// computes, and up to when written objects are accounted for.
func migrations() []sqldb.Migration {
	tables := `CREATE TABLE quality_hour (
		fleet TEXT NOT NULL, schema_name TEXT NOT NULL, hour BIGINT NOT NULL, profile TEXT NOT NULL, refused BIGINT NOT NULL,
		computed_at BIGINT NOT NULL, PRIMARY KEY (fleet, schema_name, hour));
		CREATE INDEX quality_hour_by_hour ON quality_hour (hour);
		CREATE TABLE quality_work (id TEXT PRIMARY KEY, owner TEXT NOT NULL, lease_until BIGINT NOT NULL, seen BIGINT NOT NULL);
		INSERT INTO quality_work (id, owner, lease_until, seen) VALUES ('hours', '', 0, 0);`
	return []sqldb.Migration{{SQLite: tables, Postgres: tables}}
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

func (s *Store) work() jobs.Table {
	return jobs.Table{DB: s.db, Name: "quality_work", Key: "id", Until: "lease_until", Owner: "owner", Lease: lease,
		Work: "id = 'hours'", Order: "id"}
}

// seen returns up to when written objects are accounted for.
func (s *Store) seen(ctx context.Context) (time.Time, error) {
	var at int64
	if err := s.db.QueryRowContext(ctx, `SELECT seen FROM quality_work WHERE id = 'hours'`).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("reading how far data quality is computed: %w", err)
	}
	if at == 0 {
		return time.Time{}, nil
	}
	return time.UnixMicro(at).UTC(), nil
}

// Key is whose an hour is.
type Key struct{ Fleet, Schema string }

// Hour is what an hour of a fleet and schema came to.
type Hour struct {
	Key
	Hour    time.Time
	Profile *Profile
	Refused int64 // of the schema "" alone
}

// replace puts what an hour came to in the place of all that was known of it, and
// accounts for objects up to a time, if that is not zero: in one transaction, of the
// process that has the lease.
func (s *Store) replace(ctx context.Context, owner string, hour time.Time, found []Hour, seen time.Time,
	now time.Time) error {
	if err := s.work().Renew(ctx, owner, "hours", now, ""); err != nil {
		return err
	}
	err := tombstone.Update(ctx, s.db, func(tx *sql.Tx) error {
		micros := int64(0)
		if !seen.IsZero() {
			micros = seen.UnixMicro()
		}
		res, err := tx.ExecContext(ctx, `UPDATE quality_work SET seen = CASE WHEN $1 > seen THEN $1 ELSE seen END
			WHERE id = 'hours' AND owner = $2`, micros, owner)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, jobs.ErrLost)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM quality_hour WHERE hour = $1`, hour.UnixMicro()); err != nil {
			return err
		}
		for _, h := range found {
			raw, err := json.Marshal(h.Profile)
			if err == nil {
				_, err = tx.ExecContext(ctx, `INSERT INTO quality_hour (fleet, schema_name, hour, profile, refused, computed_at)
					VALUES ($1, $2, $3, $4, $5, $6)`, h.Fleet, h.Schema, hour.UnixMicro(), string(raw), h.Refused, now.UnixMicro())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keeping the data quality of %s: %w", hour.Format(time.RFC3339), err)
	}
	return nil
}

// Hours calls each with the hours of a fleet in [from, to), "" for all fleets.
func (s *Store) Hours(ctx context.Context, fleet string, from, to time.Time, each func(Hour) error) error {
	err := sqldb.Each(ctx, s.db, func(row sqldb.Row) error {
		h := Hour{Profile: newProfile()}
		var at int64
		var raw string
		if err := row.Scan(&h.Fleet, &h.Schema, &at, &raw, &h.Refused); err != nil {
			return err
		}
		h.Hour = time.UnixMicro(at).UTC()
		if err := json.Unmarshal([]byte(raw), h.Profile); err != nil {
			return err
		}
		return each(h)
	}, `SELECT fleet, schema_name, hour, profile, refused FROM quality_hour WHERE ($1 = '' OR fleet = $1) AND hour >= $2
		AND hour < $3 ORDER BY hour, fleet, schema_name`, fleet, from.UnixMicro(), to.UnixMicro())
	if err != nil {
		return fmt.Errorf("reading data quality: %w", err)
	}
	return nil
}

// Lifecycle is the store of data quality. It names no device and keeps no text of
// events; an erasure of a device rewrites raw objects, whose hours are then computed
// again. One of a fleet deletes its hours.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "quality", Tables: []string{"quality_hour"},
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
	return expire.Rows{Table: "quality_hour", Key: "fleet, schema_name, hour", Old: "hour < $1", Fleet: "fleet"}.
		Expire(ctx, db, p, before)
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
