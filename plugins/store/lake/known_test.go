package lake

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"weir/internal/event"
)

var (
	p3   = Partition{Topic: "raw-events", Partition: 3}
	noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
)

func at(offset int64) event.Coordinates {
	return event.Coordinates{Topic: p3.Topic, Partition: p3.Partition, Offset: offset}
}

// Random coverages are added in random order, and old ones are sometimes forgotten. The set must
// agree with a plain map from each offset to the last time that it was written.
func TestLake_KnownAgreesWithAPlainMap(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		var k knownRecords
		model := map[int64]int64{}
		for range 1 + random.IntN(30) {
			written := random.Int64N(20)
			var c Coverage
			for range 1 + random.IntN(3) {
				first := random.Int64N(80)
				s := Span{first, first + random.Int64N(12)}
				if random.IntN(3) == 0 {
					c.Merge(Coverage{Duplicates: map[Partition][]Duplicate{p3: {{Offset: first, Of: at(1)}}}})
					s.Last = first
				} else {
					c.Merge(Coverage{Stored: map[Partition][]Span{p3: {s}}})
				}
				for o := s.First; o <= s.Last; o++ {
					if old, ok := model[o]; !ok || old < written {
						model[o] = written
					}
				}
			}
			k.Add(c, time.UnixMicro(written))
			if random.IntN(10) == 0 {
				limit := random.Int64N(20)
				k.Forget(time.UnixMicro(limit))
				for o, w := range model {
					if w < limit {
						delete(model, o)
					}
				}
			}
		}
		last := int64(-1)
		for o := int64(-1); o < 100; o++ {
			w, ok := model[o]
			if ok {
				last = o
			}
			for received := int64(1); received < 21; received++ {
				if got := k.Has(at(o), time.UnixMicro(received)); got != (ok && received <= w) {
					t.Fatalf("seed %d: offset %d received %d: got %t; written %d, %t", seed, o, received, got, w, ok)
				}
			}
			if got := k.Has(at(o), time.Time{}); got != ok {
				t.Fatalf("seed %d: offset %d: got %t, want %t", seed, o, got, ok)
			}
		}
		if got := k.Last(p3); got != last {
			t.Fatalf("seed %d: last %d, want %d", seed, got, last)
		}
	}
}

func randomCoverage(random *rand.Rand) Coverage {
	var c Collector
	for range random.IntN(4) {
		topic := fmt.Sprintf("topic/%d", random.IntN(2))
		offset := random.Int64N(1 << 40)
		for range random.IntN(50) {
			record := event.Coordinates{Topic: topic, Partition: random.Int32N(3), Offset: offset}
			switch random.IntN(5) {
			case 0:
				c.Duplicate(record, event.Coordinates{Topic: "other", Partition: random.Int32N(9), Offset: random.Int64N(1 << 41)})
			case 1:
				c.Origin(record)
			case 2:
				c.Erased(record)
			default:
				c.Stored(record)
			}
			offset += 1 + random.Int64N(3)/2
		}
	}
	return c.Coverage()
}

func TestLake_CoverageIsReadAsItWasWritten(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		c := randomCoverage(random)
		got, err := decodeCoverage(c.encode())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c, got) {
			t.Fatalf("wrote %+v\nread  %+v", c, got)
		}
	}
}

func TestLake_CoverageOfAnotherVersionIsRefused(t *testing.T) {
	for _, raw := range []string{"", "{}", `{"v":2}`, `{"v":1,"stored":{"a":[1]}}`, `{"v":1,"stored":{"a/1":[1]}}`,
		`{"v":1,"duplicates":{"a/1":{"b":[]}}}`} {
		if _, err := decodeCoverage(raw); err == nil {
			t.Errorf("%s was read", raw)
		}
	}
}

func TestLake_TheCoverageOfAFullBatchIsSmall(t *testing.T) {
	var c Collector
	for i := range int64(50_000) {
		record := event.Coordinates{Topic: "raw-events", Partition: int32(i % 30), Offset: 1e9 + i/30}
		if i%100 == 0 {
			c.Duplicate(record, event.Coordinates{Topic: "raw-events", Partition: record.Partition, Offset: record.Offset - 17})
		} else {
			c.Stored(record)
		}
	}
	coverage := c.Coverage()
	if n := len(coverage.encode()); n > 15_000 {
		t.Fatalf("the coverage of 50,000 records, 500 of them duplicates, takes %d bytes, want at most 15,000", n)
	}
}

func TestLake_ANameIsReadAsItWasWritten(t *testing.T) {
	n := NewName("date=2026-11-20/stage=raw", noon.Add(time.Hour), noon, noon.Add(1500*time.Microsecond))
	got, ok := parseName(n.Path())
	if !ok || got != n || got.Tag("stage") != "raw" {
		t.Fatalf("wrote %+v\nread  %+v", n, got)
	}
	if d, ok := got.date(); !ok || d != noon.Truncate(24*time.Hour) {
		t.Fatal(d, ok)
	}
	for _, key := range []string{"", "a.parquet", "date=2026-11-20/part-0.parquet", "date=2026-11-20/a_b_c_d.parquet",
		n.Path() + ".tmp"} {
		if _, ok := parseName(key); ok {
			t.Errorf("%q was read as the name of an object", key)
		}
	}
	for _, test := range []struct {
		from, to time.Time
		want     bool
	}{
		{time.Time{}, time.Time{}, true}, {n.Max, time.Time{}, true}, {n.Max.Add(time.Microsecond), time.Time{}, false},
		{time.Time{}, n.Min, false}, {time.Time{}, n.Min.Add(1), true},
	} {
		if got := n.overlaps(test.from, test.to); got != test.want {
			t.Errorf("[%v, %v): got %t", test.from, test.to, got)
		}
	}
}
