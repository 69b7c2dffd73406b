package analytics

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // a stream has parts of it
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/storeurl"
	"weir/plugins/process/rule"
)

const shipped = "../../../configs/analytics.yaml"

// happening is an event as the recomputation sees it.
type happening struct {
	id, device, person, user, anonymous, kind, currency, campaign string
	amount                                                        int64
	at                                                            time.Time
}

func (h *happening) who() string { return cmp.Or(h.person, h.user, h.anonymous, h.device) }

func (h *happening) json() string {
	user, payload, metrics := "", "", ""
	for _, f := range []struct {
		to          *string
		name, value string
	}{{&user, "person", h.person}, {&user, "id", h.user}, {&user, "anonymous_id", h.anonymous},
		{&payload, "currency", h.currency}, {&payload, "campaign", h.campaign}} {
		if f.value != "" {
			if *f.to != "" {
				*f.to += ","
			}
			*f.to += fmt.Sprintf("%q:%q", f.name, f.value)
		}
	}
	if h.currency != "" {
		metrics = fmt.Sprintf(`"amount_minor":%d`, h.amount)
	}
	return fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":"1.0.0","timestamp":%q,"metrics":{%s},`+
		`"metadata":{"type":%q},"user":{%s},"payload":{%s}}`, h.id, h.device, h.at.UTC().Format(event.TimeFormat), metrics,
		h.kind, user, payload)
}

// days makes a history of ten days, in which bursts of events of some devices
// follow on silences. It begins long ago enough for nothing to be ahead of time.
func days(r *rand.Rand, n int) (all []*happening) {
	at := time.Date(2026, 11, 1, 7, 0, 0, 0, time.UTC)
	kinds := []string{"page_viewed", "product_viewed", "product_viewed", "cart_added", "checkout_started", "order_placed",
		"order_refunded", "campaign_clicked"}
	for i := range n {
		switch r.IntN(40) {
		case 0:
			at = at.Add(time.Duration(r.IntN(20*3600)) * time.Second)
		case 1:
			at = at.Truncate(time.Minute).Add(time.Minute)
		case 2: // at the same time
		default:
			at = at.Add(time.Duration(r.IntN(90_000_000)) * time.Microsecond)
		}
		h := &happening{id: fmt.Sprintf("%08x-0000-4000-8000-%012x", r.Uint32(), i), at: at, kind: kinds[r.IntN(len(kinds))]}
		h.device = fmt.Sprintf("browser-%d", r.IntN(9))
		switch r.IntN(3) {
		case 0:
			h.user = fmt.Sprintf("u%d", r.IntN(12))
		case 1:
			if h.anonymous = h.device + "-a"; r.IntN(2) == 0 { // it is known by now who that is
				h.person = fmt.Sprintf("u%d", r.IntN(12))
			}
		}
		switch h.kind {
		case "order_placed", "order_refunded":
			h.currency, h.amount = []string{"EUR", "JPY"}[r.IntN(2)], r.Int64N(100_000)
		case "campaign_clicked":
			h.campaign = fmt.Sprintf("c%d", r.IntN(4))
		}
		all = append(all, h)
	}
	return all
}

// world is where a history is counted by the rules, and what it is.
type world struct {
	*testing.T
	history []*happening
	source  *Source
	ask     ask
}

const partitions = 3

func partitionOf(device string) int { return int(device[len(device)-1]) % partitions }

// count applies a history as the log has it: by partition, out of order by less
// than most, some events twice, and some batches again. At last each partition has
// an event two hours later, so that what patterns and visits wait for is over.
func count(t *testing.T, seed uint64, n int, most time.Duration) *world {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 4))
	return countHistory(t, r, days(r, n), most, 60)
}

