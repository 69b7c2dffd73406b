package rule

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/storeurl"
	"weir/tests/integration/require"
)

// bench has a store and a file of rules, for which it makes outputs.
type bench struct {
	testing.TB
	url, file, extra string
	env              *service.Environment // nil: the global one
	res              *service.Resources   // nil: each output has its own, as each process does
}

func newBench(t testing.TB, rules string) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{TB: t, url: storeurl.New("sqlite", filepath.Join(dir, "control.db")), file: filepath.Join(dir,
		"rules.yaml")}
	b.write(rules)
	return b
}

// postgres puts the store into a new schema of the server for tests.
func (b *bench) postgres() {
	b.Helper()
	base := require.Env(b, "WEIR_TEST_POSTGRES_URL")
	db, err := sqldb.Open(b.Context(), base)
	if err != nil {
		b.Fatal(err)
	}
	schema := fmt.Sprintf("rule_test_%d", time.Now().UnixNano())
	if _, err := db.Exec(`CREATE SCHEMA ` + schema); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if _, err := db.Exec(`DROP SCHEMA ` + schema + ` CASCADE`); err != nil {
			b.Error(err)
		}
		_ = db.Close()
	})
	b.url = base + "?search_path=" + schema
	if strings.Contains(base, "?") {
		b.url = base + "&search_path=" + schema
	}
}

func (b *bench) write(rules string) {
	b.Helper()
	if err := os.WriteFile(b.file, []byte(rules), 0o600); err != nil {
		b.Fatal(err)
	}
}

