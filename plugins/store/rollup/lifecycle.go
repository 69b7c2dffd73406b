package rollup

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// Lifecycle describes the store of rollups for retention and erasure.
func Lifecycle() lifecycle.Kind {
	k := lifecycle.Kind{Name: "rollups", Place: lifecycle.Rollups,
		Numbers: []string{"stats", "detail", "ledger", "sketch"},
		Shares:  []string{"rollups_1m", "rollups_1h", "rollups_1d", "ledgers"},
		Keep: []lifecycle.Keep{
			{Place: lifecycle.Rollups, Field: "keep", Default: "17520h",
				Description: "How long rollups are kept, in whole days. Give `rollup_store` the same time as `retention`."},
			{Place: lifecycle.Rollups, Field: "keep_ledgers", Default: "168h",
				Description: "How long a window remembers which events it counted, after its last change. Events that are " +
					"delivered again " +
					"later than that count twice; replays of such windows are refused."},
		},
		Open: func(ctx context.Context, at *lifecycle.Places) (lifecycle.Store, error) {
			db, err := at.SQL(ctx, lifecycle.Rollups)
			if err != nil {
				return nil, err
			}
			store, err := Open(ctx, db, DefaultLimits())
			return kept{store, db}, err
		}}
	for _, table := range erasable() {
		k.Tables = append(k.Tables, table[0])
	}
	k.Tables = append(k.Tables, "rollup_cold") // an object's first and last device
	return k
}

// kept is an opened store of rollups, as retention and erasure see it.
type kept struct {
	store *Store
	db    *sqldb.DB
}

func (k kept) Expire(ctx context.Context, u lifecycle.Upkeep) (shares []lifecycle.Share, err error) {
	done, err := expireRows(ctx, k.db, u.Pass, u.Keep[0], u.Keep[1])
	return []lifecycle.Share{
		{Store: "rollups_1m", OlderThan: u.Before(0), Removed: done.Minutes},
		{Store: "rollups_1h", OlderThan: u.Before(0), Removed: done.Hours},
		{Store: "rollups_1d", OlderThan: u.Before(0), Removed: done.Days},
		{Store: "ledgers", OlderThan: u.Before(1), Removed: done.Ledgers},
	}, err
}

// Count ignores targets that are names of people: rollups are kept by device only.
func (k kept) Count(ctx context.Context, fleet string, of ...tombstone.Who) (map[string]int64, error) {
	all := map[string]int64{}
	for _, who := range of {
		if who.Name {
			continue
		}
		counts, err := count(ctx, k.db, fleet, who.Device)
		if err != nil {
			return nil, err
		}
		for what, n := range counts {
			all[what] += n
		}
	}
	return all, nil
}

func (k kept) Bury(ctx context.Context, stone tombstone.Stone) error {
	return tombstone.Bury(ctx, k.db, stone)
}

// Erase does nothing in the second pass: once a tombstone is buried no writer adds what it
// covers, and windows of later events must stay.
func (k kept) Erase(ctx context.Context, e lifecycle.Erasure) error {
	if e.Again || e.Name {
		return nil
	}
	return k.store.erase(ctx, k.db, e.Target, e.Held)
}

// Bytes is the size of the objects of old minutes. The rows in the database are not included.
func (k kept) Bytes(ctx context.Context) (n int64, err error) {
	err = k.db.QueryRowContext(ctx, `SELECT coalesce(sum(bytes + summed), 0) FROM rollup_cold`).Scan(&n)
	return n, err
}
