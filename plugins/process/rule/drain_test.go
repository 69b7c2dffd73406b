package rule

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// otherwise returns perMinute with another select, which gives it another epoch.
func otherwise() string {
	return strings.Replace(perMinute, "n: count()", "n: count(), m: max(this.metrics.v)", 1)
}

// says returns the results of a rule, each with the place of its version in versions, from 1.
func (b *bench) says(rule string, versions ...Version) (told []string) {
	b.Helper()
	for _, raw := range b.results() {
		r := parseTold(b.TB, []byte(raw))
		if r.Rule != rule {
			continue
		}
		by := slices.IndexFunc(versions, func(v Version) bool { return strings.Contains(raw, `"version":"`+v.Version+`"`) })
		told = append(told, fmt.Sprintf("%v %v by %d", r.Start.Sub(noon()), r.Values["n"], by+1))
	}
	slices.Sort(told)
	return told
}

// drains returns the names of the rules that drain.
func (b *bench) drains(o *output) (all []string) {
	b.Helper()
	tx, _, err := begin(b.Context(), o.db)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	pos, err := readPosition(b.Context(), tx, "", place{"raw-events", 0})
	if err != nil {
		b.Fatal(err)
	}
	for _, d := range pos.tally.Drains {
		all = append(all, d.Name)
	}
	if len(all) == 0 && len(pos.tally.Turns) > 0 {
		all = append(all, "turns are left")
	}
	return all
}

// A window that was open when a rule changed is emitted, whole, by the old form of the rule, and
// those that begin later by the new form. Afterwards nothing of the old form is left.
func TestDrain_OpenWindowsAreEmittedByTheOldForm(t *testing.T) {
	b := newBench(t, "rules: []")
	v := b.versions()
	one, two := v.put(t, perMinute), v.put(t, otherwise())
	o := b.operator()
	v.activate(t, one.Number)
	b.apply(o, message(0, 0, at(0, 1)), message(0, 1, at(10*s, 1)))
	v.activate(t, two.Number)
	b.apply(o, message(0, 2, at(20*s, 1)))
	if got := b.drains(o); !slices.Equal(got, []string{"minute"}) {
		t.Errorf("draining: %q", got)
	}
	o = b.operator() // another process goes on
	b.apply(o, message(0, 3, at(50*s, 1)), message(0, 4, at(61*s, 1)), message(0, 5, at(70*s, 1)))
	b.apply(o, message(0, 6, at(5*s, 1))) // late: its window is closed
	b.apply(o, message(0, 7, at(130*s, 1)), message(0, 8, at(260*s, 1)))
	expect(t, b.says("minute", one, two), "0s 4 by 1", "1m0s 2 by 2", "2m0s 1 by 2")
	if got := b.drains(o); len(got) > 0 {
		t.Errorf("still draining in the end: %q", got)
	}
	var epochs int
	if err := o.db.QueryRow(`SELECT count(DISTINCT epoch) FROM rule_state`).Scan(&epochs); err != nil || epochs != 1 {
		t.Errorf("the state of %d epochs is kept, want 1 (%v)", epochs, err)
	}
	accounts, err := Accounts(t.Context(), o.db)
	if err != nil || len(accounts) != 1 || len(accounts[0].Problems()) > 0 {
		t.Errorf("accounts %+v, %v", accounts, err)
	}
}

