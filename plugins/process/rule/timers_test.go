package rule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// In whatever order timers are added and taken, next returns the earliest time, and take all keys that
// were added for it.
func TestTimers_AreTakenInTheOrderOfTime(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		var have timers
		want := map[int64][]string{}
		for step := range 300 {
			if r.IntN(3) > 0 || len(want) == 0 {
				at, name := int64(r.IntN(1+int(seed%60)*3)), fmt.Sprint(step)
				have.add(at, &keyState{name: name})
				want[at] = append(want[at], name)
				continue
			}
			first := int64(never)
			for at := range want {
				first = min(first, at)
			}
			if at := have.next(); at != first {
				t.Fatalf("seed %d, step %d: the next is due at %d, expected %d", seed, step, at, first)
			}
			if keys := have.take(first + 1); len(keys) > 0 {
				t.Fatalf("seed %d, step %d: %d keys are due at a time that is not the next", seed, step, len(keys))
			}
			var names []string
			for _, k := range have.take(first) {
				names = append(names, k.name)
			}
			slices.Sort(names)
			slices.Sort(want[first])
			if !slices.Equal(names, want[first]) {
				t.Fatalf("seed %d, step %d: due at %d are %v, expected %v", seed, step, first, names, want[first])
			}
			delete(want, first)
		}
	}
}

func TestTimers_NothingIsDueWithoutTimers(t *testing.T) {
	var none timers
	if none.next() != never || none.take(0) != nil {
		t.Error("something is due without timers")
	}
}

// The cost of adding a timer and taking it, for keys that are due one after the other, as sessions are,
// and for many that are due at once, as the windows of a minute are.
func BenchmarkTimers(b *testing.B) {
	const keys = 20_000
	k := &keyState{}
	for name, due := range map[string]func(r *rand.Rand) int64{
		"apart":    func(r *rand.Rand) int64 { return r.Int64N(1_800_000_000) },
		"together": func(*rand.Rand) int64 { return 60_000_000 },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := rand.New(rand.NewPCG(1, 2))
				var t timers
				for range keys {
					t.add(due(r), k)
				}
				for at := t.next(); at != never; at = t.next() {
					t.take(at)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
		})
	}
}
