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
// It reaches the windows that began by the moment of the erasure (t.Until), or so little later that an event which was
// received before it may count there, since its clock was ahead; in what was told and in what is open. Who comes later
// under the same name is new. A set does not tell earlier events from later ones, nor does a sum: what came again into
// such a window before this runs goes, too. So it runs once for each erasure: what batches apply after it is not from
// before the tombstone, which they have.

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
	return fmt.Sprintf("%d results of rules across devices of the fleet, of windows that end from %s on, keep what was "+
		"sent in their numbers. They do not name who was erased: those whose key was that id (as user.id, "+
		"user.anonymous_id, user.person, user_id, anonymous_id or device_id) were deleted, its hash was taken out of "+
		"sketches of up to %d values, and what it can have left in a sketch of more was overwritten with what another "+
		"left, whether it was in it or not. Retention deletes them with other results", n,
		time.UnixMicro(first).UTC().Format(time.RFC3339), exactDistinct), nil
}

// hashOf returns the hash that a sketch has for a string value.
func hashOf(name string) uint64 { return xxhash.Sum64(rawjson.AppendString(nil, name)) }

// forgetting is how an erasure goes through the sums of all devices of a fleet.
type forgetting struct {
	tombstone.Target
	db     *sqldb.DB
	begun  int64 // windows that began later are left alone
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
	if err := f.reach(ctx); err != nil {
		return nil, err
	}
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
	done, err := f.begin(ctx)
	for more := !done; err == nil && more; {
		more, err = f.step(ctx)
	}
	if err == nil && !done {
		err = tombstone.Note(ctx, db, t.Job, countSketches, through, 0)
	}
	if err != nil {
		return fmt.Errorf("taking a name out of sums of all devices: %w", err)
	}
	return nil
}

// through is the part under which an erasure notes that all of this is done. Its later passes, and those that repeat
// what failed in another store, then find nothing of it to do: they would delete what came since.
const through = "through"

// begin finds the partitions, unless the erasure is through already. One that comes later has nothing from before the
// tombstone.
func (f *forgetting) begin(ctx context.Context) (done bool, err error) {
	if err := migrate(ctx, f.db); err != nil {
		return false, err
	}
	var n int
	if err := f.db.QueryRowContext(ctx, `SELECT count(*) FROM erased_count WHERE job = $1 AND what = $2 AND part = $3`,
		f.Job, countSketches, through).Scan(&n); err != nil || n > 0 {
		return n > 0, err
	}
	if err := f.reach(ctx); err != nil {
		return false, err
	}
	versions, err := versionsOf(ctx, f.db)
	f.places = slices.SortedFunc(maps.Keys(versions), place.compare)
	return false, err
}

// reach sets begun.
func (f *forgetting) reach(ctx context.Context) error {
	ahead, err := aheadOf(ctx, f.db)
	f.begun = f.Until + ahead
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
