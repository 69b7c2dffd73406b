package deadletter

import (
	"context"
	"fmt"
	"strings"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
)

// Outcome is what became of a dead letter when it was sent back.
type Outcome struct {
	ID        string
	Job       string // the job that sent it back
	Published bool   // the log has it: final; else it failed again, and may be tried anew
	Reason    string // why it failed
	At        time.Time
}

// Outcomes remembers, in SQL, what became of dead letters: the store of dead
// letters itself is only ever appended to.
type Outcomes struct{ db *sqldb.DB }

func outcomeMigrations() []sqldb.Migration {
	table := `CREATE TABLE dead_letter_outcome (
		id TEXT PRIMARY KEY, job TEXT NOT NULL, published INTEGER NOT NULL, reason TEXT NOT NULL, at BIGINT NOT NULL);
		CREATE INDEX dead_letter_outcome_at ON dead_letter_outcome (at);`
	return []sqldb.Migration{{SQLite: table, Postgres: table}}
}

// OpenOutcomes prepares the table of outcomes.
func OpenOutcomes(ctx context.Context, db *sqldb.DB) (*Outcomes, error) {
	if err := db.Migrate(ctx, "dead_letter_outcome", outcomeMigrations()); err != nil {
		return nil, fmt.Errorf("opening the outcomes of dead letters: %w", err)
	}
	return &Outcomes{db}, nil
}

// idsAtOnce bounds the placeholders of one statement.
const idsAtOnce = 500

// Resolved returns which of the dead letters the log has taken back.
func (o *Outcomes) Resolved(ctx context.Context, ids []string) (map[string]bool, error) {
	resolved := map[string]bool{}
	for len(ids) > 0 {
		some := ids[:min(len(ids), idsAtOnce)]
		ids = ids[len(some):]
		if err := o.resolved(ctx, some, resolved); err != nil {
			return nil, fmt.Errorf("looking what became of dead letters: %w", err)
		}
	}
	return resolved, nil
}

func (o *Outcomes) resolved(ctx context.Context, ids []string, into map[string]bool) error {
	marks, args := make([]string, len(ids)), make([]any, len(ids))
	for i, id := range ids {
		marks[i], args[i] = fmt.Sprintf("$%d", i+1), id
	}
	published, err := sqldb.All(ctx, o.db, sqldb.Value[string], `SELECT id FROM dead_letter_outcome WHERE published = 1 AND id IN (`+
		strings.Join(marks, ",")+`)`, args...)
	for _, id := range published {
		into[id] = true
	}
	return err
}

// Record notes outcomes in one transaction. One that was published stays so,
// with the job that published it first.
func (o *Outcomes) Record(ctx context.Context, outcomes []Outcome) error {
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("noting what became of dead letters: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	insert, err := tx.PrepareContext(ctx, `INSERT INTO dead_letter_outcome (id, job, published, reason, at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET job = excluded.job, published = excluded.published, reason = excluded.reason, at = excluded.at
		WHERE dead_letter_outcome.published = 0`)
	if err != nil {
		return fmt.Errorf("noting what became of dead letters: %w", err)
	}
	defer func() { _ = insert.Close() }() // with the transaction
	for _, x := range outcomes {
		published := 0
		if x.Published {
			published = 1
		}
		if _, err := insert.ExecContext(ctx, x.ID, x.Job, published, x.Reason, x.At.UnixMicro()); err != nil {
			return fmt.Errorf("noting what became of dead letters: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("noting what became of dead letters: %w", err)
	}
	return nil
}

// expireOutcomes deletes the outcomes noted before a time, at which the dead
// letters themselves must be gone. All stay while any fleet is held.
func expireOutcomes(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error) {
	return expire.Rows{Table: "dead_letter_outcome", Key: "id", Old: "at < $1"}.Expire(ctx, db, p, before)
}
