package retention

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
)

// migrations create the tables, which are named after retention's former name, maintain.
func migrations() []sqldb.Migration {
	table := `CREATE TABLE maintain_run (
		id TEXT PRIMARY KEY, started_at BIGINT NOT NULL, at BIGINT NOT NULL, notable INTEGER NOT NULL, report TEXT NOT NULL);
		CREATE INDEX maintain_run_started ON maintain_run (started_at);`
	clock := `CREATE TABLE maintain_clock (id INTEGER PRIMARY KEY, seen BIGINT NOT NULL, doubted BIGINT NOT NULL)`
	return []sqldb.Migration{{SQLite: table, Postgres: table}, {SQLite: clock, Postgres: clock}}
}

func openRuns(ctx context.Context, db *sqldb.DB) error {
	if err := db.Migrate(ctx, "maintain", migrations()); err != nil {
		return fmt.Errorf("opening the list of runs: %w", err)
	}
	return nil
}

// record stores a run's report. Runs that neither deleted anything nor failed follow each other
// every few minutes: only the last of them is kept.
func record(ctx context.Context, db *sqldb.DB, started time.Time, r *Report) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keeping a run's report: %w", err)
	}
	notable := 0
	if r.notable() {
		notable = 1
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("keeping a run's report: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, `DELETE FROM maintain_run WHERE notable = 0`); err != nil {
		return fmt.Errorf("keeping a run's report: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO maintain_run (id, started_at, at, notable, report) VALUES ($1, $2, $3, $4, $5)`,
		uuid.NewString(), started.UnixMicro(), r.At.UnixMicro(), notable, string(raw)); err != nil {
		return fmt.Errorf("keeping a run's report: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("keeping a run's report: %w", err)
	}
	return nil
}

// Run is a report, and when the run began by the real clock.
type Run struct {
	StartedAt time.Time `json:"started_at"`
	Report
}

// Runs returns the last runs, the newest first: those that deleted something or failed, and the
// last one in any case.
func Runs(ctx context.Context, db *sqldb.DB, limit int) ([]Run, error) {
	if err := openRuns(ctx, db); err != nil {
		return nil, err
	}
	runs, err := sqldb.All(ctx, db, func(row sqldb.Row) (r Run, err error) {
		var started int64
		var raw string
		if err := row.Scan(&started, &raw); err != nil {
			return r, err
		}
		err = json.Unmarshal([]byte(raw), &r.Report)
		r.StartedAt = time.UnixMicro(started).UTC()
		return r, err
	}, fmt.Sprintf(`SELECT started_at, report FROM maintain_run ORDER BY started_at DESC, id LIMIT %d`, limit))
	if err != nil {
		return nil, fmt.Errorf("listing runs: %w", err)
	}
	return runs, nil
}

// succeededAt returns when the last run began in which no store failed, or the zero time if none is
// known.
func succeededAt(ctx context.Context, db *sqldb.DB) (time.Time, error) {
	const looked = 100 // runs that failed or deleted something, and the very last
	runs, err := Runs(ctx, db, looked)
	for _, r := range runs {
		if r.Failed() == 0 {
			return r.StartedAt, err
		}
	}
	return time.Time{}, err
}

// expireRuns deletes the reports of runs before a time. They have numbers and no data of a fleet,
// so holds do not apply to them.
func expireRuns(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error) {
	if _, err := p.Fleets(ctx); err != nil { // if the holds are not known, nothing is deleted
		return expire.Removed{}, err
	}
	p.Held = nil
	return expire.Rows{Table: "maintain_run", Key: "id", Old: "at < $1"}.Expire(ctx, db, p, before)
}
