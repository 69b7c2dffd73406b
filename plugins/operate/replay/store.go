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

// The errors that callers tell apart.
var (
	ErrNotFound = errors.New("no such replay")
	errState    = errors.New("the replay's state does not allow it")
)

// lease is how long a job stays with a runner that says nothing: what a crash
// delays it by.
const lease = 10 * time.Second

// Store keeps jobs in the control store. A job, its progress and its position
// change together; what is returned as done is committed.
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

// work is what runners lease: the jobs of a log that wait or run.
func (s *Store) work(log string) jobs.Table {
	return jobs.Table{DB: s.db, Name: "replay_job", Key: "id", Until: "lease_until", Owner: "owner", Lease: lease,
		Work: `state IN ('queued', 'running') AND log = '` + log + `'`, Order: `created_at, id`}
}

// OpenStore prepares the table of jobs.
func OpenStore(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := db.Migrate(ctx, "replay", migrations()); err != nil {
		return nil, fmt.Errorf("opening the store of replays: %w", err)
	}
	return &Store{db: db, now: time.Now}, nil
}

// asked is what the table keeps of how a job was asked for.
type asked struct {
	Spec
	Request string `json:"request_id,omitempty"`
}

// Create queues a job that a key has asked for in a request. The spec has been
// checked.
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
	j.Log = cmp.Or(j.Log, event.LogTelemetry) // an earlier weir made it
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

// list returns jobs as they are shown, the newest first, those made before a
// time; of one log and of one state if these are not empty.
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

// pause holds a job where it is. A runner notices within a second.
func (s *Store) pause(ctx context.Context, id string) (*Job, error) {
	return s.move(ctx, id, Paused, `state IN ('queued', 'running')`)
}

// resume queues a job that was paused or has failed, to go on where it was.
func (s *Store) resume(ctx context.Context, id string) (*Job, error) {
	return s.move(ctx, id, Queued, `state IN ('paused', 'failed')`)
}

// cancel ends a job. What it has published stays published.
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

// take gives the oldest job of a log that waits, or whose runner has gone, to owner.
// It returns nil when there is none.
func (s *Store) take(ctx context.Context, owner, log string) (*Job, error) {
	id, err := s.work(log).Take(ctx, owner, `state = 'running', started_at = CASE WHEN started_at = 0 THEN $1 ELSE started_at END`, s.now())
	if err != nil || id == "" {
		return nil, err
	}
	return s.get(ctx, id)
}

// save keeps how far owner has come, and its lease, and returns the job's
// state: people may have changed it. It returns jobs.ErrLost to a runner that is
// not the owner any more.
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

// release lets go of a job, in the state that it now has unless people have
// given it another.
func (s *Store) release(ctx context.Context, owner string, j *Job, state State, reason string) error {
	ended := int64(0)
	if state.ended() {
		ended = s.now().UnixMicro()
	}
	err := s.work(j.Log).Release(ctx, owner, j.ID, `error = CASE WHEN state = 'running' THEN $3 ELSE error END,
		ended_at = CASE WHEN state = 'running' THEN $4 ELSE ended_at END,
		state = CASE WHEN state = 'running' THEN $5 ELSE state END`, reason, ended, string(state))
	if errors.Is(err, jobs.ErrLost) {
		return nil // another has it: there is nothing to let go of
	}
	if err != nil {
		return fmt.Errorf("releasing replay %s: %w", j.ID, err)
	}
	return nil
}
