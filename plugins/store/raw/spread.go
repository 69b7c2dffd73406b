package raw

import (
	"context"
	"errors"
	"hash/fnv"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// Spread returns the hours of an object's rows, each with the sum of the hashes of its
// deliveries. The sum of an hour does not depend on how its rows are distributed over
// objects. Spread reads only times and coordinates.
func Spread(ctx context.Context, store *lake.Store, o lake.Object) (sums map[time.Time]uint64, err error) {
	f, err := store.OpenFile(ctx, o.Blob)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	wanted := make([]bool, len(f.Schema().Columns()))
	for _, col := range []int{colTime, colEffectiveTime, colTopic, colPartition, colOffset, colDelivery} {
		if col < len(wanted) {
			wanted[col] = true
		}
	}
	sums = map[time.Time]uint64{}
	for g, group := range f.RowGroups() {
		if err := spread(ctx, f, g, group.NumRows(), wanted, sums); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

func spread(ctx context.Context, f *lake.File, group int, n int64, wanted []bool,
	sums map[time.Time]uint64) (err error) {
	rows, err := f.ReadRows(group, 0, n, wanted)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		n, err := rows.Next(1024)
		if n == 0 || err != nil {
			return errors.Join(err, ctx.Err())
		}
		column := func(col, i int) parquet.Value {
			if col >= len(wanted) {
				return parquet.NullValue()
			}
			return rows.Column(col)[i]
		}
		for i := range n {
			at := column(colEffectiveTime, i)
			if at.IsNull() {
				at = column(colTime, i)
			}
			h := fnv.New64a()
			var text []byte
			if v := column(colDelivery, i); !v.IsNull() {
				text = v.ByteArray()
			} else if v := column(colTopic, i); !v.IsNull() {
				text = event.Coordinates{Topic: textOf(v), Partition: column(colPartition, i).Int32(),
					Offset: column(colOffset, i).Int64()}.Append(nil)
			}
			_, _ = h.Write(text) // it never fails
			sums[time.UnixMicro(hourOf(at.Int64())).UTC()] += h.Sum64()
		}
	}
}
