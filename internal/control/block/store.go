package block

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// Store keeps blocks in the control store. A block that was lifted or ended stays as history until retention deletes
// it.
type Store struct {
	db  *sqldb.DB
	now func() time.Time
}

// migrations returns the tables. subject_block_change has one row that every change increments first: readers poll
// it, and writers serialize on its lock.
func migrations() []sqldb.Migration {
	tables := `CREATE TABLE subject_block (
		fleet TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, until BIGINT NOT NULL,
		reason TEXT NOT NULL, rule TEXT NOT NULL, revision BIGINT NOT NULL, placed_by TEXT NOT NULL,
		placed_at BIGINT NOT NULL, lifted_by TEXT NOT NULL, lifted_at BIGINT NOT NULL, PRIMARY KEY (fleet, id));
		CREATE INDEX subject_block_subject ON subject_block (fleet, subject);
		CREATE INDEX subject_block_until ON subject_block (fleet, until);
		CREATE TABLE subject_block_change (n BIGINT NOT NULL);
		INSERT INTO subject_block_change (n) VALUES (0)`
	return []sqldb.Migration{{SQLite: tables, Postgres: tables}}
}

// Open creates or migrates the tables of blocks.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := errors.Join(db.Migrate(ctx, "block", migrations()), tombstone.Migrate(ctx, db)); err != nil {
		return nil, fmt.Errorf("opening the store of blocks: %w", err)
	}
	return &Store{db: db, now: time.Now}, nil
}

// change runs do in a transaction, serialized with all other changes of blocks.
func change(ctx context.Context, db *sqldb.DB, do func(*sql.Tx) error) error {
	return tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE subject_block_change SET n = n + 1`); err != nil {
			return err
		}
		return do(tx)
	})
}

func (s *Store) moment() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

const (
	columns = `id, kind, subject, until, reason, rule, placed_by, placed_at, lifted_by, lifted_at`
	insert  = `INSERT INTO subject_block (fleet, id, kind, subject, until, reason, rule, revision, placed_by, placed_at,
		lifted_by, lifted_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', 0) ON CONFLICT (fleet, id) DO UPDATE
		SET until = excluded.until, reason = excluded.reason, revision = excluded.revision, placed_by = excluded.placed_by,
		placed_at = excluded.placed_at, lifted_by = '', lifted_at = 0`
	inForce = `lifted_at = 0 AND until > `
)

// Put blocks a subject. When it returns nil the block is committed, and every gate refuses the subject's events after
// its next refresh. It replaces an earlier block that a person set; blocks of rules stay beside it.
func (s *Store) Put(ctx context.Context, fleet string, b Block) (Block, error) {
	b.At, b.Until = s.moment(), b.Until.UTC().Truncate(time.Microsecond)
	if err := b.valid(fleet, b.At); err != nil {
		return b, err
	}
	b.ID, b.Rule, b.LiftedBy, b.LiftedAt = uuid.NewString(), "", "", nil
	err := change(ctx, s.db, func(tx *sql.Tx) error {
		if room, err := s.room(ctx, tx, fleet, b.At); err != nil {
			return err
		} else if room < 1 {
			return fmt.Errorf("%w: the fleet has %d in force, as many as are kept", errInvalid, maxInForce)
		}
		var said string
		if err := tx.QueryRowContext(ctx, `SELECT id FROM subject_block WHERE fleet = $1 AND kind = $2 AND subject = $3
			AND rule = ''`, fleet, b.Kind, b.Subject).Scan(&said); err == nil {
			b.ID = said
		} else if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		_, err := tx.ExecContext(ctx, insert, fleet, b.ID, b.Kind, b.Subject, b.Until.UnixMicro(), b.Reason, "", 0, b.By,
			b.At.UnixMicro())
		return err
	})
	if err != nil {
		return b, fmt.Errorf("blocking a subject: %w", err)
	}
	return b, nil
}

// room returns how many more blocks the fleet may have in force.
func (s *Store) room(ctx context.Context, tx *sql.Tx, fleet string, now time.Time) (int, error) {
	n := 0
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM subject_block WHERE fleet = $1 AND `+inForce+`$2`, fleet,
		now.UnixMicro()).Scan(&n)
	return maxInForce - n, err
}

