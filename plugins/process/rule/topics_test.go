package rule

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

// joinedTopics returns a rule that joins two topics.
func joinedTopics(before, after, lateness time.Duration, kind string) string {
	return fmt.Sprintf(`rules:
  - name: paid
    key: [device_id]
    join:
      left: { topic: orders, where: this.metrics.v > 0 }
      right: { topic: payments }
      within: { before: %s, after: %s }
      type: %s
      allowed_lateness: %s
    select: { l: left.event_id, r: right.event_id }
`, before, after, kind, lateness)
}

// ofTopic sets the topic of a record.
func ofTopic(topic string, msg *service.Message) *service.Message {
	msg.MetaSetMut("kafka_topic", topic)
	return msg
}

// logs are the records of two topics, by topic and partition.
type logs map[place][]*service.Message

// twoTopics returns logs of two topics with two partitions each. Some events are far out of order, and
// the last of each partition is later than all others. want are the pairs by the definition of the join,
// late is how many events are late.
func twoTopics(r *rand.Rand, n int, delay, lateness, before, after time.Duration, kind string) (all logs, want []string,
	late int64) {
	all = logs{}
	for p := range int32(2) {
		var kept []joinEvent
		for side, topic := range []string{"orders", "payments"} {
			clock := noon().Add(time.Duration(r.IntN(30)) * s)
			var newest time.Time
			for i := range n + 1 {
				clock = clock.Add(time.Duration(r.IntN(4)*r.IntN(4)) * s)
				e := joinEvent{id: fmt.Sprintf("00000000-0000-4000-80%02d-%012x", 2*int(p)+side, i), side: side + 1,
					device: fmt.Sprintf("pump-%d-%d", p, r.IntN(3)),
					at:     clock.Add(time.Duration(r.IntN(3)-1) * time.Microsecond)}
				v := 1 - r.IntN(8)/7 // 0: as an order, not of the join
				switch {
				case i == n:
					e.device, e.at = "last-"+topic, noon().Add(24*time.Hour)
				case r.IntN(5) == 0: // out of order, perhaps by too much
					e.at = e.at.Add(-time.Duration(r.IntN(30)) * s)
				}
				if e.at.After(newest) {
					newest = e.at
				}
				if side == 0 && v == 0 {
					e.side = 0
				}
				switch {
				case e.side == 0 || i == n:
				case e.at.Before(newest.Add(-delay - lateness)): // by the watermark of its own topic
					late++
				default:
					kept = append(kept, e)
				}
				at := place{topic, p}
				all[at] = append(all[at], ofTopic(topic, message(int(p), int64(len(all[at])), fmt.Sprintf(
					`{"event_id":%q,"device_id":%q,"device_firmware_version":"2.0.0","timestamp":%q,"metrics":{"v":%d}}`,
					e.id, e.device, e.at.Format("2006-01-02T15:04:05.000000Z"), v))))
			}
		}
		pairs, _ := joinedNaively(kept, 24*time.Hour, 0, before, after, kind) // with such a delay no event is late
		want = append(want, pairs...)
	}
	slices.Sort(want)
	return all, want, late
}

// interleaved returns all records in a random order that keeps the order of each partition.
func (l logs) interleaved(r *rand.Rand) (all []*service.Message) {
	next := map[place]int{}
	places := slices.SortedFunc(maps.Keys(l), place.compare)
	for len(places) > 0 {
		i := r.IntN(len(places))
		for range 1 + r.IntN(40) { // a partition is read for a while
			if at := places[i]; next[at] < len(l[at]) {
				all = append(all, l[at][next[at]])
				next[at]++
			}
		}
		if at := places[i]; next[at] == len(l[at]) {
			places = slices.Delete(places, i, i+1)
		}
	}
	return all
}

// pairs returns the ids of the events of each result, or - for none.
func (b *bench) pairs() (told []string) {
	b.Helper()
	for _, raw := range b.results() {
		r := parseTold(b.TB, []byte(raw))
		text := func(side string) string {
			if id, there := r.Values[side].(string); there {
				return id
			}
			return "-"
		}
		told = append(told, text("l")+" "+text("r"))
	}
	slices.Sort(told)
	return told
}