// operator returns a new output with nothing in memory, as a new process has. Its background work is
// stopped: tests call what reads the file of rules and what moves the time of idle partitions.
func (b *bench) operator() *output {
	b.Helper()
	parsed, err := eventRulesSpec().ParseYAML(fmt.Sprintf("rules: %q\nurl: %q\ndelay: 5s\n%s", b.file, b.url, b.extra),
		b.env)
	if err != nil {
		b.Fatal(err)
	}
	res := b.res
	if res == nil {
		res = service.MockResources()
	}
	o, err := newOutput(parsed, res)
	if err != nil {
		b.Fatal(err)
	}
	if err := o.Connect(b.Context()); err != nil {
		b.Fatal(err)
	}
	o.stop()
	o.tending.Wait()
	b.Cleanup(func() {
		if err := o.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return o
}

// message returns a record of the log.
func message(partition int, offset int64, raw string) *service.Message {
	msg := service.NewMessage([]byte(raw))
	for name, v := range map[string]any{"kafka_topic": "raw-events", "kafka_partition": partition,
		"kafka_offset":    int(offset),
		event.HeaderFleet: "plant-1", event.HeaderReceivedAt: "2026-11-28T00:00:00.000000Z"} {
		msg.MetaSetMut(name, v)
	}
	return msg
}

func (b *bench) apply(o *output, batch ...*service.Message) {
	b.Helper()
	if err := o.WriteBatch(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
}

// results returns all results in the store, by id and revision.
func (b *bench) results() map[string]string {
	b.Helper()
	db, err := sqldb.Open(b.Context(), b.url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT id, revision, result FROM rule_result`)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	found := map[string]string{}
	for rows.Next() {
		var id, result string
		var revision int
		if err := rows.Scan(&id, &revision, &result); err != nil {
			b.Fatal(err)
		}
		found[fmt.Sprintf("%s/%d", id, revision)] = result
	}
	return found
}

// everything has rules of every kind, with provisional, revised and retracted results.
const everything = metamorphic + `
  - { name: early, key: [device_id], window: { type: sliding, size: 1m, every: 30s, allowed_lateness: 5m }, emit: { on: update },
      select: { n: count(), a: sum(this.metrics.v) }, having: this.a < 500 }
  - { name: ticks, key: [device_id], window: { type: tumbling, size: 2m, allowed_lateness: 0s }, emit: { every: 10s },
      select: { n: count(), t: "top(this.device_firmware_version, 2)" } }
  - { name: tens, key: [device_id], window: { type: count, size: 10, max: 10m }, select: { n: count(), q: p50(this.metrics.v) } }
  - { name: short, key: [device_id], window: { type: session, gap: 3s, allowed_lateness: 10m }, select: { n: count(), l: last(this.metrics.v) } }
  - name: comes
    key: [device_id]
    pattern:
      match: (one | two) -> three{1,2} !one
      within: 40s
      order: arrival
      define: { one: this.metrics.w < 3, two: this.metrics.w < 6, three: this.metrics.w > two.metrics.w || count(one) > 0 }
    select: { n: count(), t: "top(three.metrics.w, 3)", a: first(one.metrics.v) }
  - name: alone
    key: [device_id]
    where: this.metrics.w > 0
    join: { left: this.metrics.w < 6, right: this.metrics.w > 6, within: { after: 10s }, type: left, allowed_lateness: 30s }
    select: { l: left.event_id, r: right.event_id }
`

// records returns n records of each of two partitions, some of them far out of order.
func records(r *rand.Rand, n int) (all []*service.Message) {
	lines := [2][]string{history(r, n, noon()), history(r, n, noon())}
	for p := range lines {
		for range n / 5 { // late by any time
			i, j := r.IntN(n), r.IntN(n)
			lines[p][i], lines[p][j] = lines[p][j], lines[p][i]
		}
		for i := range lines[p] { // a key is in one partition only
			lines[p][i] = strings.Replace(lines[p][i], `"pump-`, fmt.Sprintf(`"pump-%d-`, p), 1)
		}
	}
	for i := range n {
		for p := range lines {
			all = append(all, message(p, int64(i), lines[p][i]))
		}
	}
	return all
}

// However the log is cut into batches, whatever is delivered again, and however often the process is
// killed or another one takes over, the results are the same: the same bytes under the same id and
// revision.
func TestEventRules_BatchesKillsAndTakeoversDoNotShow(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { histories(t, uint64(tortured(4)), newBench) })
	t.Run("postgres", func(t *testing.T) {
		require.Env(t, "WEIR_TEST_POSTGRES_URL")
		histories(t, 1, func(t testing.TB, rules string) *bench {
			b := newBench(t, rules)
			b.postgres()
			return b
		})
	})
}

func histories(t *testing.T, seeds uint64, place func(testing.TB, string) *bench) {
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 16))
		log := records(r, 150)
		whole := newBench(t, everything)
		whole.apply(whole.operator(), log...)
		want := whole.results()
		if len(want) < 200 {
			t.Fatalf("only %d results", len(want))
		}
		b := place(t, everything)
		processes := []*output{b.operator(), b.operator()}
		for at := 0; at < len(log); {
			n := min(len(log)-at, 1+r.IntN(40))
			who := r.IntN(2)
			switch r.IntN(6) {
			case 0: // killed: a new process has nothing in memory
				processes[who] = b.operator()
				processes[who].journalMost = []int{0, 3000, journalMost}[r.IntN(3)]
				processes[who].rowsEach = []int{1, 5, rowsEach}[r.IntN(3)]
			case 1: // the offsets of the last batches were not committed, and they are delivered again
				at -= min(at, r.IntN(30))
			}
			b.apply(processes[who], log[at:at+n]...)
			at += n
		}
		if got := b.results(); !maps.Equal(got, want) {
			for id, result := range want {
				if got[id] != result {
					t.Fatalf("seed %d: want\n%s\ngot\n%s", seed, result, got[id])
				}
			}
			t.Fatalf("seed %d: want %d results, got %d", seed, len(want), len(got))
		}
		b.accounted(int64(len(log)))
	}
}

// accounted checks that all records were read, and that each has one outcome in each rule.
func (b *bench) accounted(records int64) {
	b.Helper()
	o := b.operator()
	tx, _, err := begin(b.Context(), o.db)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	read := int64(0)
	for p := range int32(2) {
		pos, err := readPosition(b.Context(), tx, "", place{"raw-events", p})
		if err != nil || pos == nil {
			b.Fatal(pos, err)
		}
		t := pos.tally
		read += t.Read
		for name, of := range t.Rules {
			sum := t.Duplicate + t.Erased + t.Muted + t.Invalid
			for _, n := range of.Counts {
				sum += n
			}
			if sum != t.Read {
				b.Errorf("rule %s accounts for %d of %d records", name, sum, t.Read)
			}
		}
	}
	if read != records {
		b.Errorf("%d of %d records were read", read, records)
	}
}

const perMinute = `rules: [{ name: minute, key: [device_id], select: { n: count() }, window: { type: tumbling, size: 1m, allowed_lateness: 0s } }]`

func (b *bench) count(rule string) (told []string) {
	for _, raw := range b.results() {
		r := parseTold(b.TB, []byte(raw))
		if r.Rule == rule {
			told = append(told, fmt.Sprintf("%s %v %v", r.Key["device_id"], r.Start.Sub(noon()), r.Values["n"]))
		}
	}
	slices.Sort(told)
	return told
}

// Duplicates, muted records and records that are not events are not counted. An event that is stamped
// too far ahead is counted at the time of its receipt.
func TestEventRules_DuplicatesMutedRecordsAndNonEventsAreNotCounted(t *testing.T) {
	b := newBench(t, perMinute)
	o := b.operator()
	duplicate := message(0, 1, at(1*s, 1))
	duplicate.MetaSetMut(event.MetaDuplicateOf, "raw-events/0/0")
	muted := message(0, 2, at(2*s, 1))
	muted.MetaSetMut(event.HeaderTarget, event.TargetRollup)
	ahead := message(0, 4, at(600*s, 1)) // stamped ten minutes ahead
	ahead.MetaSetMut(event.HeaderReceivedAt, noon().Add(3*s).Format(event.TimeFormat))
	b.apply(o, message(0, 0, at(0, 1)), duplicate, muted, message(0, 3, "no event"), ahead, message(0, 5, at(70*s, 1)))
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 2"}) {
		t.Errorf("%q", got)
	}
}

// When the file changes, a rule that is the same keeps its open windows. A rule that changed is
// drained, and goes on if it comes back, as with versions. If no rules follow, the state is dropped.
func TestEventRules_AChangedFileIsDrained(t *testing.T) {
	b := newBench(t, perMinute)
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)))
	change := func(rules string) {
		t.Helper()
		b.write(rules)
		if changed, err := o.rules.Refresh(t.Context()); err != nil || !changed {
			t.Fatal(changed, err)
		}
	}
	change(strings.Replace(perMinute, "n: count()", "n: count()", 1) + "\n# the same\n")
	b.apply(o, message(0, 1, at(1*s, 1)))
	change(strings.Replace(perMinute, "select", "where: this.metrics.v > 0, select", 1))
	b.apply(o, message(0, 2, at(2*s, 1)))
	change(perMinute)
	b.apply(o, message(0, 3, at(3*s, 1)), message(0, 4, at(4*s, 1)), message(0, 5, at(70*s, 1)))
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 5"}) {
		t.Errorf("not all events are counted over two changes: %q", got)
	}
	change("rules: []")
	b.apply(o, message(0, 6, at(71*s, 1)))
	change(perMinute)
	b.apply(o, message(0, 7, at(72*s, 1)), message(0, 8, at(140*s, 1)))
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 5", "pump-1 1m0s 1"}) {
		t.Errorf("after a time without rules the results are %q", got)
	}
	b.write("rules: [{}]")
	if _, err := o.rules.Refresh(t.Context()); err == nil {
		t.Error("a wrong file is accepted")
	}
	b.apply(o, message(0, 9, at(200*s, 1)))
	if got := b.count("minute"); len(got) != 3 {
		t.Errorf("with a wrong file the old rules do not go on: %q", got)
	}
}

// A process whose file has no rules yet does not delete the state of partitions that others read.
func TestEventRules_NoRulesForgetTheirOwnPartitions(t *testing.T) {
	b := newBench(t, perMinute)
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)), message(1, 0, at(0, 1)))
	b.write("rules: []")
	other := b.operator()
	b.apply(other, message(1, 1, at(1*s, 1)))
	b.apply(o, message(0, 1, at(1*s, 1)), message(0, 2, at(70*s, 1)))
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 2"}) {
		t.Errorf("beside a process that has no rules the results are %q", got)
	}
}

// The state and the results of an erased device are gone, no result of it is emitted later, and an
// output that has it in memory does not write it again.
func TestEventRules_ErasureReachesOpenWindows(t *testing.T) {
	b := newBench(t, perMinute)
	o := b.operator()
	other := strings.Replace(at(0, 1), "pump-1", "pump-2", 1)
	other = strings.Replace(other, "00000000-0000", "10000000-0000", 1)
	b.apply(o, message(0, 0, at(0, 1)), message(0, 1, other), message(0, 2, at(61*s, 1)))
	ctx, until := t.Context(), time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	db, err := sqldb.Open(ctx, b.url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := tombstone.Bury(ctx, db, tombstone.Of("plant-1", "pump-1", until)); err != nil {
		t.Fatal(err)
	}
	if err := erase(ctx, db, tombstone.Target{Fleet: "plant-1", Device: "pump-1", Job: "j",
		Until: until.UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	b.apply(o, message(0, 3, at(62*s, 1)), message(0, 4, strings.Replace(other, "12:00:00", "12:03:00", 1)))
	if n, err := count(ctx, db, "plant-1", "pump-1"); err != nil || n[countState] != 0 || n[countResults] != 0 {
		t.Errorf("%v %v", n, err)
	}
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-2 0s 1"}) {
		t.Errorf("%q", got)
	}
}

// Freshness is measured from the oldest event of a batch, without those that were published again:
// they were received long ago.
func TestRules_FreshnessIsOfTheOldestEventThatIsNew(t *testing.T) {
	at := func(seconds int64, meta ...string) *service.Message {
		msg := service.NewMessage(nil)
		msg.MetaSetMut(event.HeaderReceivedAt, time.Unix(seconds, 0).UTC().Format(event.TimeFormat))
		for _, name := range meta {
			msg.MetaSetMut(name, "raw-events/0/1")
		}
		return msg
	}
	batch := service.MessageBatch{at(300), at(200), at(100, event.HeaderDelivery), service.NewMessage(nil)}
	if _, got := recordsOf(batch); got.Unix() != 200 {
		t.Errorf("the oldest was received at %v, want 200 s", got)
	}
	if _, got := recordsOf(batch[2:]); !got.IsZero() {
		t.Errorf("the oldest event of a batch of replayed ones was received at %v, want none", got)
	}
}
