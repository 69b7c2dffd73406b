package raw

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/store/lake"
	"weir/tests/integration/require"
)

func TestRaw_TheStoreIsTheSameOnS3(t *testing.T) {
	u, err := url.Parse(require.Env(t, "WEIR_TEST_S3_URL"))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = fmt.Sprintf("/raw-%d", time.Now().UnixNano())
	ctx := context.Background()
	o := connected(t, fmt.Sprintf("%q", u.String()), "row_group_rows: 500")
	t.Cleanup(func() {
		_ = o.Store.List(ctx, "", func(b lake.Blob) error { return o.Store.Remove(ctx, b.Key) })
	})
	random := rand.New(rand.NewPCG(31, 1))
	var want []*Row
	for k := range 8 {
		var batch service.MessageBatch
		for i := range 400 {
			at := noon.Add(time.Duration(random.Int64N(int64(3 * time.Hour)))).Truncate(time.Millisecond)
			text := body(fmt.Sprintf("d%02d", random.IntN(30)), random.IntN(1<<30), at)
			msg := record(i%3, int64(k*400+i), text, at)
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
		if err := o.WriteBatch(ctx, batch); err != nil {
			t.Fatal(err)
		}
		again := connected(t, fmt.Sprintf("%q", u.String()), "")
		if err := again.WriteBatch(ctx, batch); err != nil { // after a restart: nothing is new
			t.Fatal(err)
		}
	}
	slices.SortFunc(want, func(a, b *Row) int {
		if d := hourOf(a.At) - hourOf(b.At); d != 0 {
			return int(d / hourMicros)
		}
		return a.before(b)
	})
	for range 2 {
		got, stats := collect(t, o, Query{})
		if !slices.Equal(got, positions(want, all)) || stats.Repeats > 0 {
			t.Fatalf("got %d events, want %d; %+v", len(got), len(want), stats)
		}
		d := want[100].Device
		if got, _ := collect(t, o, Query{Devices: []string{d}}); !slices.Equal(got, positions(want, func(r *Row) bool {
			return r.Device == d
		})) {
			t.Fatalf("got %d events of %s", len(got), d)
		}
		if _, err := o.Store.Compact(ctx, Table(), eager(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
}
