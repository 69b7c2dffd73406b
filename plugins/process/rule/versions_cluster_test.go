package rule

import (
	"fmt"
	"sync"
	"testing"

	"weir/tests/integration/require"
)

// Activations at the same time are recorded one after the other, and none fails.
func TestVersions_ActivationsAtOnceComeOneAfterTheOther(t *testing.T) {
	require.Env(t, "WEIR_TEST_POSTGRES_URL")
	b := newBench(t, perMinute)
	b.postgres()
	b.operator()
	v := b.versions()
	var numbers []int64
	for i := range 4 {
		kept, err := v.Put(t.Context(), perMinute+fmt.Sprintf("\n# %d\n", i), "ann", "")
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, kept.Number)
	}
	for range 10 {
		before, err := v.Active(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		for _, n := range numbers {
			wait.Go(func() {
				if _, err := v.Activate(t.Context(), n, "ann"); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		after, err := v.Active(t.Context())
		if err != nil || after.seq < before.seq+3 || after.seq > before.seq+4 {
			t.Errorf("from %+v to %+v, %v", before, after, err)
		}
	}
}