// comeOut fails unless the accounts of all partitions and joins add up, and have so many outcomes of
// events in rules, and so many late ones.
func (b *bench) comeOut(reached, late int64) {
	b.Helper()
	db, err := sqldb.Open(b.Context(), b.url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	accounts, err := Accounts(b.Context(), db)
	if err != nil {
		b.Fatal(err)
	}
	var sum Counts
	for _, a := range accounts {
		for _, problem := range append(a.Problems(), Unequal(accounts)...) {
			b.Error(problem)
		}
		for _, r := range a.Rules {
			for o, n := range r.Counts {
				sum[o] += n
			}
		}
	}
	all := int64(0)
	for _, n := range sum {
		all += n
	}
	if all != reached || sum[Late] != late {
		b.Errorf("of %d events, of which %d are late, the outcomes in the rules are %v", reached, late, sum)
	}
}

// A join of two topics has the results of its definition, whichever topic is read first, in whatever
// batches, however often records are delivered again, processes are killed, and others take over. The
// results have the same bytes under the same ids.
func TestTopics_OrderKillsAndTakeoversDoNotShow(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { topicHistories(t, 12, newBench) })
	t.Run("postgres", func(t *testing.T) {
		require.Env(t, "WEIR_TEST_POSTGRES_URL")
		topicHistories(t, 1, func(t testing.TB, rules string) *bench {
			b := newBench(t, rules)
			b.postgres()
			return b
		})
	})
}

func topicHistories(t *testing.T, seeds uint64, at func(testing.TB, string) *bench) {
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 29))
		lateness := time.Duration(r.IntN(10)) * s
		before, after := time.Duration(r.IntN(6))*s, time.Duration(r.IntN(20))*s
		kind := []string{"inner", "left", "outer"}[seed%3]
		const n = 60
		all, want, late := twoTopics(r, n, 5*s, lateness, before, after, kind)
		rules := joinedTopics(before, after, lateness, kind)
		whole := newBench(t, rules)
		whole.apply(whole.operator(), all.interleaved(r)...)
		if got := whole.pairs(); !slices.Equal(got, want) {
			t.Fatalf("seed %d, %s join, lateness %s, -%s to %s: got\n%s\nwant\n%s", seed, kind, lateness, before, after,
				strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		whole.comeOut(4*(n+1), late)
		b := at(t, rules)
		processes := []*output{b.operator(), b.operator()}
		log := all.interleaved(r)
		for at := 0; at < len(log); {
			n := min(len(log)-at, 1+r.IntN(40))
			who := r.IntN(2)
			switch r.IntN(6) {
			case 0: // killed: a new process has nothing in memory
				processes[who] = b.operator()
			case 1: // the offsets of the last batches were not committed, and they are delivered again
				at -= min(at, r.IntN(30))
			}
			b.apply(processes[who], log[at:at+n]...)
			at += n
		}
		if got, want := b.results(), whole.results(); !maps.Equal(got, want) {
			t.Fatalf("seed %d: want\n%v\ngot\n%v", seed, want, got)
		}
		b.comeOut(4*(n+1), late)
	}
}

// A result of a join names the topic of each of its events. The other rules of the set count only events
// of the topic that they name.
func TestTopics_ResultsSayWhereEventsAre(t *testing.T) {
	b := newBench(t, joinedTopics(0, 10*s, 0, "outer")+`
  - name: minute
    from: payments
    key: [device_id]
    window: { type: tumbling, size: 1m, allowed_lateness: 0s }
    select: { n: count() }
`)
	o := b.operator()
	b.apply(o, ofTopic("orders", message(0, 7, at(0, 1))), ofTopic("orders", message(0, 8, at(1*s, 1))),
		ofTopic("payments", message(0, 3, at(9*s, 2))), ofTopic("payments", message(0, 4, at(2*time.Hour, 2))),
		ofTopic("orders", message(0, 9, at(2*time.Hour, 1))), ofTopic("payments", message(0, 5, at(3*time.Hour, 2))),
		ofTopic("orders", message(0, 10, at(3*time.Hour, 1))), ofTopic("other", message(0, 1, at(0, 1))))
	var got []string
	for _, raw := range b.results() {
		_, places, _ := strings.Cut(raw, `"first":"`)
		places, _, _ = strings.Cut(places, `","values`)
		got = append(got, strings.Replace(places, `","last":"`, " ", 1))
	}
	slices.Sort(got)
	expect(t, got, "orders/0/10 payments/0/5", "orders/0/7 payments/0/3", "orders/0/8 payments/0/3",
		"orders/0/9 payments/0/4", "payments/0/3 payments/0/3", "payments/0/4 payments/0/4")
}

