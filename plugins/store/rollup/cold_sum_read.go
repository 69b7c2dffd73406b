package rollup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"

	"weir/plugins/store/lake"
)

// sumLine is one line of sums: one metric of a fleet in one minute or hour.
type sumLine struct {
	bucket  int64
	devices int
	metric  *metricRow
}

// sumsAtOnce is how many objects' sums are read at the same time.
const sumsAtOnce = 4

// sums passes the sums that a merged query wants, of windows that begin in [from, to), to
// fn. It returns the objects without sums of the fleet.
func (t *coldTx) sums(ctx context.Context, q *query, from, to int64, objects []coldObject,
	fn func(sumLine)) (without []coldObject, err error) {
	if len(objects) == 0 {
		return nil, nil
	}
	url, err := t.url(ctx)
	if err != nil {
		return nil, err
	}
	store, err := t.c.open(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("opening the store of old minutes: %w", err)
	}
	for some := range slices.Chunk(objects, sumsAtOnce) {
		lines, has := make([][]sumLine, len(some)), make([]bool, len(some))
		g, ctx := errgroup.WithContext(ctx)
		for i, o := range some {
			g.Go(func() (err error) {
				lines[i], has[i], err = readSums(ctx, store, o, q, from, to)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		for i, o := range some {
			if !has[i] {
				without = append(without, o)
			}
			for _, l := range lines[i] {
				fn(l)
			}
		}
	}
	return without, nil
}

// readSums reads the sums of one object; found is false when it has none of the fleet, or
// when they are missing.
func readSums(ctx context.Context, store *lake.Store, o coldObject, q *query, from, to int64) (lines []sumLine,
	found bool, err error) {
	if o.Summed == 0 {
		return nil, false, nil
	}
	file, err := store.OpenFile(ctx, lake.Blob{Key: sumKey(o.Key), Size: o.Summed})
	if errors.Is(err, lake.ErrNotFound) {
		return nil, false, nil // the object was replaced, or copied without its sums
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading sums of old minutes: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	of := owner{q.Fleet, q.Resolution.Name}
	for group := range file.RowGroups() {
		is := groupOwners(file, group, within{})
		if is.Low != of || is.High != of {
			continue
		}
		found = true
		if low, high := groupBuckets(file, group); high < from || low >= to {
			continue
		}
		if lines, err = groupSums(ctx, file, group, q, from, to, lines); err != nil {
			return nil, false, fmt.Errorf("reading sums of %s: %w", o.Key, err)
		}
	}
	return lines, found, nil
}

// groupBuckets returns the first and the last bucket of a row group.
func groupBuckets(file *lake.File, group int) (low, high int64) {
	stats := file.Metadata().RowGroups[group].Columns[coldBucket].MetaData.Statistics
	if len(stats.MinValue) != 8 || len(stats.MaxValue) != 8 {
		return fromAlways, -fromAlways
	}
	seconds := func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) / 1e6 }
	return seconds(stats.MinValue), seconds(stats.MaxValue)
}

func groupSums(ctx context.Context, file *lake.File, group int, q *query, from, to int64,
	lines []sumLine) (out []sumLine, err error) {
	rows, err := file.ReadRows(group, 0, file.RowGroups()[group].NumRows(), nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	batch := coldBatch{columns: make([][]parquet.Value, coldColumns)}
	for {
		n, err := rows.Next(coldRows)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || n == 0 {
			return lines, err
		}
		for c := range batch.columns {
			batch.columns[c] = rows.Column(c)
		}
		for i := range n {
			bucket := batch.at(coldBucket, i).Int64() / 1e6
			if bucket < from || bucket >= to || !q.wants(string(batch.at(coldMetric, i).ByteArray())) {
				continue
			}
			m, err := batch.metric(i)
			if err == nil && m == nil {
				err = errCorrupt
			}
			if err != nil {
				return nil, err
			}
			lines = append(lines, sumLine{bucket, int(batch.at(sumDevices, i).Int64()), m})
		}
	}
}
