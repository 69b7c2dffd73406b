package rule

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"weir/internal/event"
)

// In an account every offset is read or missed, and every event that reached a rule has exactly one
// outcome in it, also in a rule that began later. Problems names what does not add up.
func TestAccounts_ComeOutWhateverHappened(t *testing.T) {
	b := newBench(t, perMinute)
	v := b.versions()
	one := v.put(t, perMinute)
	o := b.operator()
	if list, err := Accounts(t.Context(), v.db); err != nil || len(list) != 0 {
		t.Fatalf("before any rule: %v %v", list, err)
	}
	duplicate := message(0, 6, at(2*s, 1))
	duplicate.MetaSetMut(event.MetaDuplicateOf, "raw-events/0/5")
	b.apply(o, message(0, 5, at(1*s, 1)), duplicate, message(0, 9, "no event"), message(0, 10, at(3*s, 1)))
	v.activate(t, v.put(t, strings.Replace(perMinute, "select", "where: this.metrics.v > 5, select", 1)).Number)
	o = b.operator()
	b.apply(o, message(0, 10, at(3*s, 1)), message(0, 11, at(4*s, 1)), message(0, 12, at(5*s, 9)),
		message(0, 13, at(-70*s, 9)))
	want := []Account{{Topic: "raw-events", First: 5, Next: 14, Read: 7, Missed: 2, Duplicates: 1, Invalid: 1,
		Rules: []RuleAccount{{Name: "minute", Since: 11, Reached: 3, Counts: Counts{Counted: 1, Filtered: 1, Late: 1}},
			{Name: "minute of version " + one.Version + ", which drains", Since: 5, Reached: 5,
				Counts: Counts{Counted: 4, Late: 1}}}}}
	list, err := Accounts(t.Context(), v.db)
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Fatalf("%+v %v, want %+v", list, err, want)
	}
	if problems := list[0].Problems(); len(problems) != 0 {
		t.Errorf("an account that adds up has problems: %q", problems)
	}
	raw, err := json.Marshal(list)
	var again []Account
	if err == nil {
		err = json.Unmarshal(raw, &again)
	}
	if err != nil || !reflect.DeepEqual(again, list) {
		t.Errorf("%s is read as %+v (%v)", raw, again, err)
	}
	list[0].Missed, list[0].Rules[0].Counts[Late] = 1, 0
	if problems := strings.Join(list[0].Problems(), "\n"); !strings.Contains(problems, "from offset 5 to 13") ||
		!strings.Contains(problems, "rule minute tells of 2 of the 3 events of raw-events/0") {
		t.Errorf("problems of an account that does not add up: %s", problems)
	}
}
