package rollup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/internal/platform/live"
	"weir/internal/platform/sqldb"
)

// Seen is a device and the minute of its newest reading.
type Seen struct {
	Fleet, Device string
	At            int64 // Unix seconds
}

// Directory lists the devices that have rollups. It reads them on demand and keeps them in
// memory for all callers. A list is some seconds old, and misses events that are not written
// to rows yet. An erased device disappears when the list is read the next time.
type Directory struct {
	db   *sqldb.DB
	life context.Context
	end  context.CancelFunc

	mu     sync.Mutex
	fleets *live.Asked[[]string]
	by     map[string]*live.Asked[[]Seen]
}

const (
	directoryEvery = 5 * time.Second
	directoryMost  = 2 * time.Minute
	// directoryOld is the age from which a list is not used before it is renewed.
	directoryOld = time.Minute
	// directoryFine is how far back minutes are read in PostgreSQL, where they are partitioned
	// by time. Of a device that is silent for longer, only the day of its last reading is known.
	directoryFine = 8 * 24 * time.Hour
)

// NewDirectory returns the directory of the tables that Open creates.
func NewDirectory(db *sqldb.DB) *Directory {
	d := &Directory{db: db, by: map[string]*live.Asked[[]Seen]{}}
	d.life, d.end = context.WithCancel(context.Background())
	d.fleets = &live.Asked[[]string]{Every: directoryEvery, Most: directoryMost, Ask: d.readFleets}
	return d
}

// Close cancels reads that are in progress.
func (d *Directory) Close() { d.end() }

// errDirectory says that the devices could not be read, or not in time.
var errDirectory = errors.New("the list of devices cannot be read now")

// Devices returns the devices of a fleet, or of all fleets for "", the longest silent first,
// and when the list was read. The list is shared and must not be changed.
func (d *Directory) Devices(ctx context.Context, fleet string) (list []Seen, at time.Time, err error) {
	if fleet != "" {
		return known(ctx, d.life, d.of(fleet))
	}
	fleets, at, err := known(ctx, d.life, d.fleets)
	for _, one := range fleets {
		part, known, failed := d.Devices(ctx, one)
		if failed != nil {
			return nil, at, failed
		}
		list = append(list, part...)
		if known.Before(at) {
			at = known
		}
	}
	if len(fleets) > 1 {
		slices.SortFunc(list, Seen.compare)
	}
	return list, at, err
}

// of returns the cached list of a fleet.
func (d *Directory) of(fleet string) *live.Asked[[]Seen] {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.by[fleet]
	if a == nil {
		if len(d.by) >= fleetsKnown {
			clear(d.by)
		}
		a = &live.Asked[[]Seen]{Every: directoryEvery, Most: directoryMost,
			Ask: func(ctx context.Context) ([]Seen, error) { return d.read(ctx, fleet) }}
		d.by[fleet] = a
	}
	return a
}

// fleetsKnown bounds how many fleets' lists are cached; beyond it the cache is cleared.
const fleetsKnown = 1000

// known returns the last value if it is younger than directoryOld, and has it renewed in the
// background. Otherwise it waits for a new value.
func known[T any](ctx, life context.Context, a *live.Asked[[]T]) ([]T, time.Time, error) {
	value, at, _ := a.Last()
	if value != nil && time.Since(at) < directoryOld {
		a.Poke(life)
		return *value, at, nil
	}
	a.Refresh(ctx, life)
	value, at, err := a.Last()
	if value == nil || time.Since(at) >= directoryOld {
		return nil, at, errors.Join(errDirectory, err)
	}
	return *value, at, nil
}

// compare orders by the last reading, oldest first.
func (s Seen) compare(o Seen) int {
	return cmp.Or(cmp.Compare(s.At, o.At), strings.Compare(s.Fleet, o.Fleet), strings.Compare(s.Device, o.Device))
}

// tables returns the tables that list devices, each with the time since when it is searched:
// minutes have the newest readings, and days are kept longest.
func (d *Directory) tables() map[string]int64 {
	since := int64(0)
	if d.db.Dialect == sqldb.Postgres {
		since = time.Now().Add(-directoryFine).Unix()
	}
	return map[string]int64{byMinute.table: since, byDay.table: 0}
}

// in replaces SINCE and NEWEST in a query by the SQL of the dialect.
func (d *Directory) in(query string) string {
	since, seconds := `$1`, `max(bucket)`
	if d.db.Dialect == sqldb.Postgres {
		since, seconds = `to_timestamp($1)`, `CAST(extract(epoch FROM max(bucket)) AS bigint)`
	}
	return strings.NewReplacer("SINCE", since, "NEWEST", seconds).Replace(query)
}

// readFleets lists the fleets by jumping from each to the next in the index.
func (d *Directory) readFleets(ctx context.Context) ([]string, error) {
	var all []string
	for table, since := range d.tables() {
		fleets, err := sqldb.All(ctx, d.db, sqldb.Value[string], d.in(`WITH RECURSIVE f (fleet) AS (
			SELECT min(fleet) FROM `+table+` WHERE bucket >= SINCE
			UNION ALL SELECT (SELECT min(t.fleet) FROM `+table+` t WHERE t.fleet > f.fleet AND t.bucket >= SINCE)
				FROM f WHERE f.fleet IS NOT NULL)
			SELECT fleet FROM f WHERE fleet IS NOT NULL`), since)
		if err != nil {
			return nil, fmt.Errorf("listing the fleets: %w", err)
		}
		all = append(all, fleets...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// read lists the devices of a fleet by jumping from each to the next in the index.
func (d *Directory) read(ctx context.Context, fleet string) ([]Seen, error) {
	newest := map[string]int64{}
	for table, since := range d.tables() {
		err := sqldb.Each(ctx, d.db, func(row sqldb.Row) error {
			var device string
			var at int64
			if err := row.Scan(&device, &at); err != nil {
				return err
			}
			newest[device] = max(newest[device], at)
			return nil
		}, d.in(`WITH RECURSIVE d (id) AS (
			SELECT min(device_id) FROM `+table+` WHERE fleet = $2 AND bucket >= SINCE
			UNION ALL SELECT (SELECT min(t.device_id) FROM `+table+` t WHERE t.fleet = $2 AND t.device_id > d.id
				AND t.bucket >= SINCE) FROM d WHERE d.id IS NOT NULL)
			SELECT d.id, (SELECT NEWEST FROM `+table+` t WHERE t.fleet = $2 AND t.device_id = d.id AND t.bucket >= SINCE)
			FROM d WHERE d.id IS NOT NULL`), since, fleet)
		if err != nil {
			return nil, fmt.Errorf("listing the devices: %w", err)
		}
	}
	list := make([]Seen, 0, len(newest))
	for device, at := range newest {
		list = append(list, Seen{fleet, device, at})
	}
	slices.SortFunc(list, Seen.compare)
	return list, nil
}
