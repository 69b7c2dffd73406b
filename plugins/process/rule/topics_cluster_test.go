package rule

import (
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/tests/integration/require"
)

// One process has the partitions of one topic, another those of the other, and both write at the same
// time. Their results are those of one process that has all partitions.
func TestTopics_TwoProcessesAtOnceHaveTheResultsOfOne(t *testing.T) {
	run := func(t *testing.T, at func(testing.TB, string) *bench) {
		r := rand.New(rand.NewPCG(7, 31))
		all, _, late := twoTopics(r, 40, 5*s, 3*s, 2*s, 15*s, "outer")
		rules := joinedTopics(2*s, 15*s, 3*s, "outer")
		whole := newBench(t, rules)
		whole.apply(whole.operator(), all.interleaved(r)...)
		b := at(t, rules)
		var wait sync.WaitGroup
		for _, topic := range []string{"orders", "payments"} {
			o := b.operator()
			mine := logs{{topic, 0}: all[place{topic, 0}], {topic, 1}: all[place{topic, 1}]}
			log := mine.interleaved(r)
			wait.Go(func() {
				for until := time.Now().Add(2 * time.Minute); len(log) > 0; {
					n := min(7, len(log))
					switch err := o.WriteBatch(t.Context(), service.MessageBatch(log[:n])); {
					case err == nil: // after an error the batch is tried again, as the stream does
						log = log[n:]
					case time.Now().After(until):
						t.Error(err)
						return
					}
				}
			})
		}
		wait.Wait()
		if got, want := b.results(), whole.results(); !maps.Equal(got, want) || len(want) == 0 {
			t.Fatalf("want\n%v\ngot\n%v", want, got)
		}
		b.comeOut(4*41, late)
	}
	t.Run("sqlite", func(t *testing.T) { run(t, newBench) })
	t.Run("postgres", func(t *testing.T) {
		require.Env(t, "WEIR_TEST_POSTGRES_URL")
		run(t, func(t testing.TB, rules string) *bench {
			b := newBench(t, rules)
			b.postgres()
			return b
		})
	})
}
