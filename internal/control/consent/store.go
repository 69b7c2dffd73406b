// Package consent keeps what people have agreed to: for each subject and purpose every change with its time, so that
// an event can be judged by the consent at its own time and by the present one. Only erasures delete entries. The
// package imports no room of plugins.
package consent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
)

// errInvalid is wrapped by the errors of invalid input.
var errInvalid = errors.New("invalid consent")

// The bounds.
const (
	maxSubject = 256
	maxPurpose = 64
	maxSource  = 256
	maxChanges = 1000 // per subject; withdrawals are kept beyond it
	aheadMost  = 5 * time.Minute
)

// Store keeps consents in SQL.
type Store struct {
	db  *sqldb.DB
	now func() time.Time
}

func migrations() []sqldb.Migration {
	table := `CREATE TABLE consent (
		fleet TEXT NOT NULL, subject TEXT NOT NULL, purpose TEXT NOT NULL, at BIGINT NOT NULL, granted BIGINT NOT NULL,
		source TEXT NOT NULL, recorded_by TEXT NOT NULL, recorded_at BIGINT NOT NULL,
		PRIMARY KEY (fleet, subject, purpose, at))`
	return []sqldb.Migration{{SQLite: table, Postgres: table}}
}

// Open creates or migrates the table of consents.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := db.Migrate(ctx, "consent", migrations()); err != nil {
		return nil, fmt.Errorf("opening the store of consents: %w", err)
	}
	return &Store{db: db, now: time.Now}, nil
}

// ValidSubject checks the name of a subject: an installation, browser or person, as events name it.
func ValidSubject(subject string) error {
	return valid("subject", subject, maxSubject)
}

// ValidPurpose checks the name of a purpose.
func ValidPurpose(purpose string) error {
	for i := range len(purpose) {
		if c := purpose[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return fmt.Errorf("%w: the purpose must be of lower-case letters, digits, '_' and '-'", errInvalid)
		}
	}
	return valid("purpose", purpose, maxPurpose)
}

func valid(what, name string, most int) error {
	if !text.Plain(name, most) {
		return fmt.Errorf("%w: the %s must be 1 to %d bytes of text", errInvalid, what, most)
	}
	return nil
}

// Put records what a subject said. When it returns nil the change is committed and applies to every later judgement.
// A zero c.At means now. Of two changes for the same moment, a withdrawal wins.
func (s *Store) Put(ctx context.Context, fleet, subject string, c Change) (Change, error) {
	now := s.now().UTC().Truncate(time.Microsecond)
	if c.At.IsZero() {
		c.At = now
	}
	c.At, c.RecordedAt = c.At.UTC().Truncate(time.Microsecond), now
	var ahead error
	if c.At.After(now.Add(aheadMost)) {
		ahead = fmt.Errorf("%w: at is ahead of the clock: what holds tomorrow is said tomorrow", errInvalid)
	}
	var source error
	if c.Source != "" {
		source = valid("source", c.Source, maxSource)
	}
	if err := errors.Join(apikey.ValidFleet(fleet), ValidSubject(subject), ValidPurpose(c.Purpose), source,
		ahead); err != nil {
		return c, fmt.Errorf("%w: %w", errInvalid, err)
	}
	changes, err := s.Changes(ctx, fleet, subject)
	if err != nil {
		return c, err
	}
	if c.Granted && len(changes) >= maxChanges { // a withdrawal is never refused
		return c, fmt.Errorf("%w: %d changes of one subject are as many as are kept", errInvalid, maxChanges)
	}
	granted := 0
	if c.Granted {
		granted = 1
	}
	if _, err := s.db.ExecContext(ctx, `INSERT INTO consent
		(fleet, subject, purpose, at, granted, source, recorded_by, recorded_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (fleet, subject, purpose, at) DO UPDATE
		SET granted = CASE WHEN consent.granted = 1 AND excluded.granted = 1 THEN 1 ELSE 0 END`,
		fleet, subject, c.Purpose, c.At.UnixMicro(), granted, c.Source, c.RecordedBy, c.RecordedAt.UnixMicro()); err != nil {
		return c, fmt.Errorf("keeping a consent: %w", err)
	}
	return c, nil
}

const columns = `purpose, at, granted, source, recorded_by, recorded_at`

// Changes returns all changes of a subject, by purpose and time.
func (s *Store) Changes(ctx context.Context, fleet, subject string) ([]Change, error) {
	changes, err := sqldb.All(ctx, s.db, scan, `SELECT `+columns+` FROM consent WHERE fleet = $1 AND subject = $2
		ORDER BY purpose, at`, fleet, subject)
	if err != nil {
		return nil, fmt.Errorf("reading consents: %w", err)
	}
	return changes, nil
}

func scan(row sqldb.Row) (c Change, err error) {
	var at, granted, recorded int64
	err = row.Scan(&c.Purpose, &at, &granted, &c.Source, &c.RecordedBy, &recorded)
	c.At, c.Granted, c.RecordedAt = time.UnixMicro(at).UTC(), granted == 1, time.UnixMicro(recorded).UTC()
	return c, err
}

// Said identifies a History: the purpose of a subject.
type Said struct{ Subject, Purpose string }

// Histories holds the histories of some subjects.
type Histories map[Said]History

// Histories returns the changes of all purposes of some subjects of a fleet. On an error it returns none.
func (s *Store) Histories(ctx context.Context, fleet string, subjects []string) (Histories, error) {
	found := Histories{}
	if len(subjects) == 0 {
		return found, nil
	}
	err := sqldb.Each(ctx, s.db, func(row sqldb.Row) error {
		var of Said
		var at, granted int64
		err := row.Scan(&of.Subject, &of.Purpose, &at, &granted)
		found[of] = append(found[of], Change{At: time.UnixMicro(at), Granted: granted == 1})
		return err
	}, `SELECT subject, purpose, at, granted FROM consent WHERE fleet = $1 AND subject `+s.db.Dialect.Among("$2")+`
		ORDER BY subject, purpose, at`, fleet, s.db.Dialect.List(subjects))
	if err != nil {
		return nil, fmt.Errorf("reading consents: %w", err)
	}
	return found, nil
}

// countChanges is the name under which erasures count deleted changes.
const countChanges = "consent_changes"

// Lifecycle declares the store of consents. They are kept until the subject is erased, as the proof that its events
// may be kept.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "consents", Tables: []string{"consent"},
		Prepare: lifecycle.Made(Open), Count: count, Erase: erase, People: true,
	}.Kind()
}

// count counts the changes of a device, or of a whole fleet when device is "". The subject of an event is its device
// unless the config says otherwise.
func count(ctx context.Context, db *sqldb.DB, fleet, device string) (map[string]int64, error) {
	var n int64
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM consent WHERE fleet = $1 AND ($2 = '' OR subject = $2)`, fleet,
		device).Scan(&n); err != nil {
		return nil, fmt.Errorf("counting consents: %w", err)
	}
	return map[string]int64{countChanges: n}, nil
}

// erase deletes the changes of a device, or of a whole fleet when t.Device is "", that were recorded until t.Until; a
// later withdrawal stays. It is one transaction, may be run again, and counts what it deletes once.
func erase(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		return tombstone.Delete(ctx, tx, t.Job, countChanges, `DELETE FROM consent WHERE fleet = $1
			AND ($2 = '' OR subject = $2) AND recorded_at <= $3`, t.Fleet, t.Device, t.Until)
	})
	if err != nil {
		return fmt.Errorf("erasing consents: %w", err)
	}
	return nil
}
