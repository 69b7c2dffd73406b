package raw

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// history writes random events to a store in many small objects, some
// deliveries twice, and returns each delivery's row as a scan must give it.
func history(t testing.TB, random *rand.Rand, conf string) (*output, []*Row) {
	t.Helper()
	return historyOver(t, random, conf, 60*time.Hour)
}

// historyOver is a history of events of so long a time from noon.
func historyOver(t testing.TB, random *rand.Rand, conf string, length time.Duration) (*output, []*Row) {
	t.Helper()
	o := connected(t, lake.FileURL(t.TempDir()), conf)
	var want []*Row
	offset := int64(0)
	for k := range 12 {
		var batch service.MessageBatch
		for range 40 + random.IntN(100) {
			at := noon.Add(time.Duration(random.Int64N(int64(length)))).Truncate(time.Millisecond)
			text := body(fmt.Sprintf("d%02d", random.IntN(30)), random.IntN(1<<30), at)
			msg := record(random.IntN(3), offset, text, at)
			offset++
			if random.IntN(20) == 0 {
				msg.MetaSetMut(event.HeaderFleet, "other")
			}
			batch = append(batch, msg)
			var e event.Event
			if err := event.Parse([]byte(text), &e); err != nil {
				t.Fatal(err)
			}
			r := new(Row)
			c, _, _ := event.CoordinatesOf(msg)
			r.fill(&e, msg, &place{record: c, delivery: c, logged: true}, at)
			want = append(want, r)
		}
		o.now = func() time.Time { return noon.AddDate(0, 0, 5).Add(time.Duration(k) * time.Minute) }
		if err := o.WriteBatch(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		if k%4 == 0 { // another owner stores some of the same records
			twin := connected(t, o.URL, "")
			twin.now, twin.Memory = o.now, lake.NewMemory(o.Store, 0)
			if err := twin.WriteBatch(context.Background(), batch[:len(batch)/2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.SortFunc(want, func(a, b *Row) int {
		if d := hourOf(a.At) - hourOf(b.At); d != 0 {
			return int(d / hourMicros)
		}
		return a.before(b)
	})
	return o, want
}

func collect(t testing.TB, o *output, q Query) ([]Position, Stats) {
	t.Helper()
	var got []Position
	stats, err := NewReader(o.Store).Scan(context.Background(), q, func(r *Row) error {
		got = append(got, PositionOf(r))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, stats
}

func TestRaw_AnHourOfManyObjectsIsReadThroughFewOpenOnes(t *testing.T) {
	o, rows := historyOver(t, rand.New(rand.NewPCG(6, 6)), "", 2*time.Hour)
	r := NewReader(o.Store)
	r.fanIn = 4
	for _, q := range []Query{{}, {Devices: []string{rows[5].Device}, Fleet: "acme"}} {
		var got []Position
		if _, err := r.Scan(context.Background(), q, func(row *Row) error {
			got = append(got, PositionOf(row))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if want := positions(rows, func(r *Row) bool {
			return q.Devices == nil || r.Device == q.Devices[0] && r.Fleet == "acme"
		}); !slices.Equal(got, want) {
			t.Fatalf("got %d events, want %d", len(got), len(want))
		}
	}
}

func positions(rows []*Row, keep func(*Row) bool) []Position {
	var out []Position
	for _, r := range rows {
		if keep(r) {
			out = append(out, PositionOf(r))
		}
	}
	return out
}

func TestRaw_AScanGivesEachWantedEventOnceAndInOrder(t *testing.T) {
	for seed := range uint64(2) {
		random := rand.New(rand.NewPCG(seed, 7))
		o, rows := history(t, random, "row_group_rows: 20")
		for range 12 {
			q := Query{Parallel: 1 + random.IntN(4)}
			if random.IntN(2) == 0 {
				q.From = noon.Add(time.Duration(random.Int64N(int64(50 * time.Hour))))
			}
			if random.IntN(2) == 0 {
				q.To = noon.Add(time.Duration(random.Int64N(int64(70 * time.Hour))))
			}
			if random.IntN(3) == 0 {
				q.Fleet = "other"
			}
			for range random.IntN(4) {
				q.Devices = append(q.Devices, fmt.Sprintf("d%02d", random.IntN(40)))
			}
			if random.IntN(4) == 0 {
				q.Metric = []string{"cpu_temp", "none"}[random.IntN(2)]
			}
			if random.IntN(2) == 0 {
				p := PositionOf(rows[random.IntN(len(rows))])
				q.After = &p
			}
			want := positions(rows, func(r *Row) bool {
				return (q.From.IsZero() || r.At >= q.From.UnixMicro()) && (q.To.IsZero() || r.At < q.To.UnixMicro()) &&
					(q.Fleet == "" || r.Fleet == q.Fleet) && (q.Devices == nil || slices.Contains(q.Devices, r.Device)) &&
					q.Metric != "none" && (q.After == nil || hourOf(r.At) > hourOf(q.After.At) || hourOf(r.At) == hourOf(q.After.At) &&
					q.After.before(r))
			})
			got, stats := collect(t, o, q)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, query %+v (after %+v): got %d events, want %d; %+v", seed, q, q.After, len(got), len(want),
					stats)
			}
		}
	}
}

func TestRaw_WhatStatisticsAndBloomFiltersRuleOutIsNotRead(t *testing.T) {
	o, rows := history(t, rand.New(rand.NewPCG(1, 1)), "row_group_rows: 20")
	if _, stats := collect(t, o, Query{Devices: []string{"d05x"}}); stats.Rows > 0 || stats.BloomSkipped == 0 {
		t.Fatalf("an absent device: %+v", stats)
	}
	_, all := collect(t, o, Query{})
	_, one := collect(t, o, Query{Devices: []string{rows[0].Device}, From: time.UnixMicro(rows[0].At),
		To: time.UnixMicro(rows[0].At + 1)})
	if one.Events != 1 || one.Rows*5 > all.Rows || one.Objects*2 > all.Objects {
		t.Fatalf("one event: %+v, all: %+v", one, all)
	}
}

func TestRaw_AScanStopsWhenItIsToldTo(t *testing.T) {
	o, _ := history(t, rand.New(rand.NewPCG(2, 2)), "")
	n := 0
	if _, err := NewReader(o.Store).Scan(context.Background(), Query{}, func(*Row) error {
		if n++; n == 10 {
			return errStop
		}
		return nil
	}); err != nil || n != 10 {
		t.Fatal(n, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := NewReader(o.Store).Scan(ctx, Query{}, func(*Row) error { cancel(); return nil }); err == nil {
		t.Fatal("a cancelled scan returned no error")
	}
}

func TestRaw_AnEstimateReadsNoEvent(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "")
	offset := int64(0)
	for hour := range 3 {
		var batch service.MessageBatch
		for i := range 2000 {
			at := noon.Add(time.Duration(hour)*time.Hour + time.Duration(i)*time.Second)
			batch = append(batch, record(0, offset, body(fmt.Sprintf("d%03d", i%100), int(offset), at), at))
			offset++
		}
		if err := o.WriteBatch(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(o.Store)
	for want, q := range map[int64]Query{
		6000: {}, 2000: {From: noon.Add(time.Hour), To: noon.Add(2 * time.Hour)}, 0: {Devices: []string{"e1"}},
		6001: {Devices: []string{"d001", "d002"}},
	} {
		size, err := r.Estimate(t.Context(), q)
		n := size.Events
		if (n > 0) != (size.Objects > 0) || size.Objects > 3 || size.Bytes < 100*size.Objects {
			t.Errorf("%+v: %+v", q, size)
		}
		if err != nil || n > want || want <= 6000 && n != want || want == 6001 && n < 120 {
			t.Errorf("%+v: about %d of %d, %v", q, n, want, err)
		}
	}
}

// A scan that may decode so many rows ends behind them, whatever they are of.
func TestRaw_AScanDecodesNoMoreThanItMay(t *testing.T) {
	o, rows := history(t, rand.New(rand.NewPCG(9, 1)), "")
	scan := func(most int64, q Query) (events int, left int64, err error) {
		q.Parallel, q.Left = 1, new(atomic.Int64)
		q.Left.Store(most)
		_, err = NewReader(o.Store).Scan(t.Context(), q, func(*Row) error { events++; return nil })
		return events, q.Left.Load(), err
	}
	if n, left, err := scan(1<<40, Query{}); err != nil || n == 0 || 1<<40-left < int64(len(rows)) {
		t.Fatalf("%d events of %d, %d rows: %v", n, len(rows), 1<<40-left, err)
	}
	if n, left, err := scan(100, Query{Fleet: "other"}); !errors.Is(err, ErrTooMany) || n > 100 || left >= 0 {
		t.Errorf("of few among many: %d events, %d left: %v", n, left, err)
	}
}
