package reconcile

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

// Verdict is the outcome of a run that the schedule or somebody asked for.
type Verdict string

// The verdicts.
const (
	proofExplained Verdict = "explained" // every record is explained
	proofLoss      Verdict = "loss"      // some are not, or the stores contradict each other
	proofFailed    Verdict = "failed"    // the run failed: nothing was proven
)

// Proof is the stored result of a run.
type Proof struct {
	Verdict Verdict
	At      time.Time
	Report  *Report // nil if it failed
	Detail  string  // the reason of the failure
}

// The limits of stored runs: the newest are kept whole, older ones only with their outcome, for historyLength.
const (
	reportsKept = 300
	pastMost    = 20_000 // one run in two minutes
)

func proofMigrations() []sqldb.Migration {
	tables := `CREATE TABLE reconcile_proof (
		id TEXT PRIMARY KEY, at BIGINT NOT NULL, verdict TEXT NOT NULL, report TEXT NOT NULL, detail TEXT NOT NULL);
		CREATE INDEX reconcile_proof_at ON reconcile_proof (at);
		CREATE TABLE reconcile_wish (id INTEGER PRIMARY KEY, asked_at BIGINT NOT NULL, begun_at BIGINT NOT NULL);
		INSERT INTO reconcile_wish VALUES (1, 0, 0);`
	const counts = `ALTER TABLE reconcile_proof ADD COLUMN accepted BIGINT;
		ALTER TABLE reconcile_proof ADD COLUMN unexplained BIGINT;
		UPDATE reconcile_proof SET `
	const where = ` WHERE report <> '';`
	const logs = `ALTER TABLE reconcile_proof ADD COLUMN log TEXT NOT NULL DEFAULT 'telemetry';
		INSERT INTO reconcile_wish VALUES (2, 0, 0);`
	return []sqldb.Migration{{SQLite: tables, Postgres: tables}, {
		SQLite: counts + `accepted = json_extract(report, '$.total.accepted'),
			unexplained = json_extract(report, '$.total.unexplained')` + where,
		Postgres: counts + `accepted = (report::json->'total'->>'accepted')::bigint,
			unexplained = (report::json->'total'->>'unexplained')::bigint` + where,
	}, {SQLite: logs, Postgres: logs}}
}

// Proofs stores the runs of a log in the control store, and the request for another run.
type Proofs struct {
	db  *sqldb.DB
	log string
	row int // the log's row in reconcile_wish
}

// OpenProofs creates or updates the tables, and returns the Proofs of a log.
func OpenProofs(ctx context.Context, db *sqldb.DB, log string) (*Proofs, error) {
	at := slices.IndexFunc(event.Logs(), func(l event.Log) bool { return l.Name == log })
	if at < 0 {
		return nil, fmt.Errorf("opening the list of proofs: there is no log %q", log)
	}
	if err := db.Migrate(ctx, "reconcile", proofMigrations()); err != nil {
		return nil, fmt.Errorf("opening the list of proofs: %w", err)
	}
	return &Proofs{db, log, at + 1}, nil
}

