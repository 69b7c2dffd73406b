package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// The columns that say which record a row stands for. Both tables have the
// first three; a raw event that was published again has its first delivery too.
type place struct {
	Topic     *string `parquet:"topic,optional"`
	Partition *int32  `parquet:"partition,optional"`
	Offset    *int64  `parquet:"offset,optional"`
	Delivery  *string `parquet:"delivery,optional"`
}

// delivered returns the coordinates that a row stands for, of a raw event with
// those of its first delivery. ok is false for a row that came from no log.
func (r *place) delivered(raw bool) (at event.Coordinates, ok bool, err error) {
	if raw && r.Delivery != nil {
		at, err = event.ParseCoordinates(*r.Delivery)
		return at, err == nil, err
	}
	at, ok = coordinates(r.Topic, r.Partition, r.Offset)
	return at, ok, nil
}

// origin is where a dead letter came from.
type origin struct {
	Topic     *string `parquet:"origin_topic,optional"`
	Partition *int32  `parquet:"origin_partition,optional"`
	Offset    *int64  `parquet:"origin_offset,optional"`
}

// rowsRead is how many rows are decoded at a time.
const rowsRead = 4096

// readRaw replaces an object's word by its rows.
func readRaw(ctx context.Context, s *lake.Store, f lake.Footer) (lake.Footer, []string, error) {
	return readRows(ctx, s, f, true)
}

func readDead(ctx context.Context, s *lake.Store, f lake.Footer) (lake.Footer, []string, error) {
	return readRows(ctx, s, f, false)
}

func readRows(ctx context.Context, s *lake.Store, f lake.Footer, raw bool) (lake.Footer, []string, error) {
	var c lake.Collector
	err := eachRow(ctx, s, f, func(r *place) error {
		at, ok, err := r.delivered(raw)
		if ok {
			c.Stored(at)
		}
		return err
	})
	if err == nil && !raw {
		err = eachRow(ctx, s, f, func(r *origin) error {
			if at, ok := coordinates(r.Topic, r.Partition, r.Offset); ok {
				c.Origin(at)
			}
			return nil
		})
	}
	if err != nil {
		return f, nil, fmt.Errorf("reading the rows of %s: %w", f.Key, err)
	}
	rows := c.Coverage()
	problems := compare(f.Key, "rows", f.Coverage.Stored, rows.Stored)
	problems = append(problems, compare(f.Key, "origins", f.Coverage.Origins, rows.Origins)...)
	f.Coverage.Stored, f.Coverage.Origins = rows.Stored, rows.Origins
	return f, problems, nil
}

// compare says where an object's word is not what its rows say. The rows count.
func compare(key, what string, claimed, found map[lake.Partition][]lake.Span) (problems []string) {
	for p, spans := range claimed {
		if lost := lake.NewOffsets(spans...).Minus(lake.NewOffsets(found[p]...)); lost.Count() > 0 {
			problems = append(problems, fmt.Sprintf("object %s claims %d %s of %s that are not in it, from offset %d on",
				key, lost.Count(), what, p, lost[0].First))
		}
	}
	for p, spans := range found {
		if more := lake.NewOffsets(spans...).Minus(lake.NewOffsets(claimed[p]...)); more.Count() > 0 {
			problems = append(problems, fmt.Sprintf("object %s holds %d %s of %s that it does not claim, from offset %d on",
				key, more.Count(), what, p, more[0].First))
		}
	}
	return problems
}

func coordinates(topic *string, partition *int32, offset *int64) (event.Coordinates, bool) {
	if topic == nil || partition == nil || offset == nil {
		return event.Coordinates{}, false
	}
	return event.Coordinates{Topic: *topic, Partition: *partition, Offset: *offset}, true
}

// eachRow reads some columns of all rows of an object.
func eachRow[T any](ctx context.Context, s *lake.Store, f lake.Footer, each func(*T) error) error {
	r, err := s.Open(ctx, f.Blob)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // it was only read
	file, err := parquet.OpenFile(r, r.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	reader := parquet.NewGenericReader[T](file)
	defer func() { _ = reader.Close() }()
	rows := make([]T, rowsRead)
	for {
		clear(rows)
		n, err := reader.Read(rows)
		for i := range rows[:n] {
			if err := each(&rows[i]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
