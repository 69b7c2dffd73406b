// Package status keeps a row for each process of a weir: who runs, since when,
// and what it has counted. A process writes its own every few seconds, and takes
// it away when it ends; one that was killed leaves a row that grows old.
package status

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
)

// Row is what a process says of itself. The same process, started again at its
// place, has the same ID.
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
	Before    *Counts   `json:"before"` // some seconds ago, for rates; nil: not yet
	Configs   []Config  `json:"configs,omitempty"`

	SeenAt time.Time     `json:"-"` // set by List, in the reader's time
	Age    time.Duration `json:"-"` // by the store's clock
}

// Config says which version of its config a stream of the process has; 0 is its
// file. Where nothing is otherwise than the file, there is none.
type Config struct {
	Stream  string `json:"stream"`
	Wanted  int64  `json:"wanted"`  // in force
	Running int64  `json:"running"` // what it runs by
	Problem string `json:"problem"` // why it does not run what is in force
}

// goneAfter is after what silence a process counts as gone.
const goneAfter = 20 * time.Second

// Gone tells that the process has ended without saying so, or cannot say more.
func (r *Row) Gone() bool { return r.Age > goneAfter }

// forgetAfter is how long a process that is gone is named.
const forgetAfter = time.Hour

func migrations() []sqldb.Migration {
	table := `CREATE TABLE process_status (id TEXT PRIMARY KEY, seen_at DOUBLE PRECISION NOT NULL, body TEXT NOT NULL)`
	return []sqldb.Migration{{SQLite: table, Postgres: table}}
}

// Store is the list of processes in the control store.
type Store struct {
	db  *sqldb.DB
	now string // the clock of the store, as an expression: seconds since 1970
}

// Open prepares the table.
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

// Beat writes a process's row, and forgets those that are long gone.
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

// Leave takes a process's row away, unless another has taken its place.
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

// List returns all processes that have not said that they ended, by their IDs.
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

// ProcessConfig is the Config of a process.
type ProcessConfig struct {
	Process string `json:"process"` // its ID
	Config
}

// Configs returns those of the processes that are not gone.
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
