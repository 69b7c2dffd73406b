package lake

import (
	"cmp"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/tests/integration/require"
)

// openFiles returns the number of files that this process has open.
func openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		require.Refused(t, "the open files of this process cannot be listed: %v", err)
	}
	return len(names)
}

// An hour of more than 2*FanIn small objects is read with at most FanIn files open. Each row is
// returned once, in order.
func TestLake_AnHourOfManyObjectsIsReadThroughFewOpenOnes(t *testing.T) {
	table := bare()
	number := func(r Ref) int64 { return r.Value(0).Int64() }
	table.At = number
	table.Compare = func(a, b Ref) int { return cmp.Compare(number(a), number(b)) }
	table.Same = func(a, b Ref) bool { return number(a) == number(b) }
	table.Covers = func(Ref, *Collector) {}
	s := opened(t, FileURL(t.TempDir()))
	const n = 2*FanIn + 10
	rows := func(i int) []int64 { // the first row of object i is also in object i-1
		at := noon.UnixMicro() + int64(i)
		return []int64{at, at + 1, at + int64(10*time.Minute/time.Microsecond)}
	}
	var want []int64
	for i := range n {
		all := rows(i)
		want = append(want, all...)
		name := NewName(DateFolder(noon), noon, noon, noon.Add(20*time.Minute))
		columns := func(dst []parquet.Value, _, from, to int) []parquet.Value {
			for _, v := range all[from:to] {
				dst = Required(dst, parquet.Int64Value(v))
			}
			return dst
		}
		body, err := table.Encode(len(all), Options{}, &Coverage{}, columns)
		if err == nil {
			err = s.PutBytes(t.Context(), name.Path(), body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	objects, err := s.Objects(t.Context(), Select{})
	if err != nil || len(objects) != n {
		t.Fatal(len(objects), err)
	}
	before, most := openFiles(t), 0
	to := noon.Add(15 * time.Minute)
	var got []int64
	err = s.Scan(t.Context(), table, objects, noon, to, func(r Ref) error {
		if got = append(got, number(r)); len(got)%100 == 1 {
			most = max(most, openFiles(t)-before)
		}
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v: %d rows of %d", err, len(got), len(want))
	}
	if left := openFiles(t) - before; left > 0 || most > FanIn {
		t.Errorf("%d files were open at once, want at most %d; %d are still open", most, FanIn, left)
	}
}
