package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

func each(t *testing.T, test func(*testing.T, Table)) {
	open := func(t *testing.T, url string) {
		ctx := t.Context()
		db, err := sqldb.Open(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		name := fmt.Sprintf("jobs_test_%d", time.Now().UnixNano())
		if _, err := db.ExecContext(ctx, `CREATE TABLE `+name+` (id TEXT PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL,
			owner TEXT NOT NULL DEFAULT '', until BIGINT NOT NULL DEFAULT 0)`); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = db.Exec(`DROP TABLE ` + name) })
		test(t, Table{DB: db, Name: name, Key: "id", Until: "until", Owner: "owner", Lease: time.Minute,
			Work: `kind = $2 AND state <> 'done'`, Order: `id`, Args: []any{"mine"}})
	}
	t.Run("sqlite", func(t *testing.T) { open(t, "sqlite://"+t.TempDir()+"/jobs.db") })
	t.Run("postgres", func(t *testing.T) { open(t, require.Env(t, "WEIR_TEST_POSTGRES_URL")) })
}

func add(t *testing.T, table Table, id, kind string) {
	t.Helper()
	if _, err := table.DB.ExecContext(t.Context(), `INSERT INTO `+table.Name+
		` (id, kind, state) VALUES ($1, $2, 'queued')`, id, kind); err != nil {
		t.Fatal(err)
	}
}

func TestJobs_ARowHasOneOwnerUntilItsLeaseEnds(t *testing.T) {
	each(t, func(t *testing.T, table Table) {
		ctx, now := t.Context(), time.Now()
		add(t, table, "a", "mine")
		add(t, table, "b", "other")
		take := func(owner, want string, at time.Time) {
			t.Helper()
			if id, err := table.Take(ctx, owner, `state = 'running'`, at); err != nil || id != want {
				t.Fatalf("%s took %q, %v; want %q", owner, id, err, want)
			}
		}
		take("one", "a", now)
		take("two", "", now)
		if err := table.Renew(ctx, "one", "a", now.Add(30*time.Second), ""); err != nil {
			t.Fatal(err)
		}
		take("two", "", now.Add(time.Minute))
		take("two", "a", now.Add(90*time.Second)) // one has died
		for what, err := range map[string]error{
			"renew":  table.Renew(ctx, "one", "a", now, ""),
			"change": table.Change(ctx, "one", "a", `state = $3`, "done"),
		} {
			if !errors.Is(err, ErrLost) {
				t.Errorf("%s by who has lost it: %v", what, err)
			}
		}
		if err := table.Release(ctx, "two", "a", `state = $3`, "queued"); err != nil {
			t.Fatal(err)
		}
		take("one", "a", now.Add(91*time.Second))
		if err := table.Release(ctx, "one", "a", `state = 'done'`); err != nil {
			t.Fatal(err)
		}
		take("two", "", now.Add(time.Hour))
	})
}

// However many processes ask, each row is taken once.
func TestJobs_EachRowIsTakenOnce(t *testing.T) {
	each(t, func(t *testing.T, table Table) {
		const rows = 20
		for i := range rows {
			add(t, table, fmt.Sprintf("r%02d", i), "mine")
		}
		now := time.Now()
		var taken sync.Map
		var n atomic.Int64
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				for n.Load() < rows && t.Context().Err() == nil {
					id, err := table.Take(context.Background(), fmt.Sprint(w), "", now)
					if err != nil {
						t.Error(err)
						return
					}
					if id == "" {
						continue
					}
					if by, twice := taken.LoadOrStore(id, w); twice {
						t.Errorf("%s was taken by %v and by %d", id, by, w)
					}
					n.Add(1)
				}
			})
		}
		all.Wait()
	})
}
