package replay

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"weir/internal/event"
	"weir/internal/platform/jobs"
	"weir/internal/platform/sqldb"
)

// The errors that callers distinguish.
var (
	ErrNotFound = errors.New("no such replay")
	errState    = errors.New("the replay's state does not allow it")
)

// lease is how long a runner owns a job without renewing: a crash delays the job by that.
const lease = 10 * time.Second

// Store keeps jobs in the control store. A job, its progress and its position change in one transaction, which is
// committed when the function returns nil.
type Store struct {
	db  *sqldb.DB
	now func() time.Time
}

func migrations() []sqldb.Migration {
	table := `CREATE TABLE replay_job (
		id TEXT PRIMARY KEY, created_at BIGINT NOT NULL, created_by TEXT NOT NULL, state TEXT NOT NULL, error TEXT NOT NULL,
		spec TEXT NOT NULL, progress TEXT NOT NULL, position TEXT NOT NULL, result TEXT NOT NULL,
		started_at BIGINT NOT NULL, ended_at BIGINT NOT NULL, owner TEXT NOT NULL, lease_until BIGINT NOT NULL);
		CREATE INDEX replay_job_created ON replay_job (created_at, id);`
	log := `ALTER TABLE replay_job ADD COLUMN log TEXT NOT NULL DEFAULT 'telemetry'`
	return []sqldb.Migration{{SQLite: table, Postgres: table}, {SQLite: log, Postgres: log}}
}

// work returns the jobs that runners lease: those of a log that wait or run.
func (s *Store) work(log string) jobs.Table {
	return jobs.Table{DB: s.db, Name: "replay_job", Key: "id", Until: "lease_until", Owner: "owner", Lease: lease,
		Work: `state IN ('queued', 'running') AND log = '` + log + `'`, Order: `created_at, id`}
}

// OpenStore creates or updates the table of jobs.
func OpenStore(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := db.Migrate(ctx, "replay", migrations()); err != nil {
		return nil, fmt.Errorf("opening the store of replays: %w", err)
	}
	return &Store{db: db, now: time.Now}, nil
}

// asked is the stored form of the request for a job.
type asked struct {
	Spec
	Request string `json:"request_id,omitempty"`
}

// Create queues a job that a key has requested. The spec must have been checked.
func (s *Store) Create(ctx context.Context, spec Spec, by, request string) (*Job, error) {
	spec.Log = cmp.Or(spec.Log, event.LogTelemetry)
	j := &Job{ID: uuid.NewString(), State: Queued, CreatedBy: by, Request: request, Spec: spec, CreatedAt: s.now().UTC()}
	text, err := json.Marshal(asked{spec, request})
	if err == nil {
		_, err = s.db.ExecContext(ctx, `INSERT INTO replay_job (id, created_at, created_by, state, error, spec, progress, position, result, started_at, ended_at, owner, lease_until, log)
			VALUES ($1, $2, $3, $4, '', $5, '{}', 'null', '{}', 0, 0, '', 0, $6)`, j.ID, j.CreatedAt.UnixMicro(), by, string(Queued),
			string(text), spec.Log)
	}
	if err != nil {
		return nil, fmt.Errorf("queueing a replay: %w", err)
	}
	return j, nil
}

const columns = `id, created_at, created_by, state, error, spec, progress, position, result, started_at, ended_at`

func (s *Store) scan(row sqldb.Row) (*Job, error) {
	var j Job
	var was asked
	var created, started, ended int64
	var state, spec, progress, position, result string
	if err := row.Scan(&j.ID, &created, &j.CreatedBy, &state, &j.Error, &spec, &progress, &position, &result, &started,
		&ended); err != nil {
		return nil, err
	}
	j.State, j.CreatedAt, j.position = State(state), time.UnixMicro(created).UTC(), json.RawMessage(position)
	for _, part := range []struct {
		text string
		to   any
	}{{spec, &was}, {progress, &j.Progress}, {result, &j.Result}} {
		if err := json.Unmarshal([]byte(part.text), part.to); err != nil {
			return nil, fmt.Errorf("reading replay %s: %w", j.ID, err)
		}
	}
	j.Spec, j.Request = was.Spec, was.Request
	j.Log = cmp.Or(j.Log, event.LogTelemetry) // an earlier version of weir made the job
	j.StartedAt, j.EndedAt = timeOrNil(started), timeOrNil(ended)
	j.estimate(s.now())
	return &j, nil
}

func timeOrNil(micros int64) *time.Time {
	if micros == 0 {
		return nil
	}
	t := time.UnixMicro(micros).UTC()
	return &t
}