// countHistory is count, of a history that is there, in batches of up to so many.
func countHistory(t *testing.T, r *rand.Rand, history []*happening, most time.Duration, together int) *world {
	t.Helper()
	n, w := len(history), &world{T: t, history: history}
	end := w.history[n-1].at.Add(2 * time.Hour)
	for i := range partitions {
		w.history = append(w.history, &happening{id: fmt.Sprintf("ffffffff-0000-4000-8000-%012x", i), at: end,
			device: fmt.Sprintf("browser-%d", i), kind: "page_viewed"})
	}
	come := make(map[*happening]time.Time, n)
	for _, h := range w.history {
		if come[h] = h.at; h.at.Before(end) {
			come[h] = h.at.Add(time.Duration(r.Int64N(int64(most))))
		}
	}
	arrivals := slices.Clone(w.history)
	slices.SortStableFunc(arrivals, func(a, b *happening) int { return come[a].Compare(come[b]) })
	var batches []service.MessageBatch
	var offsets [partitions]int
	for len(arrivals) > 0 {
		size := min(1+r.IntN(together), len(arrivals))
		var batch service.MessageBatch
		for _, h := range arrivals[:size] {
			batch = append(batch, record(h, &offsets, false))
			if r.IntN(10) == 0 { // sent twice: event_dedupe marks the second
				batch = append(batch, record(h, &offsets, true))
			}
		}
		arrivals = arrivals[size:]
		batches = append(batches, batch)
		if r.IntN(5) == 0 {
			batches = append(batches, batch.DeepCopy())
		}
	}
	url := storeurl.New("sqlite", filepath.Join(t.TempDir(), "control.db"))
	w.open(url)
	w.apply(url, batches)
	w.ask = ask{fleet: "shop", from: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), to: end.Add(48 * time.Hour)}
	return w
}

func record(h *happening, offsets *[partitions]int, again bool) *service.Message {
	msg, p := service.NewMessage([]byte(h.json())), partitionOf(h.device)
	for name, v := range map[string]any{"kafka_topic": "raw-events", "kafka_partition": p, "kafka_offset": offsets[p],
		event.HeaderFleet: "shop", event.HeaderReceivedAt: h.at.Add(time.Second).UTC().Format(event.TimeFormat)} {
		msg.MetaSetMut(name, v)
	}
	if again {
		msg.MetaSetMut(event.MetaDuplicateOf, "raw-events/0/0")
	}
	offsets[p]++
	return msg
}

// open puts the shipped rules in force.
func (w *world) open(url string) {
	w.Helper()
	db, err := sqldb.Open(w.Context(), url)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = db.Close() })
	if w.source, err = Open(w.Context(), db); err != nil {
		w.Fatal(err)
	}
	versions, err := rule.OpenVersions(w.Context(), db)
	if err != nil {
		w.Fatal(err)
	}
	v, err := versions.Put(w.Context(), read(w, shipped), "ann", "")
	if err == nil {
		_, err = versions.Activate(w.Context(), v.Number, "ann")
	}
	if err != nil {
		w.Fatal(err)
	}
}

// apply runs the stream's output over batches, one after the other.
func (w *world) apply(url string, batches []service.MessageBatch) {
	w.Helper()
	env := service.NewEnvironment()
	if err := rule.Register(env); err != nil {
		w.Fatal(err)
	}
	b := env.NewStreamBuilder()
	feed, err := b.AddBatchProducerFunc()
	if err == nil {
		err = b.AddOutputYAML(fmt.Sprintf("event_rules: { rules: %q, url: %q, delay: 5s }", shipped, url))
	}
	if err == nil {
		err = b.SetLoggerYAML("level: ERROR")
	}
	if err != nil {
		w.Fatal(err)
	}
	stream, err := b.Build()
	if err != nil {
		w.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = stream.Run(ctx)
	}()
	defer func() {
		stop()
		<-ended
	}()
	for _, batch := range batches {
		if err := feed(w.Context(), batch); err != nil {
			w.Fatal(err)
		}
	}
}

// byDevice are the events of each device in the order of their time.
func (w *world) byDevice() map[string][]*happening {
	of := map[string][]*happening{}
	for _, h := range w.history {
		of[h.device] = append(of[h.device], h)
	}
	for _, list := range of {
		slices.SortFunc(list, func(a, b *happening) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id))
		})
	}
	return of
}

