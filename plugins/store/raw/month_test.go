package raw

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/store/lake"
)

// month stores thirty days of a hundred devices, an object every few hours.
func month(t testing.TB, hours int) *output {
	t.Helper()
	o := connected(t, lake.FileURL(t.TempDir()), "")
	offset := int64(0)
	for hour := 0; hour < 30*24; hour += hours {
		var batch service.MessageBatch
		for i := range 1200 {
			at := noon.Add(time.Duration(hour)*time.Hour + time.Duration(i*hours)*3*time.Second)
			batch = append(batch, record(0, offset, body(fmt.Sprintf("d%03d", i%100), int(offset), at), at))
			offset++
		}
		if err := o.WriteBatch(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// The first page of one device-day out of a month comes well under a second,
// and the scan says what it read and what names, statistics and bloom filters
// spared it.
func TestRaw_ADeviceDayOfAMonthReadsOnlyThatDay(t *testing.T) {
	o := month(t, 6)
	r := NewReader(o.Store)
	from := noon.AddDate(0, 0, 17).Truncate(24 * time.Hour)
	day := Query{From: from, To: from.AddDate(0, 0, 1), Devices: []string{"d042"}, Fleet: "acme", Parallel: 1}
	n, took := 0, time.Hour
	var stats Stats
	var err error
	for range 3 { // the best of three: the machine may be busy
		began := time.Now()
		n = 0
		stats, err = r.Scan(t.Context(), day, func(row *Row) error {
			if row.Device != "d042" {
				t.Fatal(row.Device)
			}
			if n++; n == 100 {
				return errStop
			}
			return nil
		})
		took = min(took, time.Since(began))
	}
	if err != nil || n < 40 || took > 500*time.Millisecond || stats.DaysSkipped < 28 || stats.Objects > 60 ||
		stats.Rows > 60*1200/10 {
		t.Fatalf("%d events in %s: %+v, %v", n, took, stats, err)
	}
	hour := Query{From: from.Add(12 * time.Hour), To: from.Add(13 * time.Hour), Fleet: "acme"}
	if stats, err = r.Scan(t.Context(), hour, func(*Row) error {
		return nil
	}); err != nil || stats.ObjectsSkipped == 0 || stats.Events == 0 {
		t.Fatalf("objects of other hours are skipped by name: %+v, %v", stats, err)
	}
	day.Devices = []string{"d042x"} // between others, so that only a bloom filter can tell
	if stats, err = r.Scan(t.Context(), day, func(*Row) error {
		return nil
	}); err != nil || stats.BloomSkipped == 0 || stats.GroupsSkipped == 0 || stats.Rows > 1200 {
		t.Fatalf("a device that is not there is ruled out unread: %+v, %v", stats, err)
	}
}

// BenchmarkFirstPageOfADeviceDay reads a hundred events of one device's day out
// of a month of a hundred devices, an object an hour.
func BenchmarkFirstPageOfADeviceDay(b *testing.B) {
	o := month(b, 1)
	from := noon.AddDate(0, 0, 17).Truncate(24 * time.Hour)
	for b.Loop() {
		n := 0
		stats, err := NewReader(o.Store).Scan(context.Background(), Query{
			From: from, To: from.AddDate(0, 0, 1), Devices: []string{"d042"}, Fleet: "acme", Parallel: 1,
		}, func(*Row) error {
			if n++; n == 100 {
				return errStop
			}
			return nil
		})
		if err != nil || n != 100 {
			b.Fatal(n, err, stats)
		}
	}
}