// get returns a job.
func (s *Store) get(ctx context.Context, id string) (*Job, error) {
	j, err := s.scan(s.db.QueryRowContext(ctx, `SELECT `+columns+` FROM replay_job WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	} else if err != nil {
		return nil, fmt.Errorf("reading a replay: %w", err)
	}
	return j, nil
}

// list returns jobs created before a time, the newest first, in their displayed form; of one log and one state if
// these are not empty.
func (s *Store) list(ctx context.Context, log string, state State, before time.Time, limit int) ([]*Job, error) {
	jobs, err := sqldb.All(ctx, s.db, s.scan, fmt.Sprintf(`SELECT %s FROM replay_job WHERE created_at < $1 AND ($2 = '' OR state = $2)
		AND ($3 = '' OR log = $3) ORDER BY created_at DESC, id DESC LIMIT %d`, columns, limit), before.UnixMicro(), string(state), log)
	if err != nil {
		return nil, fmt.Errorf("listing replays: %w", err)
	}
	for i, j := range jobs {
		jobs[i] = j.shown()
	}
	return jobs, nil
}

// pause stops a job at its position. A runner notices within a second.
func (s *Store) pause(ctx context.Context, id string) (*Job, error) {
	return s.move(ctx, id, Paused, `state IN ('queued', 'running')`)
}

// resume queues a paused or failed job, which continues at its position.
func (s *Store) resume(ctx context.Context, id string) (*Job, error) {
	return s.move(ctx, id, Queued, `state IN ('paused', 'failed')`)
}

// cancel ends a job. Events that it has published stay published.
func (s *Store) cancel(ctx context.Context, id string) (*Job, error) {
	return s.move(ctx, id, Cancelled, `state IN ('queued', 'running', 'paused', 'failed')`)
}

func (s *Store) move(ctx context.Context, id string, to State, from string) (*Job, error) {
	ended := int64(0)
	if to.ended() {
		ended = s.now().UnixMicro()
	}
	res, err := s.db.ExecContext(ctx, `UPDATE replay_job SET state = $1, ended_at = $2, error = '' WHERE id = $3 AND `+
		from, string(to), ended, id)
	if err != nil {
		return nil, fmt.Errorf("changing a replay: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return nil, fmt.Errorf("changing a replay: %w", err)
	}
	j, err := s.get(ctx, id)
	if err == nil && n == 0 {
		return j, errState
	}
	return j, err
}

// take leases to owner the oldest job of a log that waits, or whose lease has expired. It returns nil if there is
// none.
func (s *Store) take(ctx context.Context, owner, log string) (*Job, error) {
	id, err := s.work(log).Take(ctx, owner, `state = 'running', started_at = CASE WHEN started_at = 0 THEN $1 ELSE started_at END`, s.now())
	if err != nil || id == "" {
		return nil, err
	}
	return s.get(ctx, id)
}

// save stores the progress, extends the lease, and returns the job's state, which people may have changed. It returns
// jobs.ErrLost if the runner is not the owner any more.
func (s *Store) save(ctx context.Context, owner string, j *Job, p Progress, position json.RawMessage) (State, error) {
	progress, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("saving replay %s: %w", j.ID, err)
	}
	result, err := json.Marshal(j.Result)
	if err != nil {
		return "", fmt.Errorf("saving replay %s: %w", j.ID, err)
	}
	err = s.work(j.Log).Renew(ctx, owner, j.ID, s.now(), `progress = $4, position = $5, result = $6`, string(progress),
		string(position), string(result))
	if err != nil {
		return "", err
	}
	var state string
	if err := s.db.QueryRowContext(ctx, `SELECT state FROM replay_job WHERE id = $1`, j.ID).Scan(&state); err != nil {
		return "", fmt.Errorf("reading the state of replay %s: %w", j.ID, err)
	}
	return State(state), nil
}

// release ends the lease, and sets the state unless people have changed it.
func (s *Store) release(ctx context.Context, owner string, j *Job, state State, reason string) error {
	ended := int64(0)
	if state.ended() {
		ended = s.now().UnixMicro()
	}
	err := s.work(j.Log).Release(ctx, owner, j.ID, `error = CASE WHEN state = 'running' THEN $3 ELSE error END,
		ended_at = CASE WHEN state = 'running' THEN $4 ELSE ended_at END,
		state = CASE WHEN state = 'running' THEN $5 ELSE state END`, reason, ended, string(state))
	if errors.Is(err, jobs.ErrLost) {
		return nil // another runner owns it: there is no lease to end
	}
	if err != nil {
		return fmt.Errorf("releasing replay %s: %w", j.ID, err)
	}
	return nil
}
