package rule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

const sketchRules = `rules:
  - { name: hourly, across_devices: true, key: [this.device_firmware_version], window: { type: tumbling, size: 1h, allowed_lateness: 30m },
      select: { who: sketch(this.user.or(this.device_id)), n: count() } }
  - { name: daily, across_devices: true, window: { type: tumbling, size: 24h, allowed_lateness: 24h },
      select: { who: sketch(this.user.or(this.device_id)), kinds: sketch(this.device_firmware_version) } }
  - { name: minute, key: [device_id], window: { type: tumbling, size: 1m, allowed_lateness: 0s }, select: { who: distinct(this.user) } }
`

// A name leaves the lists of what was told of all devices and of what is open, also of
// what only the journal had; others stay, and so does all else of the results.
func TestSketches_ANameLeavesTheLists(t *testing.T) {
	onBothOf(t, sketchRules, func(b *bench) {
		ctx, o := b.Context(), b.operator()
		send := func(from, n int) {
			for i := range n {
				raw := at(time.Duration(from+i)*time.Minute, 1)
				raw = strings.Replace(raw, `"pump-1"`, fmt.Sprintf(`"pump-%d"`, i%7), 1)
				if i%3 > 0 {
					raw = strings.Replace(raw, `{"event_id"`, fmt.Sprintf(`{"user":"user \"%d\"","event_id"`, i%5), 1)
				}
				b.apply(o, message(0, int64(from+i), raw))
			}
		}
		send(0, 400)
		db := b.open()
		people := func(rule string) (total int64, lists int) {
			var all Uniques
			add := func(raw []byte) {
				told := parseTold(b.TB, raw)
				if told.Rule != rule {
					return
				}
				text := told.Values["who"].(string)
				if err := all.Add(text); err != nil {
					b.Fatal(err)
				}
				if strings.Contains(text, hashText(`user "3"`)) {
					lists++
				}
			}
			open, err := NewOpenings(db).Of(ctx, "plant-1", rule)
			if err != nil {
				b.Fatal(err)
			}
			for _, r := range open {
				add(r.JSON)
			}
			for _, raw := range b.results() {
				add([]byte(raw))
			}
			return all.Count(), lists
		}
		hourly, listed := people("hourly")
		daily, open := people("daily")
		if hourly != 12 || daily != 12 || listed < 5 || open != 1 {
			b.Fatalf("%d and %d people, in %d results and %d", hourly, daily, listed, open)
		}
		before := b.results()
		counted, err := countNaming(ctx, db, "plant-1", tombstone.Who{Device: `user "3"`, Name: true})
		if err != nil || counted[countSketches] != int64(listed-1) { // the last hour is open
			b.Fatalf("%v of %d: %v", counted, listed, err)
		}
		target := tombstone.Target{Job: "job", Fleet: "plant-1", Device: `user "3"`, Name: true, Until: time.Now().UnixMicro()}
		other := target
		other.Device, other.Job = "user", "other" // part of a name is none
		for _, t := range []tombstone.Target{other, target, target} {
			if err := eraseSums(ctx, db, t); err != nil {
				b.Fatal(err)
			}
		}
		counts := map[string]int64{}
		err = errors.Join(tombstone.Counts(ctx, db, "job", counts), tombstone.Counts(ctx, db, "other", counts))
		if err != nil || counts[countSketches] != int64(listed-1) || len(counts) != 1 {
			b.Errorf("noted %v of %d: %v", counts, listed, err)
		}
		for _, rule := range []string{"hourly", "daily"} {
			if n, lists := people(rule); n != 11 || lists != 0 {
				b.Errorf("%s: %d people, and %d lists have the name", rule, n, lists)
			}
		}
		for id, raw := range b.results() {
			was, is := parseTold(b.TB, []byte(before[id])), parseTold(b.TB, []byte(raw))
			was.Values["who"], is.Values["who"] = nil, nil
			if fmt.Sprint(was) != fmt.Sprint(is) {
				b.Errorf("%s\nwas\n%s", raw, before[id])
			}
		}
		text, err := remains(ctx, db, "plant-1")
		want := "results of rules across devices of the fleet, of windows that end from 2026-11-21T13:00:00Z on"
		if err != nil || !strings.Contains(text, want) || !strings.HasPrefix(text, fmt.Sprint(acrossDevices(b, db), " ")) {
			b.Errorf("of what remains it is said: %s (%v)", text, err)
		}
		if text, err = remains(ctx, db, "plant-2"); err != nil || text != "" {
			b.Errorf("of a fleet without any: %s (%v)", text, err)
		}
		send(1500, 1) // the day is over
		if err := sqldb.Each(ctx, db, func(row sqldb.Row) error {
			state, err := sqldb.Value[[]byte](row)
			if strings.Contains(string(state), `user "3"`) {
				err = errors.Join(err, errors.New("a state has the name"))
			}
			return err
		}, `SELECT state FROM rule_state`); err != nil {
			b.Error(err)
		}
		if n, lists := people("daily"); n < 11 || lists != 0 {
			b.Errorf("once it is over, the day has %d people, and the name in %d lists", n, lists)
		}
	})
}

// acrossDevices counts the results of all devices.
func acrossDevices(b *bench, db *sqldb.DB) (n int) {
	b.Helper()
	if err := db.QueryRow(`SELECT count(*) FROM rule_result WHERE device_id = ''`).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// A list is read as it is written; text that happens to look like one is no list.
func TestSketches_AListLosesOneHash(t *testing.T) {
	names := []string{"a", "b", "c"}
	var set distinct
	for _, name := range names {
		set.addHash(hashOf(name))
	}
	becomes := func(raw, name string) (string, bool) {
		t.Helper()
		one, is, err := newForgetting(nil, tombstone.Target{Device: name}).of(resultKey{}, []byte(raw))
		if err != nil || one.gone {
			t.Fatal(one, err)
		}
		return one.text, is
	}
	raw := fmt.Sprintf(`{"key":{"k":"h%[1]s","l":"h%[2]s"},"values":{"w":"%[3]s","n":3,"e":"","x":"h12"},"also":{"values":"h%[2]s"}}`,
		hashText("d"), hashText("a"), set.appendText(nil))
	for _, name := range names {
		rest, is := becomes(raw, name)
		var left distinct
		for _, other := range slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name }) {
			left.addHash(hashOf(other))
		}
		want := strings.Replace(raw, string(set.appendText(nil)), string(left.appendText(nil)), 1)
		if !is || rest != want {
			t.Errorf("%s, want %s", rest, want)
		}
	}
	for _, name := range []string{"d", "e"} {
		if rest, is := becomes(raw, name); is {
			t.Errorf("of a name that is not there: %s", rest)
		}
	}
	if rest, is := becomes(fmt.Sprintf(`{"values":{"w":"h%s"}}`, hashText("a")), "a"); !is || rest != `{"values":{"w":"h"}}` {
		t.Errorf("of the only one: %s", rest)
	}
}

// hashText returns the hash of a name as it is written in results.
func hashText(name string) string { return fmt.Sprintf("%016x", hashOf(name)) }
