package rollup

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func names(r *windowRow) (out []string) {
	for _, m := range r.Metrics {
		out = append(out, m.Name)
	}
	return out
}

func TestRollup_RowsReadBackAsWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for range 50 {
		row := &windowRow{Key: Key{"acme", "a", noon.Unix()}}
		for range r.IntN(100) {
			e := sample{id: r.Uint64(), at: noon.UnixMicro() + r.Int64N(60e6), readings: []reading{
				{"b", r.NormFloat64()}, {"a", r.NormFloat64() * 1e6}, {"ü \"x\"", 0}}}
			row.merge(&e, func(s string) string { return s })
		}
		back := &windowRow{Key: row.Key}
		if err := back.decode(names(row), row.appendStats(nil), row.appendDetail(nil), row.appendLedger(nil)); err != nil {
			t.Fatal(err)
		}
		if diff := sameRow(row, back); diff != "" {
			t.Fatal(diff)
		}
		for i, m := range row.Metrics {
			if m.Sum != back.Metrics[i].Sum || m.Squares != back.Metrics[i].Squares {
				t.Fatal("sums changed")
			}
		}
	}
}

// A damaged row causes an error, never a panic or a wrong number of readings.
func FuzzDamagedRowsAreNoticed(f *testing.F) {
	row := &windowRow{Key: Key{"acme", "a", noon.Unix()}}
	for n := range 5 {
		row.merge(&sample{id: uint64(n), at: noon.UnixMicro(), readings: []reading{{"x", float64(n)}, {"y", -1.5}}},
			func(s string) string {
				return s
			})
	}
	f.Add(row.appendDetail(nil), row.appendLedger(nil))
	f.Fuzz(func(t *testing.T, detail, ledger []byte) {
		back := &windowRow{Key: row.Key}
		if err := back.decode(names(row), row.appendStats(nil), detail, ledger); err != nil {
			if !errors.Is(err, errCorrupt) {
				t.Error(err)
			}
			return
		}
		for i, m := range back.Metrics {
			if m.Sketch.Count() != uint64(row.Metrics[i].Count) {
				t.Error("the sketch counts otherwise than the row")
			}
		}
	})
}

func TestRollup_WindowsReadBackFromJSON(t *testing.T) {
	w := windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":1.5,"y":-2}`), testEvent(2, "a", noon, `{"x":1}`))[0]
	w.events[1].replayed = true
	raw, err := w.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var back Window
	if err := back.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	a, b := &windowRow{Key: w.Key}, &windowRow{Key: back.Key}
	for i := range w.events {
		a.merge(&w.events[i], func(s string) string { return s })
		b.merge(&back.events[i], func(s string) string { return s })
	}
	if diff := sameRow(a, b); diff != "" || w.Key != back.Key || !back.events[1].replayed {
		t.Errorf("%s: %s", raw, diff)
	}
	for _, bad := range []string{`{}`, `[]`, `{"fleet":"a","device_id":"b","bucket":"2026-11-21T12:00:01Z"}`,
		`{"fleet":"a","device_id":"b","bucket":"2026-11-21T12:00:00Z","events":[{"id":"zz","at":"2026-11-21T12:00:00Z","metrics":{}}]}`,
		`{"fleet":"a","device_id":"b","bucket":"2026-11-21T12:00:00Z","events":[{"id":"1","at":"2026-11-21T12:01:00Z","metrics":{}}]}`} {
		if err := new(Window).UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

// The stored id of an event must never change: ledgers are older than the program that reads them.
func TestRollup_LedgerIDsAreForever(t *testing.T) {
	ids := []uint64{ledgerID([16]byte{}), ledgerID([16]byte{15: 1}), ledgerID([16]byte{0: 1})}
	if want := []uint64{0xa706dd2f4d197e6f, 0x5e41ab087439611e, 0x9c8c1ca9370e13af}; !slices.Equal(ids, want) {
		t.Errorf("%#x", ids)
	}
}

// A number is written as JSON that parses to the same number.
func TestRollup_NumbersAreWrittenExactly(t *testing.T) {
	check := func(v float64) {
		text := appendNumber(nil, v)
		var back float64
		if err := json.Unmarshal(text, &back); err != nil || back != v {
			t.Fatalf("%v is written %s and read as %v (%v)", v, text, back, err)
		}
	}
	for _, v := range []float64{0, 1, -1, 0.1, -0.1, 54.41, -273.15, 0.0147, 0.01475, 1e-7, 99999.9999,
		0.30000000000000004,
		56119000, 1e10, 1e11, 99999999999.9999, 1e15, 1e16, 1 << 53, 1<<53 + 2, math.MaxFloat64,
		math.SmallestNonzeroFloat64} {
		check(v)
		check(-v)
	}
	for range 200_000 {
		check(math.Round(rand.NormFloat64()*1e6) / math.Pow10(rand.IntN(8)))
		if v := math.Float64frombits(rand.Uint64()); !math.IsNaN(v) && !math.IsInf(v, 0) {
			check(v)
		}
	}
}
