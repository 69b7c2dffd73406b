package rollup

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"weir/plugins/store/lake"
)

// sumFolder is the folder of sums. Beside an object of old minutes there may be one with what
// its windows add up to per fleet, by minute and by hour, so that a query for a whole fleet
// reads some hundred times less. Sums are written, published and deleted together with their
// object, so they always describe the same windows. They contain nothing that is not in the
// object: where sums are missing, the object is read.
const sumFolder = "rollup_sum"

// sumKey returns the key of an object's sums.
func sumKey(object string) string { return sumFolder + strings.TrimPrefix(object, coldFolder) }

// keys returns the keys of all that belongs to a published object.
func (o coldObject) keys() []string {
	if o.Summed == 0 {
		return []string{o.Key}
	}
	return []string{o.Key, sumKey(o.Key)}
}

// summedOwners is the least number of devices of a fleet in an object for which sums of that
// fleet are made. With fewer devices, reading their windows is as fast.
const summedOwners = 8

// sumLayout declares the columns of sums. They have the positions of the columns of old
// minutes, with resolution in place of the device and devices in place of the version, so
// that the same code reads and writes both.
type sumLayout struct {
	Fleet      string  `parquet:"fleet,dict"`
	Resolution string  `parquet:"resolution,dict"`
	Bucket     int64   `parquet:"bucket,timestamp(microsecond),delta"`
	Metric     string  `parquet:"metric,optional,dict"`
	Count      int64   `parquet:"count"`
	Sum        float64 `parquet:"sum"`
	Min        float64 `parquet:"min"`
	Max        float64 `parquet:"max"`
	Last       float64 `parquet:"last"`
	LastAt     int64   `parquet:"last_at,timestamp(microsecond),delta"`
	P50        float64 `parquet:"p50"`
	P95        float64 `parquet:"p95"`
	Squares    float64 `parquet:"squares"`
	SumLow     float64 `parquet:"sum_low"`
	SquaresLow float64 `parquet:"squares_low"`
	Sketch     []byte  `parquet:"sketch"`
	Devices    int64   `parquet:"devices,delta"`
}

const sumResolution, sumDevices = coldDevice, coldVersion

// sumTable is the layout of the objects of sums.
func sumTable() *lake.Table {
	return &lake.Table{
		Name:   "rollup_sum/1",
		Schema: parquet.NewSchema("rollup_sum", parquet.SchemaOf(new(sumLayout))),
		Sorting: []parquet.SortingColumn{
			parquet.Ascending("fleet"), parquet.Ascending("resolution"), parquet.Ascending("bucket"),
			parquet.Ascending("metric"),
		},
		FleetColumn: coldFleet, DeviceColumn: coldDevice, // which has no device's name
	}
}

// sumGroup is how many seconds of minutes a row group spans: the least that is read.
const sumGroup = 2 * 3600

// summer adds up the windows of an object, which must come in the order of their keys. It
// holds the sums of one fleet in memory, and the finished row groups.
type summer struct {
	fleet   string
	of      owner
	owners  int
	minutes map[int64]*windowRow
	devices map[resolution]map[position]counted // how many devices have readings, by bucket and metric
	groups  [][]coldLine                        // finished row groups
}

// counted is how many devices were counted, and the number of the last one of them.
type counted struct{ n, last int }

func (s *summer) add(r *windowRow) {
	if s.minutes == nil || r.Fleet != s.fleet {
		s.finish()
		s.fleet, s.of, s.owners, s.minutes = r.Fleet, owner{}, 0, map[int64]*windowRow{}
		s.devices = map[resolution]map[position]counted{byMinute: {}, byHour: {}}
	}
	if of := (owner{r.Fleet, r.Device}); of != s.of {
		s.of, s.owners = of, s.owners+1
	}
	sum := s.minutes[r.Bucket]
	if sum == nil {
		sum = &windowRow{Key: Key{Fleet: r.Fleet, Bucket: r.Bucket}}
		s.minutes[r.Bucket] = sum
	}
	sum.fold(r)
	for _, m := range r.Metrics {
		for _, res := range []resolution{byMinute, byHour} {
			at := position{Bucket: res.floor(r.Bucket), Metric: m.Name}
			if c := s.devices[res][at]; c.last != s.owners {
				s.devices[res][at] = counted{c.n + 1, s.owners}
			}
		}
	}
}

// finish turns the sums of the current fleet into row groups.
func (s *summer) finish() {
	if s.owners < summedOwners {
		return
	}
	hours := map[Key]*windowRow{}
	for _, r := range s.minutes {
		foldInto(hours, Key{Fleet: s.fleet, Bucket: byHour.floor(r.Bucket)}, r)
	}
	byBucket := func(a, b *windowRow) int { return cmp.Compare(a.Bucket, b.Bucket) }
	s.groups = append(s.groups, s.lines(byHour, slices.SortedFunc(maps.Values(hours), byBucket)))
	minutes := slices.SortedFunc(maps.Values(s.minutes), byBucket)
	for len(minutes) > 0 {
		end, _ := slices.BinarySearchFunc(minutes, minutes[0].Bucket-mod(minutes[0].Bucket, sumGroup)+sumGroup,
			func(r *windowRow, at int64) int { return cmp.Compare(r.Bucket, at) })
		s.groups = append(s.groups, s.lines(byMinute, minutes[:end]))
		minutes = minutes[end:]
	}
	s.groups = slices.DeleteFunc(s.groups, func(g []coldLine) bool { return len(g) == 0 }) // of events without a metric
}

func (s *summer) lines(res resolution, rows []*windowRow) (lines []coldLine) {
	for _, r := range rows {
		for _, m := range r.Metrics {
			lines = append(lines, coldLine{
				row: &windowRow{Key: Key{s.fleet, res.Name, r.Bucket},
					Version: int64(s.devices[res][position{Bucket: r.Bucket, Metric: m.Name}].n)},
				metric: m, sketch: m.Sketch.Append(nil),
			})
		}
	}
	return lines
}

// writeSums writes the sums of an object that is written but not published yet.
func (t *tier) writeSums(ctx context.Context, o *coldObject, sums *summer) (err error) {
	sums.finish()
	if len(sums.groups) == 0 {
		return nil
	}
	groups := sums.groups
	o.Summed, err = t.to.PutGroups(ctx, sumKey(o.Key), sumTable(), func() (int, lake.Columns, error) {
		if len(groups) == 0 {
			return 0, nil, nil
		}
		lines := groups[0]
		groups = groups[1:]
		return len(lines), lake.ColumnsOf(lines, coldLine.value), t.keep(ctx)
	})
	if err != nil {
		return fmt.Errorf("writing the sums of old minutes: %w", err)
	}
	return nil
}
