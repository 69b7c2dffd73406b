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

// fleets is a place where events of fleets come to one operator.
type fleets struct {
	*bench
	v      *Versions
	o      *output
	offset int64
	known  []Version // by which results are named: from 1
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

// come applies an event of each fleet at a second.
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

// told are the windows of the first minutes, and by which version they were told.
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

// ends says that nothing drains in the end, and that all is accounted for.
func (f *fleets) ends() {
	f.Helper()
	if got := f.drains(f.o); len(got) > 0 {
		f.Errorf("after all: %q", got)
	}
	f.comesOut()
}

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

// A version that changes only how a rule is told, and bounded, is in force for its
// fleets alone, at once, and keeps what is open.
func TestCanary_ChangesOfFormAreOfItsFleets(t *testing.T) {
	having := strings.Replace(perMinute, " }]", ", having: this.n >= 3 }]", 1)
	f := newFleets(t, "rules: []", perMinute, having)
	f.v.activate(t, 1)
	f.come(0, "a", "b")
	f.first(2, "a")
	f.come(10, "a", "b")
	f.come(61, "a", "b") // a's first window has two
	f.o = f.operator()
	for _, second := range []int{70, 80, 126} { // the next has three
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
	expect(t, f.told(1), "b 0s 1 by 2") // at once

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
		t.Errorf("of the limit of one fleet: %+v, %v", accounts, err)
	}
}

// What a partition did not see in between changes nothing: other fleets of the same
// version, and another canary, are taken up as they are.
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
	f.first(2, "a", "b") // a's counts at 2 go on
	f.come(130, "a", "b")
	f.comesOut()
	f.come(181, "a", "b")
	f.come(250, "a", "b")
	// a was of 2 between 0:20 and 1:01, in which none of its windows began
	expect(t, f.told(4), "a 0s 2 by 1", "a 1m0s 2 by 1", "a 2m0s 2 by 1", "a 3m0s 1 by 2",
		"b 0s 2 by 1", "b 1m0s 2 by 2", "b 2m0s 2 by 2", "b 3m0s 1 by 2")
	f.back()
	f.come(400, "a", "b")
	f.come(1000, "a", "b")
	f.ends()
}

// A canary goes on when what is in force for all becomes another, and is taken over
// when it becomes the same.
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
	change(otherwise()) // as the canary has it
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

// A canary goes over a file that has no rules, which is what weir is shipped with;
// taken back, there are none.
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
		t.Errorf("records of a time without rules are accounted for as %+v, %v", accounts, err)
	}
}

// A rule that went and came back has missed no record: there was none to count.
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

// A canary that was taken back drains, while another one begins.
func TestCanary_DrainsWhileAnotherBegins(t *testing.T) {
	third := strings.Replace(perMinute, "n: count()", "n: count(), q: min(this.metrics.v)", 1)
	f := newFleets(t, "rules: []", perMinute, otherwise(), third)
	f.v.activate(t, 1)
	f.come(0, "a", "b")
	f.first(2, "a")
	f.come(20, "a", "b")
	f.come(61, "a", "b") // begins in 2 for a
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

// Groups say which version fleets are to have, which they have, and where not yet.
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
	// taken back: a partition that still has it is behind
	got = Groups(Activation{Number: 1, Version: "one"}, partitions[:2])
	if want = []Group{{[]string{}, 1, "one", []Running{{"one", 2}}, 1}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Names and patterns are trimmed, and what can be none is refused.
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
