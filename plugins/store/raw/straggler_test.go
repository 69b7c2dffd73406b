package raw

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/store/lake"
)

func TestRaw_StragglersDoNotMakeEveryHourReadEverything(t *testing.T) {
	ctx := context.Background()
	random := rand.New(rand.NewPCG(51, 1))
	o := connected(t, lake.FileURL(t.TempDir()), "")
	morning := noon.Truncate(24 * time.Hour)
	offset := int64(0)
	for k := range 40 { // ten hours of batches, each with a few events of any time of the day
		var batch service.MessageBatch
		for i := range 1000 {
			at := morning.Add(time.Duration(k)*15*time.Minute + time.Duration(i)*10*time.Millisecond)
			if i%50 == 0 {
				at = morning.Add(time.Duration(random.Int64N(int64(24 * time.Hour)))).Truncate(time.Millisecond)
			}
			batch = append(batch, record(0, offset, body(fmt.Sprintf("d%02d", i%40), int(offset), at), noon))
			offset++
		}
		if err := o.WriteBatch(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, most int64, objects int) {
		t.Helper()
		_, stats := collect(t, o, Query{})
		found, err := o.Store.Objects(ctx, lake.Select{})
		if err != nil || stats.Events != offset || stats.Rows > most*offset/100 || len(found) > objects {
			t.Fatalf("%s: %+v in %d objects: %v", when, stats, len(found), err)
		}
	}
	check("as written", 160, 80)
	c := lake.DefaultCompaction()
	for range 2 {
		if _, err := o.Store.Compact(ctx, Table(), c, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	check("compacted", 160, 12) // one an hour, and one of the stragglers
	c.WideSize = 0
	for range 2 {
		if _, err := o.Store.Compact(ctx, Table(), c, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	check("with many stragglers", 101, 40)
}
