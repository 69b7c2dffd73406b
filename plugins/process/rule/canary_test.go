package rule

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// fleets is a bench with one output that is given events of several fleets.
type fleets struct {
	*bench
	v      *Versions
	o      *output
	offset int64
	known  []Version // told names them by their place in this list, from 1
}

func newFleets(t *testing.T, file string, texts ...string) *fleets {
	b := newBench(t, file)
	f := &fleets{bench: b, v: b.versions()}
	for _, text := range texts {
		f.known = append(f.known, f.v.put(t, text))
	}
	f.o = b.operator()
	return f
}

// come applies an event of each fleet, stamped so many seconds after noon.
func (f *fleets) come(second int, fleets ...string) {
	f.Helper()
	for _, fleet := range fleets {
		id := fmt.Sprintf("4%03d", fleet[0])
		raw := strings.Replace(at(time.Duration(second)*s, 1), "4000", id, 1)
		f.apply(f.o, of(fleet, message(0, f.offset, raw)))
		f.offset++
	}
}

func (f *fleets) first(number int64, fleets ...string) {
	f.Helper()
	if _, err := f.v.ActivateFor(f.Context(), number, fleets, "ann"); err != nil {
		f.Fatal(err)
	}
}

func (f *fleets) back() {
	f.Helper()
	if _, err := f.v.Rollback(f.Context(), "ann"); err != nil {
		f.Fatal(err)
	}
}

// told returns the results of windows of the first minutes, each with the version that it names.
func (f *fleets) told(minutes int) (all []string) {
	f.Helper()
	for _, raw := range f.results() {
		r := parseTold(f.TB, []byte(raw))
		by := "file"
		for i, v := range f.known {
			if strings.Contains(raw, `"version":"`+v.Version+`"`) {
				by = fmt.Sprint(i + 1)
			}
		}
		if at := r.Start.Sub(noon()); at < time.Duration(minutes)*time.Minute {
			all = append(all, fmt.Sprintf("%s %v %v by %s", r.Fleet, at, r.Values["n"], by))
		}
	}
	slices.Sort(all)
	return all
}

// ends checks that nothing drains any more, and calls comesOut.
func (f *fleets) ends() {
	f.Helper()
	if got := f.drains(f.o); len(got) > 0 {
		f.Errorf("in the end these still drain: %q", got)
	}
	f.comesOut()
}

// comesOut checks that the accounts add up, and that no two operators have the same epoch.
func (f *fleets) comesOut() {
	f.Helper()
	accounts, err := Accounts(f.Context(), f.o.db)
	if err != nil || len(accounts) != 1 || len(accounts[0].Problems()) > 0 {
		f.Errorf("accounts: %+v, %v", accounts, err)
	}
	epochs := map[string]bool{}
	for _, h := range f.o.places {
		for _, op := range h.operators() {
			if epochs[op.Epoch] {
				f.Errorf("two operators count rule %s of epoch %s", op.Name, op.Epoch)
			}
			epochs[op.Epoch] = true
		}
	}
}

// A canary that changes only the form of a rule's results and its limits takes effect at once, for
// its fleets alone, and keeps their open windows.
func TestCanary_ChangesOfFormAreOfItsFleets(t *testing.T) {
	having := strings.Replace(perMinute, " }]", ", having: this.n >= 3 }]", 1)
	f := newFleets(t, "rules: []", perMinute, having)
	f.v.activate(t, 1)
	f.come(0, "a", "b")
	f.first(2, "a")
	f.come(10, "a", "b")
	f.come(61, "a", "b") // the first window has two events, too few for a
	f.o = f.operator()
	for _, second := range []int{70, 80, 126} { // the second window has three events
		f.come(second, "a", "b")
	}
	f.back()
	f.come(190, "a", "b")
	f.come(400, "a", "b")
	expect(t, f.told(4), "a 1m0s 3 by 2", "a 2m0s 1 by 1", "a 3m0s 1 by 1",
		"b 0s 2 by 1", "b 1m0s 3 by 1", "b 2m0s 1 by 1", "b 3m0s 1 by 1")
	f.ends()

	emit := strings.Replace(perMinute, " }]", ", emit: { on: update } }]", 1)
	f = newFleets(t, "rules: []", perMinute, emit)
	f.v.activate(t, 1)
	f.first(2, "b")
	f.come(0, "a", "b")
	expect(t, f.told(1), "b 0s 1 by 2") // before the window closes

	limits := strings.Replace(perMinute, " }]", ", limits: { keys_per_fleet: 1 } }]", 1)
	f = newFleets(t, "rules: []", perMinute, limits)
	f.v.activate(t, 1)
	f.first(2, "a")
	f.come(0, "a", "b")
	for i, fleet := range []string{"a", "b"} { // another key
		raw := strings.NewReplacer("4000", fmt.Sprintf("5%03d", fleet[0]), "pump-1", "pump-2").Replace(at(s, 1))
		f.apply(f.o, of(fleet, message(0, f.offset+int64(i), raw)))
	}
	accounts, err := Accounts(t.Context(), f.o.db)
	if err != nil || accounts[0].Rules[0].Counts[OverLimit] != 1 || accounts[0].Rules[0].Counts[Counted] != 3 {
		t.Errorf("with a limit of one fleet: %+v, %v", accounts, err)
	}
}