// keep stores a run, and deletes old ones. It is durable when it returns nil.
func (p *Proofs) keep(ctx context.Context, proof Proof) error {
	report := ""
	var accepted, unexplained *int64
	if proof.Report != nil {
		raw, err := json.Marshal(proof.Report)
		if err != nil {
			return fmt.Errorf("keeping a proof: %w", err)
		}
		report, accepted, unexplained = string(raw), &proof.Report.Total.Accepted, &proof.Report.Total.Unexplained
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("keeping a proof: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	// A clock that jumps ahead counts as at most one day ahead, so that it deletes no history.
	oldest := proof.At.Add(-historyLength)
	var newest sql.Null[int64]
	err = tx.QueryRowContext(ctx, `SELECT MAX(at) FROM reconcile_proof WHERE log = $1`, p.log).Scan(&newest)
	if err == nil && newest.Valid {
		if believed := time.UnixMicro(newest.V).Add(24*time.Hour - historyLength); believed.Before(oldest) {
			oldest = believed
		}
	}
	for _, step := range []struct {
		query string
		args  []any
	}{
		{`INSERT INTO reconcile_proof (id, at, verdict, report, detail, accepted, unexplained, log)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, []any{uuid.NewString(), proof.At.UnixMicro(), string(proof.Verdict),
			report, proof.Detail, accepted, unexplained, p.log}},
		{`UPDATE reconcile_proof SET report = '' WHERE report <> '' AND log = $2 AND id NOT IN
			(SELECT id FROM reconcile_proof WHERE log = $2 ORDER BY at DESC, id LIMIT $1)`, []any{reportsKept, p.log}},
		{`DELETE FROM reconcile_proof WHERE log = $3 AND (at < $1 OR id NOT IN
			(SELECT id FROM reconcile_proof WHERE log = $3 ORDER BY at DESC, id LIMIT $2))`, []any{oldest.UnixMicro(), pastMost,
			p.log}},
	} {
		if err == nil {
			_, err = tx.ExecContext(ctx, step.query, step.args...)
		}
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("keeping a proof: %w", err)
	}
	return nil
}

// Last returns the newest run, nil if there was none.
func (p *Proofs) Last(ctx context.Context) (*Proof, error) {
	list, err := sqldb.All(ctx, p.db, func(row sqldb.Row) (one Proof, err error) {
		var at int64
		var report string
		if err = row.Scan(&at, &one.Verdict, &report, &one.Detail); err == nil && report != "" {
			err = json.Unmarshal([]byte(report), &one.Report)
		}
		one.At = time.UnixMicro(at).UTC()
		return one, err
	}, `SELECT at, verdict, report, detail FROM reconcile_proof WHERE log = $1 ORDER BY at DESC, id LIMIT 1`, p.log)
	if err != nil {
		return nil, fmt.Errorf("reading the last proof: %w", err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return &list[0], nil
}

// latest returns when all records were last explained, the zero time if never, and the newest report, nil if there is
// none.
func (p *Proofs) latest(ctx context.Context) (explained time.Time, last *Report, err error) {
	var at sql.Null[int64]
	if err := p.db.QueryRowContext(ctx, `SELECT MAX(at) FROM reconcile_proof WHERE verdict = $1 AND log = $2`,
		string(proofExplained), p.log).Scan(&at); err != nil {
		return explained, nil, fmt.Errorf("reading when all was explained: %w", err)
	}
	if at.Valid {
		explained = time.UnixMicro(at.V).UTC()
	}
	var text string
	err = p.db.QueryRowContext(ctx, `SELECT report FROM reconcile_proof WHERE report <> '' AND log = $1
		ORDER BY at DESC, id LIMIT 1`, p.log).Scan(&text)
	if err == nil {
		err = json.Unmarshal([]byte(text), &last)
	} else if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err != nil {
		return explained, nil, fmt.Errorf("reading the last proof: %w", err)
	}
	return explained, last, nil
}

// wish has the times at which a run was last requested, and at which one last began. They are zero if that never
// happened.
type wish struct{ asked, begun time.Time }

// open reports whether the requested run has not begun.
func (w wish) open() bool { return w.asked.After(w.begun) }

func (p *Proofs) wish(ctx context.Context) (wish, error) {
	var asked, begun int64
	err := p.db.QueryRowContext(ctx, `SELECT asked_at, begun_at FROM reconcile_wish WHERE id = $1`, p.row).
		Scan(&asked, &begun)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return wish{}, fmt.Errorf("reading whether a proof was asked for: %w", err)
	}
	at := func(micros int64) time.Time {
		if micros == 0 {
			return time.Time{}
		}
		return time.UnixMicro(micros).UTC()
	}
	return wish{at(asked), at(begun)}, nil
}

// ask requests a run. While an earlier request is open, it changes nothing.
func (p *Proofs) ask(ctx context.Context, now time.Time) (time.Time, error) {
	// Later than the last beginning, even if another clock set that.
	_, err := p.db.ExecContext(ctx, `UPDATE reconcile_wish
		SET asked_at = CASE WHEN begun_at < $1 THEN $1 ELSE begun_at + 1 END WHERE id = $2 AND asked_at <= begun_at`,
		now.UnixMicro(), p.row)
	if err != nil {
		return now, fmt.Errorf("asking for a proof: %w", err)
	}
	w, err := p.wish(ctx)
	return w.asked, err
}

// begin stores that a run begins, which answers the open request.
func (p *Proofs) begin(ctx context.Context, now time.Time) error {
	_, err := p.db.ExecContext(ctx, `UPDATE reconcile_wish
		SET begun_at = CASE WHEN asked_at > $1 THEN asked_at ELSE $1 END WHERE id = $2`, now.UnixMicro(), p.row)
	if err != nil {
		return fmt.Errorf("noting that a proof begins: %w", err)
	}
	return nil
}
