package plugins

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/auditlog"
	"weir/internal/control/group"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
	"weir/plugins/notify/alert"
	"weir/plugins/operate/erasure"
	"weir/plugins/operate/replay"
	"weir/plugins/process/anomaly"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/plugins/store/rollup"
)

// erasureSources lets the erasure room delete from the stores of others.
func erasureSources() erasure.Sources {
	return erasure.Sources{Parts: erasureParts, Recount: recount}
}

// What rows of the lakes are counted as.
const (
	countRaw         = "raw_rows"
	countDeadLetters = "dead_letters"
)

// erasureParts are all that holds data of devices. Rollups go first: what is
// found of a device in memory elsewhere is looked up there.
func erasureParts(ctx context.Context, s erasure.Stores) ([]erasure.Part, error) {
	windows, err := rollup.Open(ctx, s.Rollups, rollup.DefaultLimits())
	if err != nil {
		return nil, err
	}
	if _, err := deadletter.OpenOutcomes(ctx, s.Control); err != nil {
		return nil, err
	}
	// Once a tombstone is buried in a database, no transaction brings back what
	// it holds: what is named there goes in one pass, but for what processes
	// have in memory.
	sql := func(name string, db *sqldb.DB, count func(context.Context, *sqldb.DB, string, string) (map[string]int64, error),
		erase func(context.Context, *sqldb.DB, tombstone.Target) error) erasure.Part {
		return erasure.Part{Name: name, Twice: true,
			Count: func(ctx context.Context, fleet, device string) (map[string]int64, error) {
				return count(ctx, db, fleet, device)
			},
			Erase: func(ctx context.Context, t tombstone.Target, _ func() error) error { return erase(ctx, db, t) },
		}
	}
	counted := sql("rollups", s.Rollups, rollup.Count, func(ctx context.Context, db *sqldb.DB, t tombstone.Target) error { return windows.Erase(ctx, db, t) })
	counted.Bury = func(ctx context.Context, stone tombstone.Stone) error { return tombstone.Bury(ctx, s.Rollups, stone) }
	counted.Twice = false // what later events count, a second pass would delete
	alerts := sql("alerts", s.Control, alert.Count, alert.Erase)
	alerts.Bury = func(ctx context.Context, stone tombstone.Stone) error { return tombstone.Bury(ctx, s.Control, stone) }
	parts := []erasure.Part{counted, alerts,
		sql("baselines", s.Control, anomaly.Count, anomaly.Erase),
		sql("groups", s.Control, group.Count, group.Erase),
		sql("replays", s.Control, replay.CountNaming, replay.Erase),
		lakePart("raw events", s.Raw, s.Control, raw.Table(), countRaw, nil),
		lakePart("dead letters", s.DeadLetter, s.Control, deadletter.Table(), countDeadLetters, deadletter.EraseOutcomes),
		sql("audit log", s.Control, func(ctx context.Context, db *sqldb.DB, _, device string) (map[string]int64, error) {
			return auditlog.Naming(ctx, db, device)
		}, auditlog.Erase),
	}
	// Every table is there before the first scrubbing names it.
	for _, p := range parts[:5] {
		if _, err := p.Count(ctx, "", ""); err != nil {
			return nil, fmt.Errorf("opening %s: %w", p.Name, err)
		}
	}
	return parts, nil
}

// lakePart erases rows of a store of objects. What belongs to dead letters in
// the control store goes before them.
func lakePart(name string, store *lake.Store, control *sqldb.DB, table *lake.Table, what string,
	before func(ctx context.Context, db *sqldb.DB, job string, ids [][16]byte) error) erasure.Part {
	var mu sync.Mutex
	looked := map[string]map[string]bool{} // by job: objects that do not change any more
	return erasure.Part{Name: name, Twice: true, Bury: store.Bury,
		Bytes: func(ctx context.Context) (total int64, err error) {
			objects, err := store.Objects(ctx, lake.Select{})
			for _, o := range objects {
				total += o.Size
			}
			return total, err
		},
		Count: func(ctx context.Context, fleet, device string) (map[string]int64, error) {
			removed, err := store.Erase(ctx, table, lake.Erasure{Fleet: fleet, Device: device, Until: time.Now().AddDate(100, 0, 0), DryRun: true})
			return map[string]int64{what: removed.Rows}, err
		},
		Erase: func(ctx context.Context, t tombstone.Target, held func() error) error {
			mu.Lock()
			seen, again := looked[t.Job]
			delete(looked, t.Job)
			mu.Unlock()
			if seen == nil {
				seen = map[string]bool{}
			}
			e := lake.Erasure{Fleet: t.Fleet, Device: t.Device, Until: time.UnixMicro(t.Until), Seen: seen}
			var ids [][16]byte
			if before != nil {
				e.Row = func(r lake.Ref) { ids = append(ids, deadletter.IDOf(r)) }
			}
			e.Before = func(o lake.Object, rows int64) error {
				if err := held(); err != nil {
					return err
				}
				if before != nil {
					if err := before(ctx, control, t.Job, ids); err != nil {
						return err
					}
					ids = nil
				}
				return tombstone.Note(ctx, control, t.Job, what, o.Key, rows)
			}
			_, err := store.Erase(ctx, table, e)
			if err == nil && !again { // the second pass looks at what is new since
				mu.Lock()
				looked[t.Job] = seen
				mu.Unlock()
			}
			return err
		},
	}
}

// recountChunk bounds the events that are merged in one transaction.
const recountChunk = 20_000

// recount adds what the raw store has of the target, which came in later, to
// the rollups: most of it they count, and know by its ids.
func recount(ctx context.Context, s erasure.Stores, upcast erasure.Upcast, t tombstone.Target) (events int64, err error) {
	limits := rollup.DefaultLimits()
	limits.WriteEvery = 0 // nobody is left to write them later
	store, err := rollup.Open(ctx, s.Rollups, limits)
	if err != nil {
		return 0, err
	}
	next := rollups{store}.Begin(nil).(*windows)
	n := 0
	add := func() error {
		done, err := store.Add(ctx, next.collector.Windows(), time.Now())
		events += int64(done.Counted())
		next, n = rollups{store}.Begin(nil).(*windows), 0
		return err
	}
	q := raw.Query{Fleet: t.Fleet, Since: time.UnixMicro(t.Until).Add(-time.Minute)}
	if t.Device != "" {
		q.Devices = []string{t.Device}
	}
	_, err = raw.NewReader(s.Raw).Scan(ctx, q, func(r *raw.Row) error {
		if r.ReceivedAt <= t.Until {
			return nil
		}
		e := storedEvent{r}
		canonical, err := mapped(e, upcast)
		if err == nil {
			err = next.Add(e, canonical)
		}
		if n++; err != nil || n < recountChunk {
			return err
		}
		return add()
	})
	if err == nil && n > 0 {
		err = add()
	}
	return events, err
}

// mapped is an event as the rollup stream counts it, nil when that is as it is
// stored.
func mapped(e storedEvent, upcast erasure.Upcast) (*service.Message, error) {
	if upcast == nil {
		return nil, nil
	}
	msg, err := e.Message()
	if err != nil {
		return nil, err
	}
	out, err := msg.BloblangQuery(upcast)
	if err != nil || out == nil {
		return nil, fmt.Errorf("mapping event %s to canonical metrics: %w", text.AppendUUID(nil, e.row.ID), err)
	}
	return out, nil
}