// Lift ends all blocks of a subject and returns how many there were; errNotFound if none. Later rule results can
// block it again.
func (s *Store) Lift(ctx context.Context, fleet string, kind Kind, subject, by string) (int64, error) {
	if err := kind.valid(subject); err != nil {
		return 0, err
	}
	now, lifted := s.moment().UnixMicro(), int64(0)
	err := change(ctx, s.db, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE subject_block SET lifted_by = $1, lifted_at = $2 WHERE fleet = $3
			AND kind = $4 AND subject = $5 AND `+inForce+`$2`, by, now, fleet, kind, subject)
		if err != nil {
			return err
		}
		lifted, err = res.RowsAffected()
		return err
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("lifting blocks: %w", err)
	case lifted == 0:
		return 0, errNotFound
	}
	return lifted, nil
}

// Tell applies rule results in one transaction. It is idempotent: a result told again changes nothing. A result whose
// device or user was erased since blocks nobody.
func (s *Store) Tell(ctx context.Context, told []Told) (noted Noted, err error) {
	err = change(ctx, s.db, func(tx *sql.Tx) error {
		noted = Noted{}
		gone, err := tombstone.Begin(ctx, tx, s.db.Dialect)
		if err != nil {
			return err
		}
		now, room := s.moment(), map[string]int{}
		for i := range told {
			t := &told[i]
			if gone.Holds(t.Fleet, t.Device, t.At.UnixMicro()) || t.User != "" && gone.HoldsName(t.Fleet, t.User,
				t.At.UnixMicro()) {
				continue
			}
			if _, known := room[t.Fleet]; !known {
				if room[t.Fleet], err = s.room(ctx, tx, t.Fleet, now); err != nil {
					return err
				}
			}
			kept, full, err := tell(ctx, tx, t, now, room[t.Fleet])
			switch {
			case err != nil:
				return err
			case full:
				noted.Full++
			case kept:
				noted.Acts = append(noted.Acts, i)
				room[t.Fleet]--
			}
		}
		return nil
	})
	if err != nil {
		return Noted{}, fmt.Errorf("keeping blocks of rules: %w", err)
	}
	return noted, nil
}

// tell applies one result unless the store already has it or a later revision. A result that the rule withdrew can be
// told again as a later revision; a block that a person lifted stays lifted.
func tell(ctx context.Context, tx *sql.Tx, t *Told, now time.Time, room int) (kept, full bool, err error) {
	var revision, lifted int64
	var by string
	err = tx.QueryRowContext(ctx, `SELECT revision, lifted_at, lifted_by FROM subject_block WHERE fleet = $1 AND id = $2`,
		t.Fleet, t.ID).Scan(&revision, &lifted, &by)
	there := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, false, err
	}
	news := !there || revision < t.Revision
	switch {
	case t.Back && !there, there && lifted > 0 && by != t.By():
		return false, false, nil
	case t.Back && news:
		_, err = tx.ExecContext(ctx, `UPDATE subject_block SET revision = $1, lifted_by = $2, lifted_at = $3 WHERE fleet = $4
			AND id = $5`, t.Revision, t.By(), now.UnixMicro(), t.Fleet, t.ID)
		return err == nil, false, err
	case !news, there && lifted == 0: // told again, or revised while in force
		return true, false, nil
	case room < 1:
		return false, true, nil
	}
	until := now.Add(min(t.For, longest))
	kind, subject := t.Subject()
	_, err = tx.ExecContext(ctx, insert, t.Fleet, t.ID, kind, subject, until.UnixMicro(), t.Reason, t.Rule, t.Revision,
		t.By(), now.UnixMicro())
	return err == nil, false, err
}