func (w *world) with(name string) ask {
	a := w.ask
	a.step, _ = stepOf(name)
	return a
}

// starts are when the windows of a step begin that an event is in.
func starts(s step, at time.Time) (all []time.Time) {
	for start := at.Truncate(s.every); start.Add(s.width).After(at); start = start.Add(-s.every) {
		all = append(all, start)
	}
	return all
}

// What is answered is what a recomputation over all events says, whatever the
// order in which they came, and however often.
func TestAnalytics_AreWhatARecomputationSays(t *testing.T) {
	for seed := range uint64(2) {
		w := count(t, seed, 900, 5*time.Second)
		w.sums()
		w.sessions()
		w.funnel()
		w.attribution()
	}
}

// Events that are late by less than is allowed count as if they had been in time.
func TestAnalytics_LateEventsCount(t *testing.T) {
	w := count(t, 11, 900, 4*time.Minute)
	w.sums()
	w.sessions()
}

func (w *world) sums() {
	w.Helper()
	for _, name := range []string{"1m", "5m", "1h", "1d"} {
		a := w.with(name)
		events, users, revenue := map[string]int64{}, map[string]map[string]bool{}, map[string]saleSums{}
		everybody := map[string]bool{}
		for _, h := range w.history {
			everybody[h.who()] = true
			for _, start := range starts(a.step, h.at) {
				events[orderOf(start)+h.kind]++
				for _, key := range []string{orderOf(start) + h.kind, orderOf(start)} {
					if users[key] == nil {
						users[key] = map[string]bool{}
					}
					users[key][h.who()] = true
				}
				switch key := orderOf(start) + h.currency; h.kind {
				case "order_placed":
					revenue[key] = revenue[key].plus(saleSums{Orders: 1, Amount: h.amount})
				case "order_refunded":
					revenue[key] = revenue[key].plus(saleSums{Refunds: 1, Refunded: h.amount})
				}
			}
		}
		rows, err := w.source.events(w.Context(), a)
		if err != nil || len(rows) != len(events) {
			w.Fatalf("events by %s: %d rows, not %d: %v", name, len(rows), len(events), err)
		}
		for _, r := range rows {
			if r.Events != events[r.order()] || r.Users != nil && *r.Users != int64(len(users[r.order()])) {
				w.Errorf("events by %s: %+v, recomputed %d", name, r, events[r.order()])
			}
		}
		if name == "5m" {
			continue
		}
		people, total, err := w.source.users(w.Context(), a)
		if err != nil || total != int64(len(everybody)) {
			w.Fatalf("users by %s: %d, not %d: %v", name, total, len(everybody), err)
		}
		for _, r := range people {
			if r.Users != int64(len(users[r.order()])) {
				w.Errorf("users by %s: %+v, recomputed %d", name, r, len(users[r.order()]))
			}
		}
		sales, _, err := w.source.revenue(w.Context(), a)
		if err != nil || len(sales) != len(revenue) {
			w.Fatalf("revenue by %s: %d rows, not %d: %v", name, len(sales), len(revenue), err)
		}
		for _, r := range sales {
			if r.saleSums != revenue[r.order()] {
				w.Errorf("revenue by %s: %+v, recomputed %+v", name, r, revenue[r.order()])
			}
		}
	}
}

func (w *world) sessions() {
	w.Helper()
	var want visits
	for _, list := range w.byDevice() {
		for from := 0; from < len(list); {
			to, orders := from, 0
			for ; to < len(list) && (to == from || list[to].at.Sub(list[to-1].at) <= gap); to++ {
				if list[to].kind == "order_placed" {
					orders++
				}
			}
			if list[from].id[:8] == "ffffffff" { // the last of its partition goes on
				want.Open++
				break
			}
			want.Sessions++
			want.Events += int64(to - from)
			if orders > 0 {
				want.Converted++
			}
			if to-from == 1 {
				want.Bounced++
			}
			from = to
		}
	}
	got, err := w.source.sessions(w.Context(), w.ask, w.ask.to)
	if err != nil {
		w.Fatal(err)
	}
	hours := int64(0)
	for _, h := range got.Hours {
		hours += h.Sessions
	}
	if got.Sessions != want.Sessions || got.Open != want.Open || got.Converted != want.Converted ||
		got.Bounced != want.Bounced || got.Events != want.Events || hours != want.Sessions {
		w.Errorf("sessions %+v, recomputed %+v", got, want)
	}
}

