package rule

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// crowded is a rule with sketches of many values, and one with sums of a person.
const crowded = `rules:
  - { name: crowd, across_devices: true, window: { type: tumbling, size: 10m, allowed_lateness: 5m },
      select: { n: count(), who: sketch(this.user.id.or(this.device_id)), low: min(this.metrics.v) } }
  - { name: slides, across_devices: true, key: [this.device_firmware_version],
      window: { type: sliding, size: 20m, every: 10m, allowed_lateness: 0s },
      select: { who: sketch(this.user.id.or(this.device_id)) } }
  - { name: spent, across_devices: true, key: [this.user.id], where: this.exists("user.id"), select: { n: count() },
      window: { type: tumbling, size: 10m, allowed_lateness: 1m } }
`

// crowdedOtherwise is crowded, counted otherwise.
func crowdedOtherwise() string {
	return strings.Replace(crowded, "low: min", "high: max(this.metrics.v), low: min", 1)
}

// lucky is a name whose rank nobody else's is near to: its register says that it was there.
func lucky() (name string, rank uint8) {
	for i := 0; ; i++ {
		name = fmt.Sprintf(`ann "%d"`, i)
		if _, rank = register(hashOf(name)); rank >= 20 {
			return name, rank
		}
	}
}

// crowds is a log of windows of ten minutes in which 400 people come, and somebody else twice, from window from on.
func crowds(name string, from, windows int) (log []*service.Message) {
	for w := from; w < from+windows; w++ {
		for i := range 402 {
			who := fmt.Sprintf("user-%d", i+37*w)
			if i%200 == 100 {
				who = name
			}
			raw := strings.Replace(at(time.Duration(w)*10*time.Minute+time.Duration(i)*s, float64(i)), `{"event_id"`,
				fmt.Sprintf(`{"user":{"id":%q},"event_id"`, who), 1)
			log = append(log, message(0, int64(402*w+i), raw))
		}
	}
	return log
}

