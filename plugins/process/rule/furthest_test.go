package rule

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/sqldb"
)

const funnelRules = `rules:
  - name: funnel_buy
    key: [device_id]
    pattern:
      match: viewed (-> added (-> ordered)?)?
      within: 1h
      skip: next
      define: { viewed: this.metrics.w < 3, added: this.metrics.w == 3, ordered: this.metrics.w == 4 }
    select: { viewed: viewed.timestamp, added: added.timestamp, ordered: ordered.timestamp }
  - { name: minute, key: [device_id], window: { type: tumbling, size: 1h, allowed_lateness: 1h }, select: { n: count() } }
`

// crowd returns a log of two partitions, with n events of so many devices in nine hours. They are out
// of order by less than the delay, but for some that are late.
func crowd(r *rand.Rand, n, devices int) (all []*service.Message) {
	var offsets [2]int64
	for i := range n {
		at := noon().Add(time.Duration(i) * 9 * time.Hour / time.Duration(n))
		at = at.Add(-time.Duration(r.IntN(4000)) * time.Millisecond)
		if r.IntN(30) == 0 {
			at = at.Add(-time.Duration(r.IntN(7200)) * time.Second)
		}
		d := r.IntN(devices)
		raw := fmt.Sprintf(`{"event_id":"%08x-0000-4000-8000-%012x","device_id":"pump-%d","device_firmware_version":"2.0.0",`+
			`"timestamp":%q,"metrics":{"w":%d}}`, r.Uint32(), i, d, at.Format("2006-01-02T15:04:05.000000Z"), 1+r.IntN(4))
		all = append(all, message(d%2, offsets[d%2], raw))
		offsets[d%2]++
	}
	for p := range 2 { // after these all matches are decided
		raw := strings.Replace(at(24*time.Hour, 1), "pump-1", fmt.Sprintf("last-%d", p), 1)
		all = append(all, message(p, offsets[p], raw))
	}
	return all
}

// tallied is what a funnel comes to, counted from its results one by one.
type tallied struct {
	entries, devices int64
	steps            []int64
}

