// Package etlrun keeps the progress that ETL runs report, from whichever machine they run on. It serves people who
// watch runs; the authoritative report is in the run's own state, of which this is a copy.
package etlrun

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
)

// The states of a run. A run that is killed stays Running and reports no more.
const (
	Running = "running"
	Done    = "done"
	Failed  = "failed" // failed or stopped: running it again continues it
)

// Run is a run of a pipeline, or a stream since its start.
type Run struct {
	Pipeline string    `json:"pipeline"`
	Run      string    `json:"run"`
	Host     string    `json:"host"` // host name
	State    string    `json:"state"`
	Stream   bool      `json:"stream"`
	Began    time.Time `json:"began"` // first report
	Heard    time.Time `json:"heard"` // last report

	Read     int64  `json:"read"` // rows
	Written  int64  `json:"written"`
	Rejected int64  `json:"rejected"`
	LeftOut  int64  `json:"left_out"`      // filtered, dropped or duplicate
	Lag      *int64 `json:"lag,omitempty"` // streams only: offsets not yet read
	Error    string `json:"error,omitempty"`

	Report json.RawMessage `json:"report,omitempty"` // of a finished run; absent in lists
}

// errNoRun is the error for a run that never reported.
var errNoRun = errors.New("no such run was heard of")

// mostError is how many bytes are kept of why a run failed.
const mostError = 2000

// Store keeps runs in the control store.
type Store struct{ db *sqldb.DB }

func migrations() []sqldb.Migration {
	table := `CREATE TABLE etl_run (
		pipeline TEXT NOT NULL, run TEXT NOT NULL, host TEXT NOT NULL, state TEXT NOT NULL, stream INTEGER NOT NULL,
		began_at BIGINT NOT NULL, heard_at BIGINT NOT NULL, rows_read BIGINT NOT NULL, rows_written BIGINT NOT NULL,
		rows_rejected BIGINT NOT NULL, rows_left_out BIGINT NOT NULL, lag BIGINT, error TEXT NOT NULL, report TEXT NOT NULL,
		PRIMARY KEY (pipeline, run));
		CREATE INDEX etl_run_by_time ON etl_run (began_at);`
	return []sqldb.Migration{{SQLite: table, Postgres: table}}
}

// Open creates or migrates the table of runs.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := db.Migrate(ctx, "etl_run", migrations()); err != nil {
		return nil, fmt.Errorf("opening the store of runs: %w", err)
	}
	return &Store{db}, nil
}

const columns = `pipeline, run, host, state, stream, began_at, heard_at, rows_read, rows_written, rows_rejected,
	rows_left_out, lag, error`

// Put records the progress of a run. It is durable when Put returns nil. Began keeps its first value.
func (s *Store) Put(ctx context.Context, r Run) error {
	stream := 0
	if r.Stream {
		stream = 1
	}
	why := text.Cut(text.Stored(r.Error), mostError)
	_, err := s.db.ExecContext(ctx, `INSERT INTO etl_run (`+columns+`, report)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (pipeline, run) DO UPDATE SET host = excluded.host, state = excluded.state, heard_at = excluded.heard_at,
			rows_read = excluded.rows_read, rows_written = excluded.rows_written, rows_rejected = excluded.rows_rejected,
			rows_left_out = excluded.rows_left_out, lag = excluded.lag, error = excluded.error, report = excluded.report`,
		r.Pipeline, r.Run, r.Host, r.State, stream, r.Began.UnixMicro(), r.Heard.UnixMicro(), r.Read, r.Written, r.Rejected,
		r.LeftOut, r.Lag, why, string(r.Report))
	if err != nil {
		return fmt.Errorf("noting run %s of %s: %w", r.Run, r.Pipeline, err)
	}
	return nil
}

// Filter selects runs.
type Filter struct {
	Pipeline, State string    // "": any
	Before          time.Time // started before; zero: any
	Limit           int
}

// List returns at most f.Limit runs without their reports, newest first.
func (s *Store) List(ctx context.Context, f Filter) ([]Run, error) {
	before := int64(1<<63 - 1)
	if !f.Before.IsZero() {
		before = f.Before.UnixMicro()
	}
	all, err := sqldb.All(ctx, s.db, scan, `SELECT `+columns+`, '' FROM etl_run
		WHERE ($1 = '' OR pipeline = $1) AND ($2 = '' OR state = $2) AND began_at < $3
		ORDER BY began_at DESC, pipeline, run LIMIT $4`, f.Pipeline, f.State, before, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("reading runs: %w", err)
	}
	return all, nil
}

// Get returns a run with its report, or errNoRun.
func (s *Store) Get(ctx context.Context, pipeline, run string) (Run, error) {
	r, err := scan(s.db.QueryRowContext(ctx, `SELECT `+columns+`, report FROM etl_run WHERE pipeline = $1 AND run = $2`,
		pipeline, run))
	if errors.Is(err, sql.ErrNoRows) {
		return r, errNoRun
	}
	if err != nil {
		return r, fmt.Errorf("reading run %s of %s: %w", run, pipeline, err)
	}
	return r, nil
}

func scan(row sqldb.Row) (r Run, err error) {
	var began, heard, stream int64
	var lag sql.NullInt64
	var report string
	if err := row.Scan(&r.Pipeline, &r.Run, &r.Host, &r.State, &stream, &began, &heard, &r.Read, &r.Written, &r.Rejected,
		&r.LeftOut, &lag, &r.Error, &report); err != nil {
		return r, err
	}
	r.Stream, r.Began, r.Heard = stream != 0, time.UnixMicro(began).UTC(), time.UnixMicro(heard).UTC()
	if lag.Valid {
		r.Lag = &lag.Int64
	}
	if report != "" {
		r.Report = json.RawMessage(report)
	}
	return r, nil
}

// expireRuns deletes the runs that last reported before a time.
func expireRuns(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error) {
	return expire.Rows{Table: "etl_run", Key: "pipeline, run", Old: "heard_at < $1"}.Expire(ctx, db, p, before)
}