// A rule that comes back while it drains has counted meanwhile: no window is missing, none is emitted
// twice, and its results keep their ids.
func TestDrain_ARollbackWithinItLeavesNoGap(t *testing.T) {
	for _, back := range []string{"rollback", "removed and put back"} {
		b := newBench(t, "rules: []")
		v := b.versions()
		one, two := v.put(t, perMinute), v.put(t, otherwise())
		if back != "rollback" {
			two = v.put(t, strings.Replace(perMinute, "minute", "another", 1))
		}
		o := b.operator()
		v.activate(t, one.Number)
		b.apply(o, message(0, 0, at(0, 1)))
		v.activate(t, two.Number)
		b.apply(o, message(0, 1, at(20*s, 1)), message(0, 2, at(61*s, 1)))
		if got, err := Accounts(t.Context(), o.db); err != nil || len(got[0].Rules) != 2 || len(got[0].Problems()) > 0 {
			t.Errorf("while it drains: %+v, %v", got, err)
		}
		if _, err := v.Rollback(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		b.apply(o, message(0, 3, at(70*s, 1)))
		o = b.operator()
		b.apply(o, message(0, 4, at(121*s, 1)), message(0, 5, at(200*s, 1)), message(0, 6, at(400*s, 1)))
		if back == "rollback" {
			expect(t, b.says("minute", one, two), "0s 2 by 1", "1m0s 2 by 2", "2m0s 1 by 1", "3m0s 1 by 1")
		} else {
			expect(t, b.says("minute", one, two), "0s 2 by 1", "1m0s 2 by 1", "2m0s 1 by 1", "3m0s 1 by 1")
			expect(t, b.says("another", one, two)) // it is not in force any more, and emits nothing
		}
		if got := b.drains(o); len(got) > 0 {
			t.Errorf("%s: still draining in the end: %q", back, got)
		}
	}
}

// changing returns rules of every kind, whose epochs depend on n.
func changing(n int) string {
	return strings.ReplaceAll(everything+`
  - { name: whole, key: [device_id], window: { type: tumbling, size: 2m, allowed_lateness: 0s },
      select: { n: count(), v: max(this.metrics.w + 0) } }
`, "this.metrics.w", fmt.Sprintf("(this.metrics.w + %d)", n))
}

// of sets the fleet of a record.
func of(fleet string, msg *service.Message) *service.Message {
	msg.MetaSetMut(event.HeaderFleet, fleet)
	return msg
}

// The fleets of a canary have its version from then on, and all others the one before. When it is
// rolled back, the version before has no gap. When it is activated for all, it goes on with what it
// has counted.
func TestCanary_SomeFleetsGetAVersionFirst(t *testing.T) {
	for end, want := range map[string][]string{
		"rollback": {"a 0s 2 by 1", "a 1m0s 2 by 2", "a 2m0s 2 by 2", "a 3m0s 2 by 1",
			"b 0s 2 by 1", "b 1m0s 2 by 1", "b 2m0s 2 by 1", "b 3m0s 2 by 1"},
		"activate": {"a 0s 2 by 1", "a 1m0s 2 by 2", "a 2m0s 2 by 2", "a 3m0s 2 by 2",
			"b 0s 2 by 1", "b 1m0s 2 by 1", "b 2m0s 2 by 1", "b 3m0s 2 by 2"},
	} {
		b := newBench(t, "rules: []")
		v := b.versions()
		one, two := v.put(t, perMinute), v.put(t, otherwise())
		o, offset := b.operator(), int64(0)
		both := func(second int) {
			t.Helper()
			for _, fleet := range []string{"a", "b"} {
				id := map[string]string{"a": "4001", "b": "4002"}[fleet]
				raw := strings.Replace(at(time.Duration(second)*s, 1), "4000", id, 1)
				b.apply(o, of(fleet, message(0, offset, raw)))
				offset++
			}
		}
		v.activate(t, one.Number)
		both(0)
		some, err := v.ActivateFor(t.Context(), two.Number, []string{"a*"}, "ann")
		if err != nil || some.Canary != 2 || some.Number != 1 || some.CanaryVersion != two.Version || some.Fleets[0] != "a*" {
			t.Fatalf("%+v, %v", some, err)
		}
		if _, err := v.ActivateFor(t.Context(), one.Number, []string{"b"}, "ann"); !errors.Is(err, ErrCanary) {
			t.Errorf("a second canary: %v", err)
		}
		both(20)
		both(61)
		o = b.operator()
		both(70)
		got, err := v.Partitions(t.Context())
		if err != nil || got[0].Version != one.Version || got[0].Canary != two.Version {
			t.Errorf("partitions: %+v, %v", got, err)
		}
		both(130)
		if end == "activate" {
			v.activate(t, two.Number)
		} else if a, err := v.Rollback(t.Context(), "ann"); err != nil || a.Number != 1 || a.Canary != 0 {
			t.Fatalf("%+v, %v", a, err)
		}
		both(150)
		for _, second := range []int{190, 200, 260, 1000} {
			both(second)
		}
		var told []string
		for _, raw := range b.results() {
			r := parseTold(t, []byte(raw))
			by := 1
			if strings.Contains(raw, two.Version) {
				by = 2
			}
			if r.Start.Sub(noon()) < 4*time.Minute {
				told = append(told, fmt.Sprintf("%s %v %v by %d", r.Fleet, r.Start.Sub(noon()), r.Values["n"], by))
			}
		}
		slices.Sort(told)
		expect(t, told, want...)
		if got := b.drains(o); len(got) > 0 {
			t.Errorf("%s: still draining in the end: %q", end, got)
		}
		if accounts, err := Accounts(t.Context(), o.db); err != nil || len(accounts[0].Problems()) > 0 {
			t.Errorf("accounts: %+v, %v", accounts, err)
		}
	}
}

// Versions come and go while a log is read, for all fleets and for some. However the log is cut into
// batches and delivered again, and whenever the process is killed, the results have the same bytes.
// Each event is in exactly one emitted window of a rule that all versions have, of whichever version.
func TestDrain_BatchesAndKillsDoNotShow(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 77))
		const n, part = 120, 20
		var log []*service.Message
		for i, line := range history(r, n, noon()) {
			log = append(log, of(fmt.Sprintf("plant-%d", r.IntN(3)), message(0, int64(i), line)))
		}
		log = append(log, message(0, n, at(9_000_000*s, 1)))
		first := func(number int64, fleets ...string) func(v *Versions) error {
			return func(v *Versions) error { _, err := v.ActivateFor(t.Context(), number, fleets, "ann"); return err }
		}
		all := func(number int64) func(v *Versions) error {
			return func(v *Versions) error { _, err := v.Activate(t.Context(), number, "ann"); return err }
		}
		then := func(one, two func(v *Versions) error) func(v *Versions) error {
			return func(v *Versions) error { return errors.Join(one(v), two(v)) }
		}
		back := func(v *Versions) error { _, err := v.Rollback(t.Context(), "ann"); return err }
		steps := [][]func(*Versions) error{
			{all(1), all(2), all(1), all(3), all(2), all(2)},
			{all(1), first(2, "plant-1"), back, first(2, "plant-1"), all(2), first(1, "plant-[02]")},
			{all(1), all(2), first(1, "plant-1", "plant-2"), all(3), first(2, "plant-0"), back},
			{all(1), first(2, "plant-1"), then(back, first(2, "plant-2")), then(back, first(3, "plant-*")),
				then(back, first(2, "plant-[12]")), all(2)},
			{all(1), first(4, "plant-1"), back, first(4, "plant-[01]"), all(4), all(2)},
		}[seed]
		run := func(killed bool) map[string]string {
			b := newBench(t, "rules: []")
			v := b.versions()
			for i := range 3 {
				v.put(t, changing(i))
			}
			v.put(t, strings.ReplaceAll(changing(0), "having: this.n > 1", "having: this.n > 2")) // another form alone
			o, at := b.operator(), 0
			for i, step := range steps {
				if err := step(v); err != nil {
					t.Fatal(err)
				}
				b.apply(o, log[at]) // each run takes the version up at the same offset
				at++
				for until := min((i+1)*part, len(log)); at < until; {
					to := until
					if killed {
						switch r.IntN(4) {
						case 0:
							o = b.operator()
							o.journalMost = []int{0, 800, journalMost}[r.IntN(3)]
							o.rowsEach = []int{1, 5, rowsEach}[r.IntN(3)]
						case 1:
							at -= min(at, r.IntN(20))
						}
						to = min(until, at+1+r.IntN(20))
					}
					b.apply(o, log[at:to]...)
					at = to
				}
			}
			b.apply(o, log[at:]...)
			accounts, err := Accounts(t.Context(), o.db)
			if err != nil || len(accounts[0].Problems()) > 0 {
				t.Errorf("seed %d: accounts: %v, %v", seed, accounts, err)
			}
			if got := b.recomputed(stored(t, log)); len(got.Differing) > 0 || got.Right == 0 {
				t.Errorf("seed %d: recomputed: %+v", seed, got)
			}
			return b.results()
		}
		want := run(false)
		counted, windows := 0.0, map[string]bool{}
		for _, raw := range want {
			if told := parseTold(t, []byte(raw)); told.Rule == "whole" {
				window := fmt.Sprint(told.Fleet, told.Key, told.Start)
				if windows[window] {
					t.Errorf("seed %d: the window %s is emitted twice", seed, window)
				}
				windows[window] = true
				counted += told.Values["n"].(float64)
			}
		}
		if counted != n {
			t.Errorf("seed %d: the windows count %v events, want %d", seed, counted, n)
		}
		for range tortured(1) {
			got := run(true)
			for id, result := range want {
				if got[id] != result {
					t.Fatalf("seed %d: the result was\n%s\nand is now\n%s", seed, result, got[id])
				}
			}
			if len(got) != len(want) {
				t.Fatalf("seed %d: there were %d results, and are now %d", seed, len(want), len(got))
			}
		}
	}
}
