package identity

import (
	"fmt"
	"testing"
	"time"

	"weir/tests/integration/testbed"
)

// visits are events of visitors from the nth on, each on a device of their own, under
// ids as long as the tokens that privacy makes.
func visits(n, count, visitors int) (seen []Seen) {
	now := time.Now()
	for i := range count {
		v := (n + i) % visitors
		seen = append(seen, Seen{Device: fmt.Sprintf("press-%05d", v), User: fmt.Sprintf("pii-field-k1-%043d", v), At: now,
			Received: now})
	}
	return seen
}

// What it costs to note who was seen where: visitors who are new, and two hundred
// thousand who come again and again, one after the other.
func BenchmarkIdentity_Note(b *testing.B) {
	const batch = 1000
	for _, bench := range []struct {
		name     string
		visitors int
	}{{"new", 1 << 40}, {"returning", 200_000}} {
		b.Run(bench.name, func(b *testing.B) {
			s, err := Open(b.Context(), testbed.SQLite(b))
			if err != nil {
				b.Fatal(err)
			}
			note := func(n int) {
				if _, err := s.Note(b.Context(), "shop", "bench", visits(n, batch, bench.visitors)); err != nil {
					b.Fatal(err)
				}
			}
			n := 0
			for ; bench.visitors < 1<<40 && n < bench.visitors; n += batch {
				note(n)
			}
			b.ReportAllocs()
			for b.Loop() {
				note(n)
				n += batch
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch/1000, "µs/event")
		})
	}
}
