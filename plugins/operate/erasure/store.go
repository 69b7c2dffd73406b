package erasure

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/jobs"
	"weir/internal/platform/sqldb"
)

// errNotFound is the error for an unknown id.
var errNotFound = errors.New("no such erasure")

// lease is how long a process owns an erasure without renewing: a crash delays the erasure by that.
const lease = 10 * time.Second

// Store keeps erasures in the control store. Its changes are committed when its functions return nil.
type Store struct {
	db   *sqldb.DB
	work jobs.Table
	now  func() time.Time
}

func migrations() []sqldb.Migration {
	table := `CREATE TABLE erasure (
		id TEXT PRIMARY KEY, created_at BIGINT NOT NULL, fleet TEXT NOT NULL, subject TEXT NOT NULL, phase TEXT NOT NULL, document TEXT NOT NULL,
		buried_at BIGINT NOT NULL DEFAULT 0, changed_at BIGINT NOT NULL DEFAULT 0, not_before BIGINT NOT NULL DEFAULT 0, owner TEXT NOT NULL DEFAULT '', lease_until BIGINT NOT NULL DEFAULT 0);
		CREATE INDEX erasure_created ON erasure (created_at, id);`
	return []sqldb.Migration{{SQLite: table, Postgres: table}}
}

// OpenStore creates or updates the table of erasures.
func OpenStore(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := errors.Join(db.Migrate(ctx, "erasure", migrations()), tombstone.Migrate(ctx, db)); err != nil {
		return nil, fmt.Errorf("opening the store of erasures: %w", err)
	}
	// Erasures that wait for their second pass come first, and the scrubbing of files last: one scrubbing serves all.
	return &Store{db: db, now: time.Now, work: jobs.Table{DB: db, Name: "erasure", Key: "id", Until: "lease_until",
		Owner: "owner", Lease: lease,
		Work:  `phase <> 'ended' AND not_before <= $1`,
		Order: `CASE phase WHEN 'settle' THEN 0 WHEN 'begin' THEN 1 ELSE 2 END, created_at, id`}}, nil
}

// Create queues an erasure that must be done within a bound. The spec must have been checked.
func (s *Store) Create(ctx context.Context, spec Spec, by string, bound time.Duration) (*Erasure, error) {
	e := &Erasure{ID: uuid.NewString(), State: Queued, CreatedBy: by, Spec: spec, Subject: tombstone.Subject(spec.Fleet,
		cmp.Or(spec.Device, spec.Person)),
		CreatedAt: s.now().UTC().Truncate(time.Microsecond), Erased: map[string]int64{}, phase: begin}
	due := e.CreatedAt.Add(bound)
	e.DueBy = &due
	text, err := json.Marshal(e)
	if err == nil {
		_, err = s.db.ExecContext(ctx, `INSERT INTO erasure (id, created_at, fleet, subject, phase, document) VALUES ($1, $2, $3, $4, $5, $6)`,
			e.ID, e.CreatedAt.UnixMicro(), e.Fleet, e.Subject, string(begin), string(text))
	}
	if err != nil {
		return nil, fmt.Errorf("queueing an erasure: %w", err)
	}
	return e, nil
}

const columns = `phase, buried_at, changed_at, document`

func scan(row sqldb.Row) (*Erasure, error) {
	var e Erasure
	var text, at string
	var changed int64
	if err := row.Scan(&at, &e.buried, &changed, &text); err != nil {
		return nil, err
	}
	e.phase, e.changed = phase(at), time.UnixMicro(changed)
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return nil, fmt.Errorf("reading an erasure: %w", err)
	}
	return &e, nil
}

// Quiet reports whether no erasure is in progress. mark changes when one is created. So data that was read under a
// mark has nothing that a finished erasure has deleted, as long as Quiet returns the same mark.
func (s *Store) Quiet(ctx context.Context) (mark string, quiet bool, err error) {
	var all, newest, open int64
	if err = s.db.QueryRowContext(ctx, `SELECT count(*), coalesce(max(created_at), 0),
		count(CASE WHEN phase <> 'ended' THEN 1 END) FROM erasure`).Scan(&all, &newest, &open); err != nil {
		return "", false, fmt.Errorf("asking for erasures: %w", err)
	}
	return fmt.Sprint(all, newest), open == 0, nil
}

// Get returns an erasure.
func (s *Store) Get(ctx context.Context, id string) (*Erasure, error) {
	e, err := scan(s.db.QueryRowContext(ctx, `SELECT `+columns+` FROM erasure WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNotFound
	} else if err != nil {
		return nil, fmt.Errorf("reading an erasure: %w", err)
	}
	return e, nil
}

// list returns erasures created before a time, the newest first, of one fleet and one subject if these are not empty.
func (s *Store) list(ctx context.Context, fleet, subject string, before time.Time, limit int) ([]*Erasure, error) {
	list, err := sqldb.All(ctx, s.db, scan, fmt.Sprintf(`SELECT %s FROM erasure WHERE created_at < $1 AND ($2 = '' OR fleet = $2) AND ($3 = '' OR subject = $3)
		ORDER BY created_at DESC, id DESC LIMIT %d`, columns, limit), before.UnixMicro(), fleet, subject)
	if err != nil {
		return nil, fmt.Errorf("listing erasures: %w", err)
	}
	return list, nil
}

// overdue returns how many erasures have exceeded their bound.
func (s *Store) overdue(ctx context.Context) (n int64, err error) {
	list, err := s.open(ctx)
	for _, e := range list {
		if e.DueBy != nil && s.now().After(*e.DueBy) {
			n++
		}
	}
	return n, err
}

func (s *Store) open(ctx context.Context) ([]*Erasure, error) {
	list, err := sqldb.All(ctx, s.db, scan, `SELECT `+columns+` FROM erasure WHERE phase <> 'ended'`)
	if err != nil {
		return nil, fmt.Errorf("looking for erasures: %w", err)
	}
	return list, nil
}

// take leases an erasure with a due step to owner, nil if there is none.
func (s *Store) take(ctx context.Context, owner string) (*Erasure, error) {
	id, err := s.work.Take(ctx, owner, "", s.now())
	if err != nil || id == "" {
		return nil, err
	}
	return s.Get(ctx, id)
}

// renew extends the lease.
func (s *Store) renew(ctx context.Context, owner, id string) error {
	return s.work.Renew(ctx, owner, id, s.now(), "")
}

// save stores the present state of an erasure.
func (s *Store) save(ctx context.Context, owner string, e *Erasure) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("saving erasure %s: %w", e.ID, err)
	}
	return s.work.Change(ctx, owner, e.ID, `phase = $3, buried_at = $4, changed_at = $5, document = $6`, string(e.phase),
		e.buried, s.now().UnixMicro(), string(text))
}

// release ends the lease; the next step is due at a time.
func (s *Store) release(ctx context.Context, owner, id string, until time.Time) error {
	return s.work.Release(ctx, owner, id, `not_before = $3`, until.UnixMicro())
}