// twoLogs starts a cluster that has both topics, with so many partitions. It returns the address, and a
// function that writes a record.
func twoLogs(t *testing.T, orders, payments int32) (address string, produce func(topic string)) {
	t.Helper()
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(orders, "orders"), kfake.SeedTopics(payments,
		"payments"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return log.ListenAddrs()[0], func(topic string) {
		t.Helper()
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// An event without a partner is emitted when the time of the other topic has passed. The time of an idle
// topic moves on with the clock, also if it never had a record. While a record of either topic waits in
// the log, nothing is emitted.
func TestTopics_AnIdleSideFollowsTheClock(t *testing.T) {
	address, produce := twoLogs(t, 1, 1)
	b := newBench(t, joinedTopics(0, 10*s, 0, "left"))
	b.extra = fmt.Sprintf("idle: 1h\nseed_brokers: [%q]\n", address)
	o := b.operator()
	hours := func(n int) {
		t.Helper()
		o.idle = time.Nanosecond // the last records came longer ago than this
		o.now = func() time.Time { return noon().Add(time.Duration(n) * time.Hour) }
		if err := o.moveIdle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o.now = func() time.Time { return noon().Add(3 * time.Hour) }
	produce("orders")
	produce("orders")
	b.apply(o, ofTopic("orders", message(0, 0, at(0, 1))))
	hours(4)
	if got := b.pairs(); len(got) > 0 {
		t.Errorf("a record of its own topic waits, and time has moved on: %q", got)
	}
	b.apply(o, ofTopic("orders", message(0, 1, at(1*s, 1))))
	produce("payments")
	hours(5)
	if got := b.pairs(); len(got) > 0 {
		t.Errorf("a record of the other topic waits, and time has moved on: %q", got)
	}
	b.apply(o, ofTopic("payments", message(0, 0, at(1*s, 1))))
	hours(6)
	if got := b.pairs(); len(got) != 2 {
		t.Errorf("the payment has not two pairs, one with each order: %q", got)
	}
	produce("orders")
	b.apply(o, ofTopic("orders", message(0, 2, at(6*time.Hour, 1))))
	o = b.operator() // a process that has just started, and has read no record
	hours(8)
	if got := b.pairs(); len(got) != 3 {
		t.Errorf("after a restart the event without a partner has no result: %q", got)
	}

	other := newBench(t, joinedTopics(0, 10*s, 0, "left")) // payments never come
	address, produce = twoLogs(t, 1, 1)
	other.extra = fmt.Sprintf("idle: 1h\nseed_brokers: [%q]\n", address)
	o = other.operator()
	o.now = func() time.Time { return noon().Add(3 * time.Hour) }
	produce("orders")
	other.apply(o, ofTopic("orders", message(0, 0, at(0, 1))))
	hours(4)
	if got := other.pairs(); len(got) != 1 {
		t.Errorf("the other topic is empty, and the event without a partner has no result: %q", got)
	}
}

// A rule set that the stream cannot evaluate because of its topics is refused when it is put, with what
// to do. If it is in force from a file, events wait.
func TestTopics_MustBeReadAndHaveAsManyPartitions(t *testing.T) {
	address, _ := twoLogs(t, 1, 2)
	b := newBench(t, joinedTopics(0, 10*s, 0, "left"))
	b.extra = fmt.Sprintf("seed_brokers: [%q]\nidle: 0s\ntopics: [ \"orders,payments\", absent ]\n", address)
	o := b.operator()
	err := o.WriteBatch(t.Context(), service.MessageBatch{ofTopic("orders", message(0, 0, at(0, 1)))})
	if err == nil || !strings.Contains(err.Error(), "line 2: rule paid: orders has 1 partitions and payments 2") {
		t.Errorf("unequal topics are joined: %v", err)
	}
	for topic, want := range map[string]string{"payments": "make the numbers equal",
		"elsewhere": "WEIR_RULES_TOPICS=raw-events,elsewhere", "absent": "weir topics create --also absent"} {
		text := strings.Replace(joinedTopics(0, 10*s, 0, "left"), "payments", topic, 1)
		_, err := b.versions().Put(t.Context(), text, "me", "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a join with %s: %v", topic, err)
		}
	}
	b.write(perMinute)
	if _, err := o.rules.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.apply(o, ofTopic("orders", message(0, 0, at(0, 1))))
}

// Pairs that began before a join of two topics changed are emitted by its old form, later ones by its new
// form. A join that is removed leaves no state, and can come back.
func TestTopics_JoinsAreDrained(t *testing.T) {
	b := newBench(t, "rules: []")
	v := b.versions()
	one, two := v.put(t, joinedTopics(0, 10*s, 0, "left")), v.put(t, joinedTopics(0, 20*s, 0, "left"))
	none := v.put(t, "rules: [{ name: minute, from: orders, key: [device_id], select: { n: count() }, "+
		"window: { type: tumbling, size: 1h, allowed_lateness: 0s } }]")
	o := b.operator()
	offsets := map[string]int64{}
	take := func(topic string, after time.Duration) {
		t.Helper()
		b.apply(o, ofTopic(topic, message(0, offsets[topic], at(after, 1))))
		offsets[topic]++
	}
	v.activate(t, one.Number)
	take("orders", 0)
	take("payments", 1*s)
	v.activate(t, two.Number)
	o = b.operator() // another process goes on
	take("payments", 9*s)
	take("payments", 15*s)
	take("orders", 30*s)
	take("payments", 45*s)
	for _, topic := range []string{"orders", "payments", "orders"} {
		take(topic, 200*s+time.Duration(offsets[topic])*time.Millisecond)
	}
	told := func(versions ...Version) (lines []string) {
		for _, raw := range b.results() {
			r := parseTold(t, []byte(raw))
			by := slices.IndexFunc(versions, func(v Version) bool { return strings.Contains(raw, `"version":"`+v.Version+`"`) })
			lines = append(lines, fmt.Sprintf("%s..%s %d by %d", r.Start.Sub(noon()), r.End.Sub(noon()), r.Count, by+1))
		}
		slices.Sort(lines)
		return lines
	}
	expect(t, told(one, two), "0s..1s 2 by 1", "0s..9s 2 by 1", "30s..45s 2 by 2", "3m20.002s..3m20.004s 2 by 2",
		"3m20.003s..3m20.004s 2 by 2")
	v.activate(t, none.Number)
	for i := range 4 {
		take("orders", 400*s+time.Duration(i)*100*s)
		take("payments", 400*s+time.Duration(i)*100*s)
	}
	var left int
	if err := o.db.QueryRow(`SELECT count(*) FROM rule_state WHERE topic = 'orders+payments'`).Scan(&left); err != nil ||
		left > 0 {
		t.Errorf("%d keys are left of the join: %v", left, err)
	}
	before := len(b.pairs())
	v.activate(t, two.Number)
	take("orders", 1000*s)
	take("payments", 1001*s)
	if got := len(b.pairs()); got != before+1 {
		t.Errorf("a join that comes back emits %d pairs, want 1", got-before)
	}
}

// The events of an erased device do not wait for partners any more, and are not emitted.
func TestTopics_ErasureReachesBoth(t *testing.T) {
	b := newBench(t, joinedTopics(0, 10*s, 0, "outer"))
	o := b.operator()
	b.apply(o, ofTopic("orders", message(0, 0, at(0, 1))), ofTopic("payments", message(0, 0, at(1*s, 1))),
		ofTopic("orders", message(0, 1, at(2*s, 1))))
	db, err := sqldb.Open(t.Context(), b.url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	until := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	if err := tombstone.Bury(t.Context(), db, tombstone.Of("plant-1", "pump-1", until)); err != nil {
		t.Fatal(err)
	}
	if err := erase(t.Context(), db, tombstone.Target{Fleet: "plant-1", Device: "pump-1", Job: "j",
		Until: until.UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	b.apply(o, ofTopic("payments", message(0, 1, at(3*s, 1))))
	later := ofTopic("payments", message(0, 2, strings.Replace(at(time.Hour, 1), "pump-1", "pump-2", 1)))
	b.apply(o, later, ofTopic("orders", message(0, 2, strings.Replace(at(time.Hour, 1), "pump-1", "pump-2", 1))))
	if n, err := count(t.Context(), db, "plant-1", "pump-1"); err != nil || n[countState] != 0 || n[countResults] != 0 {
		t.Errorf("%v %v", n, err)
	}
	for _, raw := range b.results() {
		if strings.Contains(raw, "pump-1") {
			t.Errorf("a result of the erased device: %s", raw)
		}
	}
}

// The epoch of a rule that names no topic is the same as before rules could name topics, so that an
// upgrade keeps its state.
func TestTopics_EarlierEpochsStayTheSame(t *testing.T) {
	join := "rules:\n  - name: r\n    key: [device_id]\n    select: { l: left.timestamp }\n    join: { left: true, " +
		"right: this.metrics.v > 1, within: { after: 10s }, allowed_lateness: 0s }\n"
	if got := mustParse(t, join).Rules[0].Epoch; got != "153da09d55c6" {
		t.Errorf("the epoch of a join is %s", got)
	}
	if got := mustParse(t, perMinute).Rules[0].Epoch; got != "46cf35e21252" {
		t.Errorf("the epoch of a window is %s", got)
	}
	from := strings.Replace(perMinute, "key:", "from: raw-events, key:", 1)
	if got := mustParse(t, from).Rules[0].Epoch; got != mustParse(t, perMinute).Rules[0].Epoch {
		t.Errorf("naming its topic changes the epoch of a rule: %s", got)
	}
}

func TestTopics_SayAllThatIsWrong(t *testing.T) {
	whole := joinedTopics(0, time.Second, 0, "inner")
	const window = "\n  - { name: w, FROM key: [device_id], select: { n: count() }, window: { type: tumbling, size: 1m, " +
		"allowed_lateness: 0s } }\n"
	for change, want := range map[string]string{
		"|":                                      "",
		"topic: orders|topic: or ders":           `join.left.topic: "or ders" is not a valid name of a topic`,
		"topic: orders, |":                       "join.left: names no topic",
		"{ topic: payments }|true":               "join.right: names no topic",
		"topic: payments|topik: payments":        "field topik is not a field of a side",
		"topic: orders|topic: [ a ]":             "cannot unmarshal",
		"where: this.metrics.v > 0|where: this.": "join.left.where: ",
		"    key|    from: orders\n    key":      "from: the sides of the join name",
		"payments|orders":                        "",
	} {
		was, is, _ := strings.Cut(change, "|")
		_, err := Parse([]byte(strings.Replace(whole, was, is, 1)))
		if got := fmt.Sprint(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", change, got, want)
		}
	}
	if _, err := Parse([]byte(whole + strings.Replace(window, "FROM", "", 1))); err == nil ||
		!strings.Contains(err.Error(), "rule w: from: is missing: rule paid names a topic") {
		t.Errorf("a rule that names no topic: %v", err)
	}
	if _, err := Parse([]byte(whole + strings.Replace(window, "FROM", "from: orders,", 1))); err != nil {
		t.Error(err)
	}
	set := mustParse(t, strings.Replace(whole, "payments", "orders", 1))
	if got := set.Rules[0].whereabouts(); got != "orders" {
		t.Errorf("a join of a topic with itself is evaluated at %q", got)
	}
}
