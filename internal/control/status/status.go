// Package status keeps a row for each process of a deployment: who runs, since when, and what it has counted. A
// process writes its row every few seconds and deletes it when it stops; a killed process leaves a row that grows
// old.
package status

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
)

// Row is the status of a process. A process that is restarted in the same place keeps its ID.
type Row struct {
	ID        string    `json:"-"`
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
	Role      string    `json:"role"` // the command
	Streams   []string  `json:"streams"`
	StartedAt time.Time `json:"started_at"`
	Topology  []Stream  `json:"topology"`
	Counts    *Counts   `json:"counts"` // nil: its metrics could not be read
	Before    *Counts   `json:"before"` // counts some seconds earlier, for rates; nil at first
	Configs   []Config  `json:"configs,omitempty"`

	SeenAt time.Time     `json:"-"` // SeenAt is set by List, in the reader's clock
	Age    time.Duration `json:"-"` // by the store's clock
}

// Config says which version of its config a stream runs; 0 is its file. A stream that runs its file as it should has
// none.
type Config struct {
	Stream  string `json:"stream"`
	Wanted  int64  `json:"wanted"`  // version in force
	Running int64  `json:"running"` // version that runs
	Problem string `json:"problem"` // why the version in force does not run
}

// goneAfter is the silence after which a process counts as gone.
const goneAfter = 20 * time.Second

// Gone tells whether the process has been silent too long: it was killed or cannot reach the store.
func (r *Row) Gone() bool { return r.Age > goneAfter }

// forgetAfter is how long the row of a silent process is kept.
const forgetAfter = time.Hour

func migrations() []sqldb.Migration {
	table := `CREATE TABLE process_status (id TEXT PRIMARY KEY, seen_at DOUBLE PRECISION NOT NULL, body TEXT NOT NULL)`
	return []sqldb.Migration{{SQLite: table, Postgres: table}}
}

// Store is the list of processes in the control store.
type Store struct {
	db  *sqldb.DB
	now string // SQL expression of the store's clock, in seconds since 1970
}

// Open creates or migrates the table.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := db.Migrate(ctx, "status", migrations()); err != nil {
		return nil, fmt.Errorf("opening the list of processes: %w", err)
	}
	s := &Store{db: db, now: `(julianday('now') - 2440587.5) * 86400.0`}
	if db.Dialect == sqldb.Postgres {
		s.now = `CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)`
	}
	return s, nil
}

// Beat writes the row of this process and deletes rows older than forgetAfter.
func (s *Store) Beat(ctx context.Context, r Row) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the status of this process: %w", err)
	}
	_, err = s.db.ExecContext(ctx, `INSERT INTO process_status (id, seen_at, body) VALUES ($1, `+s.now+`, $2)
		ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, body = excluded.body`, r.ID, string(body))
	if err == nil {
		_, err = s.db.ExecContext(ctx, `DELETE FROM process_status WHERE seen_at < `+s.now+` - $1`, forgetAfter.Seconds())
	}
	if err != nil {
		return fmt.Errorf("writing the status of this process: %w", err)
	}
	return nil
}

// Leave deletes the row of this process, unless another process has taken over its ID.
func (s *Store) Leave(ctx context.Context, r Row) error {
	rows, err := s.List(ctx)
	if err != nil {
		return err
	}
	for _, other := range rows {
		if other.ID == r.ID && other.PID == r.PID && other.StartedAt.Equal(r.StartedAt) {
			if _, err := s.db.ExecContext(ctx, `DELETE FROM process_status WHERE id = $1`, r.ID); err != nil {
				return fmt.Errorf("taking away the status of this process: %w", err)
			}
		}
	}
	return nil
}

// List returns the rows of all processes, ordered by ID, including those that are gone.
func (s *Store) List(ctx context.Context) ([]Row, error) {
	now := time.Now()
	list, err := sqldb.All(ctx, s.db, func(row sqldb.Row) (r Row, err error) {
		var age float64
		var id, body string
		if err := row.Scan(&id, &age, &body); err != nil {
			return r, err
		}
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			return r, err
		}
		r.ID, r.Age = id, max(0, time.Duration(age*float64(time.Second)))
		r.SeenAt = now.Add(-r.Age)
		return r, nil
	}, `SELECT id, `+s.now+` - seen_at, body FROM process_status ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("listing the processes: %w", err)
	}
	return list, nil
}

// ProcessConfig is a Config with its process.
type ProcessConfig struct {
	Process string `json:"process"` // its ID
	Config
}

// Configs returns the configs of all processes that are not gone.
func Configs(rows []Row) []ProcessConfig {
	all := []ProcessConfig{}
	for _, r := range rows {
		if r.Gone() {
			continue
		}
		for _, c := range r.Configs {
			all = append(all, ProcessConfig{r.ID, c})
		}
	}
	return all
}
