package rule

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/sqldb"
)

// Sums of all devices have no device, and stay when one is erased. Two things in them can be somebody: the values of a
// sketch, and the key. An erasure forgets the name in all sketches (forget.go), and deletes the sums whose key is the
// name (sums_keys.go). Counts, sums, least and greatest values stay as they were told: they name nobody.
//
// It reaches the windows that began by the moment of the erasure (t.Until), in what was told and in what is open. Who
// comes later under the same name is new. A set does not tell earlier events from later ones, nor does a sum: what came
// again into such a window before this runs goes, too.

// countSketches is the name under which an erasure counts the results whose sketches it changed.
const countSketches = "rule_sketches"

// SketchLifecycle returns the store of what names somebody in sums of all devices.
func SketchLifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "rule_sketches", People: true, Prepare: migrate, CountWho: countNaming, Erase: eraseSums,
		Remains: remains}.Kind()
}

// remains says, for the report of an erasure, what sums of all devices still contain. It is "" when there are none.
func remains(ctx context.Context, db *sqldb.DB, fleet string) (string, error) {
	if err := migrate(ctx, db); err != nil {
		return "", err
	}
	var n, first int64
	if err := db.QueryRowContext(ctx, `SELECT count(*), coalesce(min(window_end), 0) FROM rule_result WHERE fleet = $1
		AND device_id = ''`, fleet).Scan(&n, &first); err != nil {
		return "", fmt.Errorf("counting sums of all devices: %w", err)
	}
	if n == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d results of rules across devices, of windows that end from %s on, keep what was sent in their "+
		"numbers. They hold no id: those whose key is one (user.id, user.anonymous_id, user.person, user_id, anonymous_id, "+
		"device_id) were deleted, the names' hashes were taken out of sketches of up to %d values, and what a name can have "+
		"left in a sketch of more was overwritten with what another left, whether the name was in it or not. Retention "+
		"deletes them with other results", n, time.UnixMicro(first).UTC().Format(time.RFC3339), exactDistinct), nil
}

// hashOf returns the hash that a sketch has for a string value.
func hashOf(name string) uint64 { return xxhash.Sum64(rawjson.AppendString(nil, name)) }

// forgetting is how an erasure goes through the sums of all devices of a fleet.
type forgetting struct {
	tombstone.Target
	db     *sqldb.DB
	hash   uint64
	quoted []byte // the name as a JSON string
	places []place
	after  resultKey // the last result that was looked at
	text   []byte    // the one at hand, to reuse
}

func newForgetting(db *sqldb.DB, t tombstone.Target) *forgetting {
	return &forgetting{Target: t, db: db, hash: hashOf(t.Device), quoted: rawjson.AppendString(nil, t.Device)}
}

// countNaming counts the results that an erasure would change or delete. A sketch of many values counts whether or not
// the name is in it: that nobody can tell.
func countNaming(ctx context.Context, db *sqldb.DB, fleet string, who tombstone.Who) (map[string]int64, error) {
	if who.Device == "" {
		return nil, nil // they go with the fleet
	}
	if err := migrate(ctx, db); err != nil {
		return nil, err
	}
	f := newForgetting(db, tombstone.Target{Fleet: fleet, Device: who.Device, Name: who.Name,
		Until: time.Now().UnixMicro()})
	counts := map[string]int64{}
	for more := true; more; {
		var some []changeTo
		var err error
		if some, more, err = f.look(ctx); err != nil {
			return nil, fmt.Errorf("looking for a name in sums of all devices: %w", err)
		}
		for _, one := range some {
			counts[one.what()]++
		}
	}
	return counts, nil
}

// eraseSums makes the sums of all devices forget a device or a name. When it returns nil, that is durable; after a
// crash it can be called again.
func eraseSums(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	if t.Device == "" {
		return nil // they went with the fleet
	}
	f := newForgetting(db, t)
	err := f.begin(ctx)
	for more := true; err == nil && more; {
		more, err = f.step(ctx)
	}
	if err != nil {
		return fmt.Errorf("taking a name out of sums of all devices: %w", err)
	}
	return nil
}

// begin finds the partitions. One that comes later has nothing from before the tombstone.
func (f *forgetting) begin(ctx context.Context) error {
	if err := migrate(ctx, f.db); err != nil {
		return err
	}
	versions, err := versionsOf(ctx, f.db)
	f.places = slices.SortedFunc(maps.Keys(versions), place.compare)
	return err
}

// step runs the next transaction; more tells whether another is left. What is open comes first, a partition in each
// transaction, whose batches wait meanwhile: what is told afterwards has forgotten already. Then comes what was told,
// up to listedMost results in each, and no batch waits for that.
func (f *forgetting) step(ctx context.Context) (more bool, err error) {
	if len(f.places) > 0 {
		at := f.places[0]
		err := tombstone.Update(ctx, f.db, func(tx *sql.Tx) error { return f.open(ctx, tx, at) })
		f.places = f.places[1:]
		return true, err
	}
	some, more, err := f.look(ctx)
	if err != nil || len(some) == 0 {
		return more, err
	}
	return more, tombstone.Update(ctx, f.db, func(tx *sql.Tx) error { return f.told(ctx, tx, some) })
}