// A partition may not see each activation. It takes up the newest as it is, also if that is the same
// canary for other fleets.
func TestCanary_OtherFleetsOfItAreTakenUp(t *testing.T) {
	f := newFleets(t, "rules: []", perMinute, otherwise())
	f.v.activate(t, 1)
	f.come(0, "a", "b")
	f.first(2, "a")
	f.come(20, "a", "b")
	f.back()
	f.first(2, "b")
	f.come(61, "a", "b")
	f.comesOut()
	f.o = f.operator()
	f.come(70, "a", "b")
	f.come(121, "a", "b")
	f.back()
	f.first(2, "a", "b") // version 2 counts a again
	f.come(130, "a", "b")
	f.comesOut()
	f.come(181, "a", "b")
	f.come(250, "a", "b")
	// a had version 2 from 0:20 to 1:01, and none of its windows began in that time.
	expect(t, f.told(4), "a 0s 2 by 1", "a 1m0s 2 by 1", "a 2m0s 2 by 1", "a 3m0s 1 by 2",
		"b 0s 2 by 1", "b 1m0s 2 by 2", "b 2m0s 2 by 2", "b 3m0s 1 by 2")
	f.back()
	f.come(400, "a", "b")
	f.come(1000, "a", "b")
	f.ends()
}

// A canary goes on when the version for all other fleets changes. When that becomes the version of
// the canary, it takes over what the canary has counted.
func TestCanary_GoesOnOverAnotherBase(t *testing.T) {
	third := strings.Replace(perMinute, "n: count()", "n: count(), q: min(this.metrics.v)", 1)
	f := newFleets(t, perMinute, perMinute, otherwise(), third)
	change := func(rules string) {
		t.Helper()
		f.write(rules)
		if changed, err := f.o.rules.Refresh(t.Context()); err != nil || !changed {
			t.Fatal(changed, err)
		}
	}
	f.come(0, "a", "b")
	f.first(2, "a")
	f.come(20, "a", "b")
	f.come(61, "a", "b")
	change(third)
	f.come(70, "a", "b")
	f.come(121, "a", "b")
	f.comesOut()
	change(otherwise()) // the version of the canary
	f.come(130, "a", "b")
	f.comesOut()
	f.come(181, "a", "b")
	f.come(190, "a", "b")
	f.back()
	f.come(241, "a", "b")
	f.come(310, "a", "b")
	expect(t, f.told(5), "a 0s 2 by 1", "a 1m0s 2 by 2", "a 2m0s 2 by 2", "a 3m0s 2 by 2", "a 4m0s 1 by 2",
		"b 0s 2 by 1", "b 1m0s 2 by 1", "b 2m0s 2 by 3", "b 3m0s 2 by 2", "b 4m0s 1 by 2")
	f.come(1000, "a", "b")
	f.ends()
}

