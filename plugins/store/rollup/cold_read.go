package rollup

import (
	"context"
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go"

	"weir/plugins/store/lake"
)

// coldObject is a published object: minutes of one day, of a run of owners.
type coldObject struct {
	Day int64 // its start, Unix seconds
	Key string
	within
	Written        int64 // Unix seconds
	Windows, Bytes int64
	Summed         int64 // size of its sums in bytes; 0: it has none
}

// coldRows is how many rows of an object are decoded at a time.
const coldRows = 1024

// eachCold passes the windows of an object whose owners are wanted to fn, in the order of
// their keys. It does not read row groups that have none of them.
func eachCold(ctx context.Context, store *lake.Store, o coldObject, want owners,
	fn func(*windowRow) error) (err error) {
	if !want.meets(o.within) {
		return nil
	}
	file, err := store.OpenFile(ctx, lake.Blob{Key: o.Key, Size: o.Bytes})
	if err != nil {
		return fmt.Errorf("reading old minutes: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for group := range file.RowGroups() {
		if !want.meets(groupOwners(file, group, o.within)) {
			continue
		}
		if err := eachOfGroup(ctx, file, group, want, fn); err != nil {
			return fmt.Errorf("reading old minutes of %s: %w", o.Key, err)
		}
	}
	return nil
}

// groupOwners returns the range of owners of a row group, from its statistics. They are
// exact when the group has a single fleet; otherwise the result is `all`.
func groupOwners(file *lake.File, group int, all within) within {
	bounds := func(column int) (low, high string, ok bool) {
		stats := file.Metadata().RowGroups[group].Columns[column].MetaData.Statistics
		return string(stats.MinValue), string(stats.MaxValue), len(stats.MinValue) > 0 && len(stats.MaxValue) > 0
	}
	lowFleet, highFleet, ok := bounds(coldFleet)
	lowDevice, highDevice, known := bounds(coldDevice)
	if !ok || !known || lowFleet != highFleet {
		return all
	}
	return within{owner{lowFleet, lowDevice}, owner{highFleet, highDevice}}
}

func eachOfGroup(ctx context.Context, file *lake.File, group int, want owners, fn func(*windowRow) error) (err error) {
	rows, err := file.ReadRows(group, 0, file.RowGroups()[group].NumRows(), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var open *windowRow // the window whose metrics may continue in the next batch
	batch := coldBatch{columns: make([][]parquet.Value, coldColumns)}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := rows.Next(coldRows)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		for c := range batch.columns {
			batch.columns[c] = rows.Column(c)
		}
		if open, err = batch.each(n, open, want, fn); err != nil {
			return err
		}
	}
	if open == nil {
		return nil
	}
	return fn(open)
}

// each passes the windows that end among n rows to fn, and returns the one that may continue
// after them.
func (b coldBatch) each(n int, open *windowRow, want owners, fn func(*windowRow) error) (*windowRow, error) {
	for i := range n {
		key := b.key(i)
		if open != nil && open.Key != key {
			if err := fn(open); err != nil {
				return nil, err
			}
			open = nil
		}
		if open == nil {
			if !want.wants(key) {
				continue
			}
			open = &windowRow{Key: key, State: ledgerDropped, Version: b.at(coldVersion, i).Int64(), cold: true}
		}
		m, err := b.metric(i)
		if err != nil {
			return nil, err
		}
		if m != nil {
			open.Metrics = append(open.Metrics, m)
		}
	}
	return open, nil
}