func (w *world) funnel() {
	w.Helper()
	steps := []string{"product_viewed", "cart_added", "checkout_started", "order_placed"}
	want, devices, entries := make([]int64, len(steps)), int64(0), int64(0)
	for _, list := range w.byDevice() {
		furthest := 0
		for i, first := range list {
			if first.kind != steps[0] {
				continue
			}
			entries++
			made := 1
			for _, h := range list[i+1:] {
				if made < len(steps) && h.kind == steps[made] && h.at.Sub(first.at) <= time.Hour {
					made++
				}
			}
			furthest = max(furthest, made)
		}
		if furthest > 0 {
			devices++
		}
		for i := range furthest {
			want[i]++
		}
	}
	for _, most := range []int64{oneByOne, -1} { // result by result, and by the sums of hours
		w.source.oneByOne = most
		got, err := w.source.funnel(w.Context(), w.ask, "funnel_checkout", w.ask.to)
		if err != nil || got.Devices != devices || got.Entries != entries || len(got.Steps) != len(steps) || !got.Exact {
			w.Fatalf("funnel %+v of %d devices, %d times: %v", got, devices, entries, err)
		}
		for i, s := range got.Steps {
			if s.Name != steps[i] || s.Devices != want[i] || i > 0 && s.DropOff != want[i-1]-want[i] {
				w.Errorf("funnel %+v, recomputed %d", s, want)
			}
		}
	}
}

func (w *world) attribution() {
	w.Helper()
	want := map[string]map[string]int64{modelFirst: {}, modelLast: {}, modelLinear: {}}
	total := map[label]int64{}
	for _, list := range w.byDevice() {
		var touches []*happening
		for _, h := range list {
			if h.campaign != "" {
				touches = append(touches, h)
			}
			if h.kind != "order_placed" {
				continue
			}
			total[label(h.currency)] += h.amount
			touches = slices.DeleteFunc(touches, func(t *happening) bool { return h.at.Sub(t.at) > 7*day })
			if len(touches) == 0 {
				for _, sums := range want {
					sums[h.currency+"\x00"] += h.amount
				}
				continue
			}
			want[modelFirst][h.currency+"\x01"+touches[0].campaign] += h.amount
			want[modelLast][h.currency+"\x01"+touches[len(touches)-1].campaign] += h.amount
			counts := map[string]int64{}
			for _, t := range touches {
				counts[t.campaign]++
			}
			var shares []share
			for _, name := range []string{"c0", "c1", "c2", "c3"} {
				if counts[name] > 0 {
					shares = append(shares, share{label(name), counts[name]})
				}
			}
			for i, part := range split(h.amount, shares) {
				want[modelLinear][h.currency+"\x01"+string(shares[i].Campaign)] += part
			}
			touches = nil
		}
	}
	for model, sums := range want {
		rows, err := w.source.attribution(w.Context(), w.ask, model)
		if err != nil || len(rows) != len(sums) {
			w.Fatalf("attribution %s: %d rows, not %d: %v", model, len(rows), len(sums), err)
		}
		left := map[label]int64{}
		for currency, amount := range total {
			left[currency] = amount
		}
		for _, r := range rows {
			left[r.Currency] -= r.Amount
			if r.Amount != sums[r.order()] {
				w.Errorf("attribution %s: %q %d, recomputed %d", model, r.order(), r.Amount, sums[r.order()])
			}
		}
		for currency, amount := range left {
			if amount != 0 {
				w.Errorf("attribution %s leaves %d of %s", model, amount, currency)
			}
		}
	}
}