// A version can be a canary while the file has no rules, as the one that weir is shipped with. After
// a rollback there are no rules.
func TestCanary_GoesOverNoRules(t *testing.T) {
	f := newFleets(t, "rules: []", perMinute)
	f.come(0, "a", "b")
	f.first(1, "a")
	f.come(20, "a", "b")
	f.o = f.operator()
	f.come(66, "a", "b")
	expect(t, f.told(1), "a 0s 1 by 1")
	got, err := f.v.Partitions(t.Context())
	if err != nil || len(got) != 1 || got[0].Canary != f.known[0].Version || !slices.Equal(got[0].Fleets, []string{"a"}) {
		t.Errorf("partitions: %+v, %v", got, err)
	}
	f.back()
	f.come(130, "a", "b")
	expect(t, f.told(4), "a 0s 1 by 1")
	f.v.activate(t, 1)
	f.come(140, "a", "b")
	f.come(190, "a", "b")
	expect(t, f.told(3), "a 0s 1 by 1", "a 2m0s 1 by 1", "b 2m0s 1 by 1")
	f.comesOut()
	if accounts, err := Accounts(t.Context(), f.o.db); err != nil || accounts[0].Missed != 0 || accounts[0].First != 8 {
		t.Errorf("the account has records from a time without rules: %+v, %v", accounts, err)
	}
}

// Records that come while there are no rules are not counted as missed when rules come back.
func TestEventRules_WithoutRulesNothingIsMissed(t *testing.T) {
	f := newFleets(t, "rules: []", perMinute)
	f.come(0, "a")
	for range 2 {
		f.v.activate(t, 1)
		f.come(1, "a")
		f.back()
		f.come(2, "a")
		f.come(3, "a")
	}
	f.v.activate(t, 1)
	f.come(4, "a")
	if accounts, err := Accounts(t.Context(), f.o.db); err != nil || accounts[0].Missed != 0 || accounts[0].Read != 1 {
		t.Errorf("%+v, %v", accounts, err)
	}
}

// A canary that was rolled back drains while another one begins.
func TestCanary_DrainsWhileAnotherBegins(t *testing.T) {
	third := strings.Replace(perMinute, "n: count()", "n: count(), q: min(this.metrics.v)", 1)
	f := newFleets(t, "rules: []", perMinute, otherwise(), third)
	f.v.activate(t, 1)
	f.come(0, "a", "b")
	f.first(2, "a")
	f.come(20, "a", "b")
	f.come(61, "a", "b") // for a, version 2 emits the window that begins here
	f.back()
	f.first(3, "b")
	f.come(70, "a", "b")
	f.comesOut()
	f.o = f.operator()
	f.come(121, "a", "b")
	f.come(190, "a", "b")
	f.back()
	f.come(400, "a", "b")
	f.come(1000, "a", "b")
	expect(t, f.told(4), "a 0s 2 by 1", "a 1m0s 2 by 2", "a 2m0s 1 by 1", "a 3m0s 1 by 1",
		"b 0s 2 by 1", "b 1m0s 2 by 1", "b 2m0s 1 by 3", "b 3m0s 1 by 3")
	f.ends()
}

// Groups returns, for each group of fleets, the active version, the versions that partitions use for
// it, and how many partitions do not use the active one yet.
func TestGroups_SayWhatFleetsAreToHaveAndHave(t *testing.T) {
	some := []string{"plant-*"}
	partitions := []Since{{Partition: 0, Version: "one", Canary: "two", Fleets: some}, {Partition: 1, Version: "one"},
		{Partition: 2, Version: "zero"}}
	got := Groups(Activation{Number: 1, Version: "one", Canary: 2, CanaryVersion: "two", Fleets: some}, partitions)
	want := []Group{
		{some, 2, "two", []Running{{"one", 1}, {"two", 1}, {"zero", 1}}, 2},
		{[]string{}, 1, "one", []Running{{"one", 2}, {"zero", 1}}, 2},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	// After a rollback, a partition that still has the canary is behind.
	got = Groups(Activation{Number: 1, Version: "one"}, partitions[:2])
	if want = []Group{{[]string{}, 1, "one", []Running{{"one", 2}}, 1}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Names and patterns of fleets are trimmed, and invalid ones are refused.
func TestCanary_FleetsAreNamesOrPatterns(t *testing.T) {
	f := newFleets(t, "rules: []", perMinute)
	for _, fleets := range [][]string{nil, {}, {""}, {" "}, {"["}, {"a", ""}, {"a b"}, make([]string, 101)} {
		if _, err := f.v.ActivateFor(t.Context(), 1, fleets, "ann"); !errors.Is(err, ErrFleets) {
			t.Errorf("fleets %q: %v", fleets, err)
		}
	}
	a, err := f.v.ActivateFor(t.Context(), 1, []string{" b", "a* ", "b"}, "ann")
	if err != nil || !slices.Equal(a.Fleets, []string{"a*", "b"}) {
		t.Errorf("%+v, %v", a, err)
	}
}
