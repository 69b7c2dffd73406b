package rule

import (
	"maps"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/tombstone"
)

// An erasure goes through the sums once: a later pass of it deletes nothing that came since; another erasure does.
func TestForgetting_RunsOnceForAnErasure(t *testing.T) {
	name, _ := lucky()
	onBothOf(t, crowded, func(b *bench) {
		o, db := b.operator(), b.open()
		b.apply(o, crowds(name, 0, 4)...)
		target := tombstone.Target{Job: "job", Fleet: "plant-1", Device: name, Name: true,
			Until: noon().Add(37 * time.Minute).UnixMicro()}
		erase := func() {
			b.Helper()
			if err := eraseSums(b.Context(), db, target); err != nil {
				b.Fatal(err)
			}
		}
		erase()
		b.apply(o, crowds(name, 4, 3)...)
		o.writeRows(b.TB)
		before := b.results()
		target.Until = noon().Add(2 * time.Hour).UnixMicro()
		if erase(); !maps.Equal(before, b.results()) {
			b.Error("a later pass changed what came since")
		}
		target.Job = "another"
		if erase(); maps.Equal(before, b.results()) {
			b.Error("another erasure changed nothing")
		}
	})
}

// Where rules are in force that this weir cannot read, an erasure does not pass over what they keep.
func TestForgetting_RulesOfANewerWeirAreNotPassedOver(t *testing.T) {
	onBothOf(t, "rules: []", func(b *bench) {
		v := b.versions()
		v.activate(b.TB, v.put(b.TB, crowded).Number)
		o, db := b.operator(), b.open()
		b.apply(o, crowds("ann", 0, 1)...)
		if _, err := db.ExecContext(b.Context(), `UPDATE rule_version SET text = 'rules: [{ later: syntax }]'`); err != nil {
			b.Fatal(err)
		}
		err := eraseSums(b.Context(), db, tombstone.Target{Job: "job", Fleet: "plant-1", Device: "ann", Name: true,
			Until: noon().Add(time.Hour).UnixMicro()})
		if err == nil || !strings.Contains(err.Error(), "newer weir") {
			b.Errorf("it ends with %v", err)
		}
	})
}