func (b *bench) open() *sqldb.DB {
	b.Helper()
	db, err := sqldb.Open(b.Context(), b.url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	return db
}

func ofRange(from, to time.Time) Query {
	return Query{Fleet: "plant-1", Rule: "funnel_buy", From: from, To: to}
}

func (b *bench) tallied(db *sqldb.DB, q Query) tallied {
	b.Helper()
	t, furthest := tallied{steps: make([]int64, 3)}, map[string]int{}
	if err := Each(b.Context(), db, q, func(_ string, raw []byte) error {
		told := parseTold(b.TB, raw)
		made := 0
		for _, step := range []string{"viewed", "added", "ordered"} {
			if told.Values[step] == nil {
				break
			}
			made++
		}
		t.entries++
		device := told.Key["device_id"].(string)
		furthest[device] = max(furthest[device], made)
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	t.devices = int64(len(furthest))
	for _, made := range furthest {
		for i := range made {
			t.steps[i]++
		}
	}
	return t
}

// agrees checks that sums agree with the results: exactly, or within the error of an estimate.
func (b *bench) agrees(db *sqldb.DB, q Query, most int) {
	b.Helper()
	want := b.tallied(db, q)
	sum, err := SumFunnel(b.Context(), db, q, most)
	if err != nil {
		b.Fatalf("%s to %s: %v", q.From, q.To, err)
	}
	near := func(got, want int64) bool {
		off := float64(got - want)
		return off == 0 || !sum.Exact() && want > exactDistinct/2 && max(off, -off) <= 0.065*float64(want)
	}
	began, steps := sum.Devices()
	if sum.Entries != want.entries || !near(began, want.devices) || want.entries > 0 && len(steps) != 3 {
		b.Errorf("%s to %s: %d of %d entries, %d of %d devices, %v", q.From, q.To, sum.Entries, want.entries, began,
			want.devices, steps)
	}
	for i, step := range steps {
		if step.Name != []string{"viewed", "added", "ordered"}[i] || !near(step.Devices, want.steps[i]) {
			b.Errorf("%s to %s: %v, want %d", q.From, q.To, steps, want.steps)
		}
	}
}

// whole returns a range of whole hours that has all results.
func whole() Query { return ofRange(noon().Add(-24*time.Hour), noon().Add(48*time.Hour)) }

// everyHour checks that the sums of each hour are, byte for byte, those of its results.
func (b *bench) everyHour(db *sqldb.DB) {
	b.Helper()
	want := map[int64]*Furthest{}
	if err := sqldb.Each(b.Context(), db, func(row sqldb.Row) error {
		var device string
		var end int64
		var raw []byte
		if err := row.Scan(&device, &end, &raw); err != nil {
			return err
		}
		if want[hourOf(end)] == nil {
			want[hourOf(end)] = &Furthest{}
		}
		return want[hourOf(end)].addResult(device, raw)
	}, `SELECT device_id, window_end, result FROM rule_result WHERE rule = 'funnel_buy'`); err != nil {
		b.Fatal(err)
	}
	got := map[int64]*Furthest{}
	if err := sqldb.Each(b.Context(), db, func(row sqldb.Row) error {
		var hour, entries, due int64
		var steps []byte
		if err := row.Scan(&hour, &entries, &due, &steps); err != nil {
			return err
		}
		sum, err := decodeFurthest(steps)
		if err != nil || due == 1 {
			return errors.Join(err, fmt.Errorf("hour %d is due: %d", hour, due))
		}
		if sum.Entries = entries; got[hour] == nil {
			got[hour] = &Furthest{}
		}
		got[hour].merge(sum)
		return nil
	}, `SELECT hour, entries, due, steps FROM rule_furthest`); err != nil {
		b.Fatal(err)
	}
	if len(got) != len(want) || len(want) < 8 {
		b.Errorf("sums of %d hours, results of %d", len(got), len(want))
	}
	for hour, sum := range want {
		if got[hour] == nil || got[hour].Entries != sum.Entries || !bytes.Equal(got[hour].append(nil), sum.append(nil)) {
			b.Errorf("the sums of hour %d are not those of its %d results", hour, sum.Entries)
		}
	}
}

// onBoth runs a test on SQLite, and on PostgreSQL.
func onBoth(t *testing.T, test func(b *bench)) { onBothOf(t, funnelRules, test) }

func onBothOf(t *testing.T, rules string, test func(b *bench)) {
	t.Run("sqlite", func(t *testing.T) { test(newBench(t, rules)) })
	t.Run("postgres", func(t *testing.T) {
		b := newBench(t, rules)
		b.postgres()
		test(b)
	})
}

// However the log is cut into batches, and whichever process is killed, the sums agree with the
// results, in any range.
func TestFurthest_SumsAgreeWithResults(t *testing.T) {
	onBoth(t, func(b *bench) {
		r := rand.New(rand.NewPCG(17, 1))
		log := crowd(r, 4000, 700)
		processes := []*output{b.operator(), b.operator()}
		for at := 0; at < len(log); {
			n, who := min(len(log)-at, 1+r.IntN(400)), r.IntN(2)
			switch r.IntN(4) {
			case 0:
				processes[who] = b.operator()
			case 1: // delivered again
				at -= min(at, r.IntN(200))
			}
			b.apply(processes[who], log[at:at+n]...)
			at += n
		}
		db := b.open()
		b.everyHour(db)
		b.agrees(db, whole(), 0)
		if began := b.tallied(db, whole()).devices; began < 2*exactDistinct {
			b.Fatalf("%d devices are too few to test an estimate", began)
		}
		for range 10 {
			from := noon().Add(time.Duration(r.IntN(6*3600)) * time.Second)
			b.agrees(db, ofRange(from, from.Add(time.Duration(r.IntN(6*3600))*time.Second)), 5000)
		}
		cut := ofRange(noon(), noon().Add(150*time.Minute))
		if _, err := SumFunnel(b.Context(), db, cut, 10); !errors.Is(err, ErrTooMany) {
			b.Errorf("half an hour of results is beyond the limit of ten: %v", err)
		}
	})
}

// A result that is emitted again, by another process, is in the sums once.
func TestFurthest_AResultThatIsStoredCountsOnce(t *testing.T) {
	onBoth(t, func(b *bench) {
		log := crowd(rand.New(rand.NewPCG(17, 2)), 1200, 40)
		b.apply(b.operator(), log...)
		db := b.open()
		for _, table := range []string{"rule_position", "rule_state", "rule_journal"} { // as if a backup did not have them
			if _, err := db.Exec(`DELETE FROM ` + table); err != nil {
				b.Fatal(err)
			}
		}
		told := len(b.results())
		b.apply(b.operator(), log...)
		if len(b.results()) != told {
			b.Fatalf("there were %d results, and are now %d", told, len(b.results()))
		}
		b.everyHour(db)
		b.agrees(db, whole(), 0)
	})
}

// Results that no sum counts are read one by one: those from before there were sums, those of the
// hour in which sums began, and those that an earlier weir writes meanwhile.
func TestFurthest_ResultsWithoutSumsAreReadOneByOne(t *testing.T) {
	onBoth(t, func(b *bench) {
		log := crowd(rand.New(rand.NewPCG(17, 3)), 2000, 90)
		b.apply(b.operator(), log[:900]...)
		db := b.open()
		for _, query := range []string{`DELETE FROM rule_furthest`, `UPDATE rule_result SET summed = 0`} { // as before sums
			if _, err := db.Exec(query); err != nil {
				b.Fatal(err)
			}
		}
		b.agrees(db, whole(), 5000)
		b.apply(b.operator(), log[900:]...)
		if _, err := db.Exec(`INSERT INTO rule_result (id, revision, rule, fleet, device_id, window_end, recorded_at, result)
			SELECT 'another ' || id, 0, rule, fleet, 'another', window_end, recorded_at, replace(result, 'pump-', 'another-')
			FROM rule_result WHERE rule = 'funnel_buy' AND summed = 1`); err != nil {
			b.Fatal(err)
		}
		sum, err := SumFunnel(b.Context(), db, whole(), 5000)
		if want := b.tallied(db, whole()); err != nil || sum.Entries != want.entries {
			b.Errorf("the sum has %d entries, and there are %d results: %v", sum.Entries, want.entries, err)
		}
		if _, err := SumFunnel(b.Context(), db, whole(), 10); !errors.Is(err, ErrTooMany) {
			b.Errorf("with a limit of ten, results without sums are left out: %v", err)
		}
	})
}

// The rows of the partitions for an hour that is over are merged into one, while results still come.
func TestFurthest_HoursThatAreOverAreGathered(t *testing.T) {
	onBoth(t, func(b *bench) {
		ctx, log := b.Context(), crowd(rand.New(rand.NewPCG(17, 6)), 3000, 200)
		db, o := b.open(), b.operator()
		done := make(chan error, 1)
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				if err := gatherSums(ctx, db, noon().Add(100*time.Hour)); err != nil {
					done <- err
					return
				}
			}
		}()
		for part := range slices.Chunk(log, 100) {
			b.apply(o, part...)
		}
		close(stop)
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		if err := gatherSums(ctx, db, noon().Add(100*time.Hour)); err != nil {
			b.Fatal(err)
		}
		b.everyHour(db)
		var rows, hours int
		if err := db.QueryRow(`SELECT count(*), count(DISTINCT hour) FROM rule_furthest`).Scan(&rows, &hours); err != nil ||
			rows != hours {
			b.Errorf("%d rows of %d hours: %v", rows, hours, err)
		}
	})
}

// Results that no sum counts are found by an index, without reading the others.
func TestFurthest_ResultsWithoutSumsHaveAnIndex(t *testing.T) {
	b := newBench(t, funnelRules)
	b.apply(b.operator(), crowd(rand.New(rand.NewPCG(17, 7)), 100, 9)...)
	q := whole()
	where, args := q.where()
	plan := ""
	if err := sqldb.Each(t.Context(), b.open(), func(row sqldb.Row) error {
		var id, parent, x int
		var text string
		err := row.Scan(&id, &parent, &x, &text)
		plan += text + "\n"
		return err
	}, `EXPLAIN QUERY PLAN SELECT r.device_id, r.window_end, r.result FROM rule_result r WHERE `+where+ofUnsummed+
		` ORDER BY r.window_end, r.id`, args...); err != nil || !strings.Contains(plan, "rule_result_unsummed") ||
		strings.Contains(plan, "TEMP B-TREE") {
		t.Errorf("%s%v", plan, err)
	}
}

// A sum is the same after it was encoded and decoded, and in whatever order its parts are merged. A
// truncated sum, or one of another version, is refused.
func TestFurthest_IsTheSameInAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 8))
	for range 30 {
		parts := make([]*Furthest, 4)
		all := &Furthest{}
		for i := range parts {
			parts[i] = &Furthest{}
		}
		for range r.IntN(3000) {
			device, steps := fmt.Sprint(r.IntN(2000)), []string{`"a":1`, `"b":null`, `"c":null`}
			for i := range r.IntN(4) {
				steps[i] = strings.Replace(steps[i], "null", "2", 1)
			}
			if r.IntN(9) == 0 {
				steps[0] = `"a":null`
			}
			values := []byte("{" + strings.Join(steps, ",") + "}")
			if err := errors.Join(all.add(device, values), parts[r.IntN(4)].add(device, values)); err != nil {
				t.Fatal(err)
			}
		}
		sum := &Furthest{}
		for _, i := range r.Perm(4) {
			raw := parts[i].append(nil)
			read, err := decodeFurthest(raw)
			if err != nil || !bytes.Equal(read.append(nil), raw) {
				t.Fatalf("decoding changes the sum: %v", err)
			}
			read.Entries = parts[i].Entries
			sum.merge(read)
			sum.merge(&Furthest{})
			damaged := slices.Clone(raw)
			damaged[r.IntN(len(raw))] ^= byte(1 + r.IntN(255))
			_, _ = decodeFurthest(damaged) // it may be read as another set, but must not panic
			if _, err := decodeFurthest(raw[:r.IntN(len(raw))]); err == nil {
				t.Fatal("a truncated sum is decoded")
			}
		}
		if sum.Entries != all.Entries || !bytes.Equal(sum.append(nil), all.append(nil)) {
			t.Fatal("the merged parts differ from the whole sum")
		}
		began, steps := sum.Devices()
		for _, s := range steps {
			if s.Devices > began {
				t.Fatalf("%d devices made a step, of %d that made the one before", s.Devices, began)
			}
			began = s.Devices
		}
	}
	if h := hourOf(-1); h != -hourLong || hourOf(hourLong) != hourLong || hourOf(hourLong-1) != 0 {
		t.Errorf("the hour before 1970 begins at %d", h)
	}
	if _, err := decodeFurthest([]byte{2, 0, 0, 0}); !errors.Is(err, errDamaged) {
		t.Errorf("of another version: %v", err)
	}
}
