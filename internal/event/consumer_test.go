package event

import (
	"slices"
	"testing"
)

func TestConsumers_NameEachGroupAndTargetOnce(t *testing.T) {
	groups, targets := Groups(), Targets()
	for i, c := range consumers() {
		at := i // those that are apart are last, and others do not list them
		if c.Apart {
			at = -1
		}
		if slices.Index(groups, c.Group) != at || slices.Index(targets, c.Target) != at || c.Group == "" || c.Target == "" {
			t.Errorf("%+v is not the only one of its name, or is listed though it is apart", c)
		}
		if TargetOf(c.Group) != c.Target || GroupOf(c.Target) != c.Group {
			t.Errorf("%+v is found as %q and %q", c, GroupOf(c.Target), TargetOf(c.Group))
		}
	}
	got, err := ParseConsumers([]string{"weir-raw", "acme-raw=raw", "acme-raw"})
	if want := []Consumer{{Group: "weir-raw", Target: TargetRaw}, {Group: "acme-raw", Target: TargetRaw},
		{Group: "acme-raw"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseConsumers([]string{"acme-raw=row"}); err == nil {
		t.Error("a target that is none was accepted")
	}
	for _, other := range []string{"acme-raw", "raw", ""} { // no name is matched by its end
		if TargetOf(other) != "" {
			t.Errorf("group %q has target %q", other, TargetOf(other))
		}
	}
}
