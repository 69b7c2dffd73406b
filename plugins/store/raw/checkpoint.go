package raw

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/sqldb"
)

// saveInterval is how often an advancing checkpoint is written: what a crash
// may replay again, besides the batches in flight.
const saveInterval = time.Second

// checkpoint is how far a replay has been acknowledged: behind which position
// nothing is owed. A nil store keeps it in memory alone.
type checkpoint struct {
	db      *sqldb.DB
	release func()
	name    string
	query   string // what the replay reads: a checkpoint of another query is refused

	mu    sync.Mutex
	queue []*acked  // batches in the order they were read
	at    *Position // the last of the acknowledged run
	read  bool      // all batches
	done  bool      // and all acknowledged
	count int64     // events acknowledged up to it
	saved time.Time
}

type acked struct {
	last  Position
	count int
	done  bool
}

func migrations() []sqldb.Migration {
	table := `CREATE TABLE raw_replay (
		name TEXT PRIMARY KEY, query TEXT NOT NULL, position TEXT NOT NULL, events BIGINT NOT NULL, ended BOOLEAN NOT NULL, saved_at TEXT NOT NULL)`
	return []sqldb.Migration{{SQLite: table, Postgres: table}}
}

// openCheckpoint reads the replay's checkpoint; there is none at first.
func openCheckpoint(ctx context.Context, res *service.Resources, conf replayConf) (*checkpoint, error) {
	raw, err := json.Marshal(struct {
		From, To      time.Time
		Fleet, Metric string
		Devices       []string
		Targets       string
	}{conf.query.From.UTC(), conf.query.To.UTC(), conf.query.Fleet, conf.query.Metric, conf.query.Devices, conf.targets})
	if err != nil {
		return nil, fmt.Errorf("describing the replay: %w", err)
	}
	c := &checkpoint{name: conf.name, query: string(raw)}
	if conf.checkpoint == "" {
		return c, nil
	}
	if c.db, c.release, err = sqldb.Shared(ctx, res, conf.checkpoint); err != nil {
		return nil, err
	}
	if err = c.load(ctx); err != nil {
		c.release()
		return nil, err
	}
	return c, nil
}

func (c *checkpoint) load(ctx context.Context) error {
	if err := c.db.Migrate(ctx, "raw_replay", migrations()); err != nil {
		return err
	}
	var query, position string
	err := c.db.QueryRowContext(ctx, `SELECT query, position, events, ended FROM raw_replay WHERE name = $1`, c.name).
		Scan(&query, &position, &c.count, &c.done)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("reading checkpoint %q: %w", c.name, err)
	case query != c.query:
		return fmt.Errorf("reading checkpoint %q: it belongs to a replay of something else: choose another name", c.name)
	}
	if err := json.Unmarshal([]byte(position), &c.at); err != nil {
		return fmt.Errorf("reading checkpoint %q: %w", c.name, err)
	}
	return nil
}

// position is where to go on; nil is the beginning.
func (c *checkpoint) position() *Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *checkpoint) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// pending notes a batch that is on its way, and returns what to call when it is
// acknowledged. The checkpoint moves when all batches before it are too.
func (c *checkpoint) pending(last Position, count int) func(context.Context) error {
	a := &acked{last: last, count: count}
	c.mu.Lock()
	c.queue = append(c.queue, a)
	c.mu.Unlock()
	return func(ctx context.Context) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		a.done = true
		for len(c.queue) > 0 && c.queue[0].done {
			c.at, c.count = &c.queue[0].last, c.count+int64(c.queue[0].count)
			c.queue = c.queue[1:]
		}
		if time.Since(c.saved) < saveInterval {
			return nil
		}
		return c.save(ctx)
	}
}

// save writes the checkpoint. It is durable when save returns nil.
func (c *checkpoint) save(ctx context.Context) error {
	if c.db == nil || (c.at == nil && !c.done) {
		return nil
	}
	position, err := json.Marshal(c.at)
	if err != nil {
		return fmt.Errorf("saving checkpoint %q: %w", c.name, err)
	}
	now := time.Now()
	_, err = c.db.ExecContext(ctx, `INSERT INTO raw_replay (name, query, position, events, ended, saved_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (name) DO UPDATE SET position = excluded.position, events = excluded.events, ended = excluded.ended, saved_at = excluded.saved_at`,
		c.name, c.query, string(position), c.count, c.done, now.UTC().Format(time.RFC3339))
	if err != nil {
		return fmt.Errorf("saving checkpoint %q: %w", c.name, err)
	}
	c.saved = now
	return nil
}

// allRead notes that no more batches will come: when those on their way are
// acknowledged, the replay has ended.
func (c *checkpoint) allRead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = true
}

// close saves what was acknowledged and lets go of the store.
func (c *checkpoint) close(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = c.done || c.read && len(c.queue) == 0
	err := c.save(ctx)
	if c.release != nil {
		c.release()
		c.release, c.db = nil, nil
	}
	return err
}