// traces searches all that rules keep for a name: itself, its hash as text and as bytes, and registers of its rank.
func (b *bench) traces(db *sqldb.DB, name string, rank uint8) (found []string) {
	b.Helper()
	hash, rules := hashOf(name), slices.Concat(mustParse(b.TB, crowded).Rules, mustParse(b.TB, crowdedOtherwise()).Rules)
	in := func(where string, raw []byte) {
		for what, trace := range map[string][]byte{"the name": []byte(name), "the quoted name": fmt.Appendf(nil, "%q", name),
			"the hash": []byte(hashText(name)), "the hash, binary": binary.LittleEndian.AppendUint64(nil, hash)} {
			if bytes.Contains(raw, trace) {
				found = append(found, where+" has "+what)
			}
		}
	}
	for where, query := range map[string]string{"a result": `SELECT CAST(result AS TEXT) FROM rule_result`,
		"a key": `SELECT key FROM rule_state`, "a state": `SELECT state FROM rule_state`,
		"a journal": `SELECT entry FROM rule_journal`, "a funnel": `SELECT steps FROM rule_furthest`,
		"a position": `SELECT tally FROM rule_position`} {
		if err := sqldb.Each(b.Context(), db, func(row sqldb.Row) error {
			raw, err := sqldb.Value[[]byte](row)
			in(where, raw)
			for _, r := range rules {
				if where == "a state" && slices.Contains(setsIn(r, raw), rank) {
					found = append(found, "a state has the rank")
				}
			}
			return err
		}, query); err != nil {
			b.Fatal(err)
		}
	}
	for id, raw := range b.results() {
		for _, v := range parseTold(b.TB, []byte(raw)).Values {
			text, is := v.(string)
			if !is {
				continue
			}
			var u Uniques
			if err := u.Add(text); err != nil {
				b.Fatal(err)
			}
			if slices.Contains(u.of.regs, rank) {
				found = append(found, "the result "+id+" has the rank")
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// setsIn returns all registers in a state of a rule.
func setsIn(r *Rule, raw []byte) (regs []uint8) {
	k, err := decodeKey("", raw, r)
	if err != nil {
		return nil // it is of another rule
	}
	for _, p := range k.panes {
		for _, c := range p.cells {
			if c.more != nil {
				regs = append(regs, c.more.distinct.regs...)
			}
		}
	}
	return regs
}

// Wherever somebody is in sums of all devices - in windows that were told, in rows and journals of those that are open,
// in rules that drain, and in those of a canary - an erasure leaves neither the name nor its hash, nor a register of
// its rank, however often it is killed between two transactions, and while others come. What is told of these windows
// later has none either; nothing else changes.
func TestForgetting_NothingOfANameIsLeft(t *testing.T) {
	name, rank := lucky()
	for state, prepare := range map[string]func(b *bench, o *output, log []*service.Message){
		"journal": func(b *bench, o *output, log []*service.Message) {
			b.apply(o, log...)
			if !bytes.Contains(b.journal(), []byte(`ann`)) {
				b.Fatal("the journal has nothing of it")
			}
		},
		"rows": func(b *bench, o *output, log []*service.Message) {
			b.apply(o, log...)
			o.writeRows(b.TB)
		},
		"some rows": func(b *bench, o *output, log []*service.Message) {
			o.journalMost, o.rowsEach = 20_000, 3
			for part := range slices.Chunk(log, 40) {
				b.apply(o, part...)
			}
		},
		"drain": func(b *bench, o *output, log []*service.Message) {
			b.apply(o, log[:len(log)-50]...)
			v := b.versions()
			v.activate(b.TB, v.put(b.TB, crowdedOtherwise()).Number)
			b.apply(o, log[len(log)-50:]...)
			if len(b.drains(o)) == 0 {
				b.Fatal("nothing drains")
			}
		},
		"canary": func(b *bench, o *output, log []*service.Message) {
			b.apply(o, log[:len(log)-250]...)
			v := b.versions()
			other := v.put(b.TB, crowdedOtherwise())
			if _, err := v.ActivateFor(b.Context(), other.Number, []string{"plant-1"}, "ann"); err != nil {
				b.Fatal(err)
			}
			b.apply(o, log[len(log)-250:]...)
		},
	} {
		t.Run(state, func(t *testing.T) {
			onBothOf(t, "rules: []", func(b *bench) {
				ctx, v := b.Context(), b.versions()
				v.activate(b.TB, v.put(b.TB, crowded).Number)
				o, db := b.operator(), b.open()
				prepare(b, o, crowds(name, 0, 4))
				before := b.results()
				if found := strings.Join(b.traces(db, name, rank), "\n"); strings.Count(found, "has the rank") < 3 ||
					!strings.Contains(found, "a result has the quoted name") || state == "rows" &&
					(!strings.Contains(found, "a key has the quoted name") || !strings.Contains(found, "a state has the rank")) {
					b.Fatalf("too little is there:\n%s", found)
				}
				target := tombstone.Target{Job: "job", Fleet: "plant-1", Device: name, Name: true,
					Until: noon().Add(37 * time.Minute).UnixMicro()}
				if err := tombstone.Bury(ctx, db, target.Stone()); err != nil {
					b.Fatal(err)
				}
				others, steps := crowds("user-1", 4, 1), 0
				for whole := false; !whole; steps++ { // killed after one transaction, then after two, and so on
					f := newForgetting(db, target)
					if _, err := f.begin(ctx); err != nil {
						b.Fatal(err)
					}
					more := true
					for n := 0; more && n <= steps; n++ {
						var err error
						if more, err = f.step(ctx); err != nil {
							b.Fatal(err)
						}
					}
					whole = !more
					b.apply(o, others[40*steps:40*steps+40]...)
				}
				if found := b.traces(db, name, rank); len(found) > 0 {
					b.Errorf("it is left:\n%s", strings.Join(found, "\n"))
				}
				after, deleted, taken := b.results(), 0, 0
				again := newForgetting(db, target)
				if err := again.reach(ctx); err != nil {
					b.Fatal(err)
				}
				for id, raw := range before {
					one, is, err := again.of(resultKey{}, []byte(raw))
					now, there := after[id]
					deleted, taken = deleted+int(bit(one.gone)), taken+int(bit(is && !one.gone))
					want := raw
					if is {
						want = one.text
					}
					if err != nil || one.gone == there || there && now != want {
						b.Errorf("%s\nis\n%s (%v)", raw, now, err)
					}
				}
				counts := map[string]int64{}
				if err := tombstone.Counts(ctx, db, "job", counts); err != nil || counts[countResults] != int64(deleted) ||
					counts[countSketches] != int64(taken) || deleted < 2 || taken < 3 {
					b.Errorf("noted %v, %d went and %d changed: %v", counts, deleted, taken, err)
				}
				if state == "rows" && counts[countState] == 0 {
					b.Errorf("no key was open: %v", counts)
				}
				b.apply(o, others[40*steps:]...)
				b.apply(o, crowds("user-2", 5, 3)...) // all of its windows are over
				if found := b.traces(db, name, rank); len(found) > 0 {
					b.Errorf("it came back:\n%s", strings.Join(found, "\n"))
				}
				told := b.results()
				if err := eraseSums(ctx, db, target); err != nil {
					b.Fatal(err)
				}
				for id, raw := range b.results() {
					// a window that slides can have panes from after the erasure, in which nothing was forgotten
					if told[id] != raw && !strings.Contains(raw, `"slides"`) {
						b.Errorf("erasing again changes what had forgotten: %s\nwas\n%s", raw, told[id])
					}
				}
				if left, err := countNaming(ctx, db, "plant-1", target.Who()); err != nil || left[countResults] > 0 {
					b.Errorf("a dry run counts %v: %v", left, err)
				}
			})
		})
	}
}

// Windows that began after the moment of the erasure keep who came then, also where the erasure runs later: but for
// those that began so little later that an event from before it may count there, whose clock was ahead.
func TestForgetting_WhoComesLaterIsKept(t *testing.T) {
	name, rank := lucky()
	for minute, kept := range map[int]string{24: "[30m0s 40m0s 50m0s]", 26: "[40m0s 50m0s]"} {
		onBothOf(t, crowded, func(b *bench) {
			o, db := b.operator(), b.open()
			b.apply(o, crowds(name, 0, 6)...)
			o.writeRows(b.TB)
			target := tombstone.Target{Job: "job", Fleet: "plant-1", Device: name, Name: true,
				Until: noon().Add(time.Duration(minute) * time.Minute).UnixMicro()}
			if err := eraseSums(b.Context(), db, target); err != nil {
				b.Fatal(err)
			}
			b.apply(o, crowds("user-1", 6, 2)...)
			has := map[string][]string{}
			for _, raw := range b.results() {
				r := parseTold(b.TB, []byte(raw))
				text, _ := r.Values["who"].(string)
				var u Uniques
				if err := u.Add(text); err != nil {
					b.Fatal(err)
				}
				if slices.Contains(u.of.regs, rank) || r.Key["user.id"] == name {
					has[r.Rule] = append(has[r.Rule], fmt.Sprint(r.Start.Sub(noon())))
				}
			}
			for _, list := range has {
				slices.Sort(list)
			}
			if want := fmt.Sprintf("map[crowd:%[1]s slides:%[1]s spent:%[1]s]", kept); fmt.Sprint(has) != want {
				b.Errorf("erased at minute %d, %v has the name, not %s", minute, has, want)
			}
		})
	}
}

// What was told is read in the order of an index that has nothing but sums of all devices.
func TestForgetting_ReadsNoOtherResults(t *testing.T) {
	b := newBench(t, "rules: []")
	_ = b.operator() // makes the tables
	var plan string
	var id, parent, unused int
	if err := b.open().QueryRow(`EXPLAIN QUERY PLAN `+fmt.Sprintf(nextOfAll, listedMost), "f", "", 0).Scan(&id, &parent, &unused,
		&plan); err != nil || !strings.Contains(plan, "rule_result_of_all (fleet=? AND (id,revision)>(?,?))") {
		t.Errorf("%s (%v)", plan, err)
	}
}

// Of an erased device go the keys that are devices, of a person those that are people; each is left where the other is
// meant, and where a field only happens to read as the name.
func TestForgetting_KeysGoWithWhomTheyName(t *testing.T) {
	const keyed = `rules:
  - { name: person, across_devices: true, key: [this.user.id, this.metrics.w], select: { n: count() },
      window: { type: tumbling, size: 10m, allowed_lateness: 0s } }
  - { name: device, across_devices: true, key: [this.device_id.lowercase()], select: { n: count() },
      window: { type: tumbling, size: 10m, allowed_lateness: 0s } }
  - { name: either, across_devices: true, key: [this.user.anonymous_id.or(this.device_id)], select: { n: count() },
      window: { type: tumbling, size: 24h, allowed_lateness: 1h } }
  - { name: kinds, across_devices: true, key: [this.metadata.user_ids], select: { n: count() },
      window: { type: tumbling, size: 10m, allowed_lateness: 0s } }
`
	onBothOf(t, keyed, func(b *bench) {
		ctx, o, db := b.Context(), b.operator(), b.open()
		for i := range 45 {
			raw := strings.Replace(at(time.Duration(i)*time.Minute, 1), `"v":`, fmt.Sprintf(`"w":%d,"v":`, i%2), 1)
			raw = strings.Replace(raw, `{"event_id"`, `{"user":{"id":"pump-1"},"metadata":{"user_ids":"pump-1"},"event_id"`, 1)
			b.apply(o, message(0, int64(i), raw))
		}
		kept := func() (all []string) {
			b.Helper()
			rules := map[string]bool{}
			for _, raw := range b.results() {
				rules[parseTold(b.TB, []byte(raw)).Rule+" told"] = true
			}
			open, err := NewOpenings(db).Of(ctx, "plant-1", "person", "device", "either", "kinds")
			if err != nil {
				b.Fatal(err)
			}
			for _, r := range open {
				rules[r.Rule+" open"] = true
			}
			return slices.Sorted(maps.Keys(rules))
		}
		all := "[device open device told either open kinds open kinds told person open person told]"
		if got := fmt.Sprint(kept()); got != all {
			b.Fatal(got)
		}
		target := tombstone.Target{Fleet: "plant-1", Device: "pump-1", Until: time.Now().UnixMicro()}
		for _, c := range []struct {
			name bool
			want string
		}{{false, "[kinds open kinds told person open person told]"}, {true, "[kinds open kinds told]"}} {
			target.Name, target.Job = c.name, fmt.Sprint("job-", c.name)
			before := b.results()
			counted, err := countNaming(ctx, db, "plant-1", target.Who())
			if err != nil {
				b.Fatal(err)
			}
			if err := eraseSums(ctx, db, target); err != nil {
				b.Fatal(err)
			}
			if got := fmt.Sprint(kept()); got != c.want {
				b.Errorf("a name %t: %s is left, not %s", c.name, got, c.want)
			}
			if gone := int64(len(before) - len(b.results())); counted[countResults] != gone || gone < 4 {
				b.Errorf("%d results went, and a dry run counts %v", gone, counted)
			}
		}
	})
}

// What the proof computes again of sums that forgot is right, where tombstones explain it, and not otherwise.
func TestForgetting_TheProofKnows(t *testing.T) {
	name, _ := lucky()
	b := newBench(t, "rules: []")
	ctx, v := b.Context(), b.versions()
	sketches, _, _ := strings.Cut(crowded, "  - { name: spent")
	v.activate(t, v.put(t, sketches).Number)
	o, db := b.operator(), b.open()
	log := slices.Concat(crowds(name, 0, 5), crowds("user-1", 5, 3))
	some := 3*402 + 350
	b.apply(o, log[:some]...)
	target := tombstone.Target{Job: "job", Fleet: "plant-1", Device: name, Name: true,
		Until: noon().Add(30*time.Minute + 50*s).UnixMicro()}
	if err := errors.Join(tombstone.Bury(ctx, db, target.Stone()), eraseSums(ctx, db, target)); err != nil {
		t.Fatal(err)
	}
	b.apply(o, log[some:]...) // the name came again before the erasure ran, and comes afterwards
	l := stored(t, log)
	l.erased = map[int64]bool{}
	for _, e := range l.log {
		if bytes.Contains(e.JSON, fmt.Appendf(nil, "%q", name)) && e.at <= target.Until {
			l.lost[e.First.Offset], l.erased[e.First.Offset] = true, true
		}
	}
	whole := b.recomputed(l)
	if len(whole.Differing) > 0 || whole.Right < 5 || whole.Erased < 5 || whole.ErasedEvents != 2*int64(whole.Erased)+4 {
		t.Errorf("%+v", whole)
	}
	set := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(ctx, query, args...); err != nil {
			t.Fatal(err)
		}
	}
	results := b.results()
	spoilt := func(n int) []Difference {
		t.Helper()
		for id, raw := range results {
			text := []byte(raw)
			from := bytes.Index(text, []byte(`"who":"r`)) + len(`"who":"r`)
			for i := range n { // registers that nobody has so high
				text[from+i*7] = registerText + 40
			}
			set(`UPDATE rule_result SET result = $2 WHERE id || '/' || revision = $1`, id, string(text))
		}
		got := b.recomputed(l)
		for id, raw := range results {
			set(`UPDATE rule_result SET result = $2 WHERE id || '/' || revision = $1`, id, raw)
		}
		return got.Differing
	}
	one := spoilt(1)
	for _, d := range one {
		r := parseTold(t, []byte(results[fmt.Sprintf("%s/%d", d.ID, d.Revision)]))
		if r.Start.Before(noon().Add(30 * time.Minute)) { // the next one lacks the register of who came again
			t.Errorf("one register is another in a window that began before the erasure, and it differs: %+v", d)
		}
	}
	if all := spoilt(8); len(one) < 5 || len(all) < whole.Right+whole.Erased {
		t.Errorf("with one other register %d differ, with 8 %d of %d", len(one), len(all), len(results))
	}
	set(`UPDATE erased SET until = 0`)
	if got := b.recomputed(l); len(got.Differing) < 2 {
		t.Errorf("without a tombstone: %+v", got)
	}
}

// The proof does not judge a sum whose key was erased since its window began, if it lacks events: those that came
// between the moment of the erasure and its deletion are stored, and went with the key. One that has too many is wrong.
func TestForgetting_ErasedKeysAreNotJudged(t *testing.T) {
	b := newBench(t, "rules: []")
	ctx, v := b.Context(), b.versions()
	text := strings.Replace(crowded, "key: [this.user.id]", "key: [this.user.name.or(this.user.id)]", 1)
	v.activate(t, v.put(t, text).Number)
	var log []*service.Message
	for i := range 80 {
		raw := strings.Replace(at(time.Duration(i)*time.Minute, 1), `{"event_id"`, fmt.Sprintf(`{"user":{"id":%q},"event_id"`,
			[]string{"ann", "ben"}[i%2]), 1)
		log = append(log, message(0, int64(i), raw))
	}
	o, db := b.operator(), b.open()
	b.apply(o, log[:18]...)
	target := tombstone.Target{Job: "job", Fleet: "plant-1", Device: "ben", Name: true,
		Until: noon().Add(12 * time.Minute).UnixMicro()}
	if err := errors.Join(tombstone.Bury(ctx, db, target.Stone()), eraseSums(ctx, db, target)); err != nil {
		t.Fatal(err)
	}
	b.apply(o, log[18:]...)
	l := stored(t, log)
	l.erased = map[int64]bool{}
	for i := 1; i <= 12; i += 2 {
		l.lost[int64(i)], l.erased[int64(i)] = true, true
	}
	got := b.recomputed(l)
	if len(got.Differing) > 0 || got.Skipped[SkippedChanged] != 1 || got.Right < 10 {
		t.Errorf("%+v", got)
	}
	if _, err := db.ExecContext(ctx, `UPDATE rule_result
		SET result = replace(replace(result, '"n":', '"n":1'), '"count":', '"count":1') WHERE rule = 'spent'`); err != nil {
		t.Fatal(err)
	}
	if got := b.recomputed(l); got.Skipped[SkippedChanged] > 0 || len(got.Differing) < 10 {
		t.Errorf("with more than is stored: %+v", got)
	}
}
