package rule

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

const keyedRules = `rules:
  - { name: spent, across_devices: true, key: [this.user.id, this.metrics.w], select: { n: count() },
      window: { type: tumbling, size: 10m, allowed_lateness: 0s } }
  - { name: either, across_devices: true, key: [this.user.id.or(this.device_id)], select: { n: count() },
      window: { type: tumbling, size: 24h, allowed_lateness: 1h } }
  - { name: kinds, across_devices: true, key: [this.device_firmware_version], select: { n: count() },
      window: { type: tumbling, size: 10m, allowed_lateness: 0s } }
`

// Sums whose key is somebody's id go with the person: what was told and what is open, in rows or in the journal alone.
// Sums of others stay, as do those of a key that happens to read as the name, and nothing is brought back by whoever
// reads the partition anew.
func TestSketches_SumsOfAPersonsKeyGo(t *testing.T) {
	onBothOf(t, keyedRules, func(b *bench) {
		const gone = `ben "3"_%`
		ctx, o := b.Context(), b.operator()
		send := func(from, n int) {
			for i := range n {
				raw := at(time.Duration(from+i)*time.Minute, 1)
				raw = strings.Replace(raw, `"v":`, fmt.Sprintf(`"w":%d,"v":`, i%2), 1)
				if i%4 > 0 {
					who := []string{"ann", `ben \"3\"_%`, "ben"}[i%3]
					raw = strings.Replace(raw, `{"event_id"`, fmt.Sprintf(`{"user":{"id":"%s"},"event_id"`, who), 1)
				}
				b.apply(o, message(0, int64(from+i), raw))
			}
		}
		send(0, 45)
		o.writeRows(b.TB)
		send(45, 16)
		db := b.open()
		holding := func(name string) (results, states int64) {
			b.Helper()
			for _, raw := range b.results() {
				results += int64(bit(strings.Contains(raw, name)))
			}
			if err := sqldb.Each(ctx, db, func(row sqldb.Row) error {
				key, err := sqldb.Value[string](row)
				states += int64(bit(strings.Contains(key, name)))
				return err
			}, `SELECT key FROM rule_state`); err != nil {
				b.Fatal(err)
			}
			return results, states
		}
		results, states := holding(`"ben \"3\"_%"`)
		others, _ := holding(`"ann"`)
		if results < 8 || states == 0 || others < 8 || len(b.journal()) == 0 {
			b.Fatalf("%d results, %d states; %d of another, %d bytes of a journal", results, states, others, len(b.journal()))
		}
		all := len(b.results())
		counted, err := countListed(ctx, db, "plant-1", gone)
		if err != nil || counted[countResults] != results {
			b.Errorf("%v of %d: %v", counted, results, err)
		}
		target := tombstone.Target{Job: "job", Fleet: "plant-1", Device: gone, Name: true, Until: time.Now().UnixMicro()}
		version := target
		version.Job, version.Device = "version", "2.0.0" // kinds has it as a key
		if n, _ := holding(`"2.0.0"`); n == 0 {
			b.Fatal("no key reads as the name")
		}
		for _, one := range []tombstone.Target{version, target, target} {
			if err := eraseListed(ctx, db, one); err != nil {
				b.Fatal(err)
			}
		}
		if r, s := holding("ben \\\"3"); r != 0 || s != 0 {
			b.Errorf("%d results and %d states have the id", r, s)
		}
		if n := len(b.results()); n != all-int(results) {
			b.Errorf("%d results of %d, of which %d were the person's", n, all, results)
		}
		counts := map[string]int64{}
		if err := tombstone.Counts(ctx, db, "job", counts); err != nil || counts[countResults] != results ||
			counts[countState] == 0 {
			b.Errorf("noted %v of %d results: %v", counts, results, err)
		}
		none := map[string]int64{}
		if err := tombstone.Counts(ctx, db, "version", none); err != nil || len(none) > 0 {
			b.Errorf("of a name that only other keys have, %v went: %v", none, err)
		}
		o = b.operator() // killed
		b.apply(o, message(0, 61, at(61*time.Minute, 1)), message(0, 62, at(80*time.Minute, 1)),
			message(0, 63, at(60*time.Hour, 1)))
		if r, s := holding("ben \\\"3"); r != 0 || s != 0 {
			b.Errorf("read anew, %d results and %d states have the id", r, s)
		}
		if n, _ := holding(`"ann"`); n <= others {
			b.Errorf("%d results of another, and %d before", n, others)
		}
	})
}

// The proof does not judge a sum whose key was erased while its window was open: what came between the moment of the
// erasure and its deletion is stored, and went with the key.
func TestSketches_KeysErasedInTheirWindowAreNotJudged(t *testing.T) {
	b := newBench(t, keyedRules)
	var log []*service.Message
	for i := range 40 {
		raw := at(time.Duration(i)*time.Minute, 1)
		who := []string{"ann", "ben"}[i%2]
		raw = strings.Replace(raw, `{"event_id"`, fmt.Sprintf(`{"user":{"id":"%s"},"event_id"`, who), 1)
		log = append(log, message(0, int64(i), unique(raw, 0, int64(i))))
	}
	log = append(log, message(0, 40, unique(at(60*time.Hour, 1), 0, 40)))
	o, db := b.operator(), b.open()
	b.apply(o, log[:20]...)
	target := tombstone.Target{Job: "job", Fleet: "plant-1", Device: "ben", Name: true,
		Until: noon().Add(15 * time.Minute).UnixMicro()}
	if err := errors.Join(tombstone.Bury(t.Context(), db, target.Stone()),
		eraseListed(t.Context(), db, target)); err != nil {
		t.Fatal(err)
	}
	b.apply(o, log[20:]...)
	got := b.recomputed(stored(t, log))
	if len(got.Differing) > 0 || got.Skipped[SkippedChanged] == 0 || got.Right == 0 {
		t.Errorf("%+v", got)
	}
}
