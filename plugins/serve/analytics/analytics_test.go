package analytics

import (
	"math/rand/v2"
	"os"
	"testing"
)

func read(t testing.TB, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// An amount is divided whole, and each part is its exact share but for less than
// one unit.
func TestSplit_LeavesNothing(t *testing.T) {
	if got := split(100, []share{{"a", 1}, {"b", 1}, {"c", 1}}); got[0] != 34 || got[1] != 33 || got[2] != 33 {
		t.Errorf("a hundred among three: %d", got)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		amount, total := r.Int64N(2_000_000_000_001)-1_000_000_000_000, int64(0)
		shares := make([]share, 1+r.IntN(6))
		for i := range shares {
			shares[i] = share{label(rune('a' + i)), 1 + r.Int64N(200)}
			total += shares[i].Count
		}
		sum := int64(0)
		for i, part := range split(amount, shares) {
			sum += part
			exact := float64(amount) * float64(shares[i].Count) / float64(total)
			if off := float64(part) - exact; off >= 1.001 || off <= -1.001 {
				t.Fatalf("%d of %d for %d of %d", part, amount, shares[i].Count, total)
			}
		}
		if sum != amount {
			t.Fatalf("the parts of %d are %d", amount, sum)
		}
	}
}
