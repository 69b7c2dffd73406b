package deadletter

import (
	"context"
	"fmt"
	"strings"
	"time"

	"weir/internal/event"
	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
)

// Outcome is what became of a dead letter that was sent back or reviewed.
type Outcome struct {
	ID        string
	Job       string // the job that sent it back
	Published bool   // it was published to the log; if false, it failed again and may be sent again
	Discarded bool   // By decided that it must not be sent back
	By        string
	Reason    string // why it failed, or was discarded
	At        time.Time
}

// Values of the column published.
const (
	failedAgain = 0
	published   = 1
	discarded   = 2
)

// Outcomes stores in SQL what became of the dead letters of a log, because the store of dead
// letters is only appended to.
type Outcomes struct {
	db  *sqldb.DB
	log string // the log whose retention applies to them; ids are unique among all logs
}

func outcomeMigrations() []sqldb.Migration {
	table := `CREATE TABLE dead_letter_outcome (
		id TEXT PRIMARY KEY, job TEXT NOT NULL, published INTEGER NOT NULL, reason TEXT NOT NULL, at BIGINT NOT NULL);
		CREATE INDEX dead_letter_outcome_at ON dead_letter_outcome (at);`
	decided := `ALTER TABLE dead_letter_outcome ADD COLUMN decided_by TEXT NOT NULL DEFAULT ''`
	log := `ALTER TABLE dead_letter_outcome ADD COLUMN log TEXT NOT NULL DEFAULT 'telemetry'`
	return []sqldb.Migration{{SQLite: table, Postgres: table}, {SQLite: decided, Postgres: decided},
		{SQLite: log, Postgres: log}}
}

// OpenOutcomes creates the table of outcomes if it is missing. Outcomes are recorded for this log.
func OpenOutcomes(ctx context.Context, db *sqldb.DB, log string) (*Outcomes, error) {
	if err := db.Migrate(ctx, "dead_letter_outcome", outcomeMigrations()); err != nil {
		return nil, fmt.Errorf("opening the outcomes of dead letters: %w", err)
	}
	return &Outcomes{db, log}, nil
}

// idsAtOnce bounds the placeholders of one statement.
const idsAtOnce = 500

// Resolved returns which of the dead letters must not be sent back, because the log has them, or
// they were discarded.
func (o *Outcomes) Resolved(ctx context.Context, ids []string) (map[string]bool, error) {
	known, err := o.Of(ctx, ids)
	resolved := map[string]bool{}
	for id, x := range known {
		if x.Published || x.Discarded {
			resolved[id] = true
		}
	}
	return resolved, err
}

// Of returns the outcomes of dead letters, without those that have none.
func (o *Outcomes) Of(ctx context.Context, ids []string) (map[string]Outcome, error) {
	known := map[string]Outcome{}
	for len(ids) > 0 {
		some := ids[:min(len(ids), idsAtOnce)]
		ids = ids[len(some):]
		if err := o.of(ctx, some, known); err != nil {
			return nil, fmt.Errorf("looking what became of dead letters: %w", err)
		}
	}
	return known, nil
}

func (o *Outcomes) of(ctx context.Context, ids []string, into map[string]Outcome) error {
	marks, args := make([]string, len(ids)), make([]any, len(ids))
	for i, id := range ids {
		marks[i], args[i] = fmt.Sprintf("$%d", i+1), id
	}
	some, err := sqldb.All(ctx, o.db, scanOutcome, `SELECT id, job, published, decided_by, reason, at FROM dead_letter_outcome
		WHERE id IN (`+strings.Join(marks, ",")+`)`, args...)
	for _, x := range some {
		into[x.ID] = x
	}
	return err
}

func scanOutcome(row sqldb.Row) (x Outcome, err error) {
	var state int
	var at int64
	err = row.Scan(&x.ID, &x.Job, &state, &x.By, &x.Reason, &at)
	x.Published, x.Discarded, x.At = state == published, state == discarded, time.UnixMicro(at).UTC()
	return x, err
}

// Discard records that a dead letter must not be sent back, and returns the outcome that is then
// in force: a published one stays published, and the first discard stays.
func (o *Outcomes) Discard(ctx context.Context, id, by, reason string, at time.Time) (Outcome, error) {
	return o.decide(ctx, id, `INSERT INTO dead_letter_outcome (id, job, published, decided_by, reason, at, log)
		VALUES ($1, '', $2, $3, $4, $5, $7) ON CONFLICT (id) DO UPDATE SET job = '', published = excluded.published,
		decided_by = excluded.decided_by, reason = excluded.reason, at = excluded.at, log = excluded.log
		WHERE dead_letter_outcome.published = $6`,
		id, discarded, by, reason, at.UnixMicro(), failedAgain, o.log)
}

// Reopen removes a discard, and returns the outcome that is then in force.
func (o *Outcomes) Reopen(ctx context.Context, id string) (Outcome, error) {
	return o.decide(ctx, id, `DELETE FROM dead_letter_outcome WHERE id = $1 AND published = $2`, id, discarded)
}

func (o *Outcomes) decide(ctx context.Context, id, statement string, args ...any) (Outcome, error) {
	if _, err := o.db.ExecContext(ctx, statement, args...); err != nil {
		return Outcome{}, fmt.Errorf("noting what is to become of a dead letter: %w", err)
	}
	known, err := o.Of(ctx, []string{id})
	return known[id], err
}

// Record records outcomes in one transaction. A published one keeps its first job. A discarded one
// stays discarded, unless it was being sent back at that time and the log has it.
func (o *Outcomes) Record(ctx context.Context, outcomes []Outcome) error {
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("noting what became of dead letters: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	insert, err := tx.PrepareContext(ctx, `INSERT INTO dead_letter_outcome (id, job, published, reason, at, log) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET job = excluded.job, published = excluded.published, reason = excluded.reason, at = excluded.at,
		log = excluded.log, decided_by = '' WHERE dead_letter_outcome.published = 0 OR (dead_letter_outcome.published = 2 AND excluded.published = 1)`)
	if err != nil {
		return fmt.Errorf("noting what became of dead letters: %w", err)
	}
	defer func() { _ = insert.Close() }() // with the transaction
	for _, x := range outcomes {
		state := failedAgain
		if x.Published {
			state = published
		}
		if _, err := insert.ExecContext(ctx, x.ID, x.Job, state, x.Reason, x.At.UnixMicro(), o.log); err != nil {
			return fmt.Errorf("noting what became of dead letters: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("noting what became of dead letters: %w", err)
	}
	return nil
}

// expireOutcomes deletes the outcomes of the pass's log that were recorded before a time, when
// their dead letters must be deleted already. All are kept while any fleet has a hold.
func expireOutcomes(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error) {
	log, err := event.LogOf(p.Log)
	if err != nil {
		return expire.Removed{}, fmt.Errorf("deleting what became of dead letters: %w", err)
	}
	return expire.Rows{Table: "dead_letter_outcome", Key: "id", Old: "at < $1 AND log = '" + log.Name + "'"}.Expire(ctx,
		db,
		p, before)
}
