package reconcile

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

func at(partition int32, offset int64) event.Coordinates {
	return event.Coordinates{Topic: "raw-events", Partition: partition, Offset: offset}
}

func part(n int32) lake.Partition { return lake.Partition{Topic: "raw-events", Partition: n} }

// TestReconcile_EveryRecordIsJudgedOnceAndRightly plays random fates of records and holds
// the judgement to a naive one, record by record.
func TestReconcile_EveryRecordIsJudgedOnceAndRightly(t *testing.T) {
	const records, partitions = 60, 2
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 5))
		reaches := map[lake.Partition]reach{}
		type fate struct {
			stored, erased, dead bool
			of                   *event.Coordinates
		}
		fates := map[event.Coordinates]*fate{}
		e := newEvidence()
		for n := range int32(partitions) {
			reaches[part(n)] = reach{first: rng.Int64N(10), end: records, committed: rng.Int64N(records + 1)}
			for o := range int64(records) {
				f := &fate{stored: rng.IntN(3) > 0, erased: rng.IntN(9) == 0, dead: rng.IntN(8) == 0}
				if rng.IntN(5) == 0 {
					of := at(rng.Int32N(partitions), rng.Int64N(records))
					f.of = &of
				}
				fates[at(n, o)] = f
				c := lake.Coverage{}
				one := map[lake.Partition][]lake.Span{part(n): {{First: o, Last: o}}}
				if f.stored {
					c.Stored = one
				}
				if f.erased {
					c.Erased = one
				}
				if f.dead {
					c.Origins = one
				}
				if f.of != nil {
					c.Duplicates = map[lake.Partition][]lake.Duplicate{part(n): {{Offset: o, Of: *f.of}}}
				}
				e.merge(c)
			}
		}
		e.tidy()
		// explained tells whether a record has a place in the end, or may get one.
		var explained func(c event.Coordinates, depth int) verdict
		explained = func(c event.Coordinates, depth int) verdict {
			f, p := fates[c], reaches[lake.PartitionOf(c)]
			switch {
			case depth > 200:
				return unproven // a circle
			case f.stored || f.erased || f.dead:
				return proven
			case f.of != nil && *f.of != c:
				return explained(*f.of, depth+1)
			case c.Offset >= p.committed:
				return pending
			}
			return unproven
		}
		for n := range int32(partitions) {
			r := reaches[part(n)]
			f := e.judge(part(n), r, reaches)
			if got := f.counts(r); got.Accepted !=
				got.Stored+got.Erased+got.Duplicates+got.DeadLettered+got.Other+got.InFlight+got.Unexplained {
				t.Fatalf("seed %d: %+v does not add up", seed, got)
			}
			for o := range int64(records) {
				fate := fates[at(n, o)]
				want := "unexplained"
				switch {
				case o < r.first:
					want = ""
				case fate.stored:
					want = "stored"
				case fate.erased:
					want = "erased"
				case fate.of != nil && explained(*fate.of, 0) == proven:
					want = "duplicate"
				case fate.dead:
					want = "dead"
				case o >= r.committed, fate.of != nil && explained(*fate.of, 0) == pending:
					want = "in flight"
				}
				var got []string
				for name, set := range map[string]lake.Offsets{"stored": f.stored, "erased": f.erased, "duplicate": f.duplicates,
					"dead":  f.dead,
					"other": f.other, "in flight": f.inFlight, "unexplained": f.unexplained} {
					if set.Has(o) {
						got = append(got, name)
					}
				}
				if strings.Join(got, "+") != want {
					t.Fatalf("seed %d: %s is %v, expected %s", seed, at(n, o), got, want)
				}
			}
		}
	}
}

func TestReconcile_ADuplicateOfNothingIsALoss(t *testing.T) {
	e := newEvidence()
	e.merge(lake.Coverage{
		Stored: map[lake.Partition][]lake.Span{part(0): {{First: 0, Last: 4}}},
		Duplicates: map[lake.Partition][]lake.Duplicate{part(0): {
			{Offset: 5, Of: at(0, 1)},           // proven
			{Offset: 6, Of: at(0, 7)},           // of nothing
			{Offset: 8, Of: at(0, 9)},           // a circle
			{Offset: 9, Of: at(0, 8)},           //
			{Offset: 10, Of: at(0, 5)},          // of a proven duplicate
			{Offset: 11, Of: at(0, 11)},         // of itself
			{Offset: 12, Of: at(3, 1)},          // of a partition that nobody knows
			{Offset: 13, Of: at(0, 15)},         // of one in flight
			{Offset: 14, Of: at(0, 1_000_000)}}, // of one that is not there
		},
	})
	e.tidy()
	reaches := map[lake.Partition]reach{part(0): {first: 0, end: 20, committed: 15}}
	f := e.judge(part(0), reaches[part(0)], reaches)
	want := lake.NewOffsets(lake.Span{First: 6, Last: 9}, lake.Span{First: 11, Last: 12}, lake.Span{First: 14, Last: 14})
	if f.unexplained.Minus(want).Count() != 0 || want.Minus(f.unexplained).Count() != 0 {
		t.Errorf("unexplained: %v, expected %v", f.unexplained, want)
	}
	if !f.inFlight.Has(13) || !f.duplicates.Has(5) || !f.duplicates.Has(10) {
		t.Errorf("%+v", f)
	}
}

func TestReconcile_TheReportNamesEveryRange(t *testing.T) {
	r := &Report{Total: Counts{Accepted: 10, Stored: 7, Unexplained: 3}, Problems: []string{"an object lies"},
		Partitions: []PartitionReport{{
			Topic: "raw-events", Partition: 3, First: 5, End: 15, Counts: Counts{Accepted: 10, Stored: 7, Unexplained: 3},
			Ranges: []Range{{7, 8, "gone"}, {11, 11, "odd"}},
		}}}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"raw-events/3", "5-14", "offsets 7-8: gone", "offsets 11-11: odd",
		"PROBLEM an object lies", "3 of 10 records are unexplained"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, b.String())
		}
	}
	if !r.Loss() {
		t.Error("no loss?")
	}
}

func TestReconcile_RangesCarryTheirFirstReason(t *testing.T) {
	got := ranges(lake.Offsets{{First: 0, Last: 9}}, []reason{
		{set: lake.Offsets{{First: 3, Last: 4}}, text: "a"}, {set: nil, text: "nothing"},
		{set: lake.Offsets{{First: 4, Last: 6}}, text: "b"}, {rest: true, text: "c"},
	})
	want := []Range{{0, 2, "c"}, {3, 4, "a"}, {5, 6, "b"}, {7, 9, "c"}}
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%v", got)
		}
	}
}

// A term of its own that the metric lacked would make its sum less than the log.
func TestCounts_TermsAreAllThatAcceptedIsTheSumOf(t *testing.T) {
	var c Counts
	all := reflect.ValueOf(&c).Elem()
	sum := int64(0)
	for i := range all.NumField() {
		if name := all.Type().Field(i).Name; name != "Accepted" && name != "FalseDuplicates" {
			all.Field(i).SetInt(1 << i)
			sum += 1 << i
		}
	}
	for _, n := range c.terms() {
		sum -= n
	}
	if sum != 0 {
		t.Errorf("the terms lack %b", sum)
	}
}
