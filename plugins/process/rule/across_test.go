package rule

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"weir/internal/platform/sqldb"
)

const acrossRules = `
rules:
  - name: kinds
    across_devices: true
    window: { type: tumbling, size: 1m, allowed_lateness: 1m }
    key: [this.metrics.v]
    select: { n: count(), devices: sketch(this.device_id) }
  - name: visits
    key: [device_id]
    window: { type: session, gap: 10s, allowed_lateness: 0s }
    select: { n: count() }
`

// A rule across devices counts all devices of a partition together. Each partition emits its part
// under a different id, and the parts add up.
func TestAcross_PartitionsTellParts(t *testing.T) {
	b := newBench(t, acrossRules)
	o := b.operator()
	event := func(id, device int, v float64, after int) string {
		raw := strings.Replace(at(0, v), "pump-1", fmt.Sprintf("pump-%d", device), 1)
		raw = strings.Replace(raw, "00000000-0000", fmt.Sprintf("%08x-0000", id), 1)
		return strings.Replace(raw, "12:00:00", fmt.Sprintf("12:%02d:00", after), 1)
	}
	b.apply(o, message(0, 0, event(1, 1, 5, 0)), message(0, 1, event(2, 2, 5, 0)), message(1, 0, event(3, 3, 5, 0)),
		message(1, 1, event(4, 3, 7, 0)), message(0, 2, event(5, 1, 9, 3)), message(1, 2, event(6, 3, 9, 3)))
	total, ids, devices := 0, map[string]bool{}, Uniques{}
	for _, raw := range b.results() {
		var r struct {
			ID, Rule string
			Key      map[string]any
			Values   struct {
				N       int
				Devices string
			}
		}
		if err := json.Unmarshal([]byte(raw), &r); err != nil {
			t.Fatal(err)
		}
		if r.Rule != "kinds" || r.Key["metrics.v"] != 5.0 {
			continue
		}
		ids[r.ID] = true
		total += r.Values.N
		for range 2 { // adding a sketch again changes nothing
			if err := devices.Add(r.Values.Devices); err != nil {
				t.Fatal(err)
			}
		}
	}
	if total != 3 || len(ids) != 2 || devices.Count() != 3 {
		t.Errorf("%d events of %d devices in %d parts", total, devices.Count(), len(ids))
	}
}

func TestAcross_SaysAllThatIsWrong(t *testing.T) {
	const minutes = `across_devices: true, window: { type: tumbling, size: 1m, allowed_lateness: 0s }, `
	for text, want := range map[string]string{
		minutes + `select: { n: avg(this.metrics.v) }`:      "cannot be added up",
		minutes + `select: { n: distinct(this.device_id) }`: "cannot be added up",
		minutes + `key: [device_id], select: { n: count() }`: "take " +
			"one of the two out",
		minutes + `select: { n: count() }, having: this.n > 3`: "test " +
			"the sum",
		minutes + `select: { n: count() }, emit: { every: 1s }, key: []`: "",
		strings.TrimPrefix(minutes, "across_devices: true, ") + `key: [this.metrics.v], select: { n: count() }`: "are " +
			"not counted",
		minutes + `key: [], alert: { severity: warning, summary: x }, select: { n: count() }`: "the " +
			"part of each partition",
		`across_devices: true, window: { type: session, gap: 1m, allowed_lateness: 0s }, select: { n: count() }`: "follows one device",
		`across_devices: true, pattern: { match: x, within: 1m, define: { x: true } }, select: { n: count(x) }`:  "follows one device",
	} {
		_, err := Parse([]byte("rules:\n  - { name: a, " + text + " }\n"))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// While a changed rule drains, Openings returns the windows that its old form still has open, beside
// those of its new form. Rules change by a version, and by a file.
func TestOpen_HasWindowsOfARuleThatDrains(t *testing.T) {
	changed := strings.Replace(perMinute, "n: count()", "n: count(), v: max(this.metrics.v)", 1)
	for name, begin := range map[string]func(b *bench) (o *output, change func()){
		"version": func(b *bench) (*output, func()) {
			v, o := b.versions(), b.operator()
			v.activate(b, v.put(b, perMinute).Number)
			two := v.put(b, changed)
			return o, func() { v.activate(b, two.Number) }
		},
		"file": func(b *bench) (*output, func()) {
			b.write(perMinute)
			o := b.operator()
			return o, func() {
				b.write(changed)
				if is, err := o.rules.Refresh(b.Context()); err != nil || !is {
					b.Fatal(is, err)
				}
			}
		},
	} {
		b := newBench(t, "rules: []")
		o, change := begin(b)
		b.apply(o, message(0, 0, at(0, 1)), message(0, 1, at(10*s, 1)))
		change()
		b.apply(o, message(0, 2, at(20*s, 1)), message(0, 3, at(62*s, 7)))
		all, err := NewOpenings(o.db).Of(t.Context(), "plant-1", "minute")
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		open := map[string]string{}
		for _, r := range all {
			raw := strings.Replace(string(r.JSON), `"provisional"`, `"final"`, 1)
			open[fmt.Sprintf("%s/%d", r.ID, r.Revision)] = raw
			one := parseTold(t, r.JSON)
			told = append(told, fmt.Sprint(one.Start.Sub(noon()), one.Values["n"], one.Values["v"]))
		}
		slices.Sort(told)
		expect(t, told, "0s 3 <nil>", "1m0s 1 7")
		b.apply(o, message(0, 4, at(1000*s, 1)))
		if got := b.results(); !maps.Equal(got, open) {
			t.Errorf("%s: the final results are %q, and open were %q", name, got, open)
		}
	}
}

// Openings returns an open window with the result and the id that it has when it closes, and Ends
// has the same windows. Closed windows are not returned. The connection is not that of the output,
// so everything is read from the store.
func TestOpen_TellsWhatIsNotClosed(t *testing.T) {
	for name, prepare := range map[string]func(*bench){"sqlite": func(*bench) {}, "postgres": (*bench).postgres} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, acrossRules)
			prepare(b)
			o := b.operator()
			b.apply(o, message(0, 0, at(0, 5)), message(0, 1, at(61*s, 5)), message(0, 2, at(62*s, 5)))
			db, err := sqldb.Open(t.Context(), b.url)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			told := func(rules ...string) map[string]string {
				all, err := NewOpenings(db).Of(t.Context(), "plant-1", rules...)
				if err != nil {
					t.Fatal(err)
				}
				found, counted := map[string]string{}, 0
				for _, rule := range rules {
					ends := openEnds(t, NewOpenings(db), "plant-1", rule).ids()
					for _, r := range all {
						if end, is := ends[r.ID]; is && end != r.End {
							t.Errorf("window %s ends at %d, and Ends has it at %d", r.ID, r.End, end)
						} else if is {
							counted++
						}
					}
				}
				if counted != len(all) {
					t.Errorf("Ends has %d of the %d windows that Of returns", counted, len(all))
				}
				for _, r := range all {
					raw := strings.NewReplacer(`"provisional"`, `"final"`).Replace(string(r.JSON))
					found[fmt.Sprintf("%s/%d", r.ID, r.Revision)] = raw
				}
				return found
			}
			open := told("kinds", "visits")
			// The watermark is 5 s behind, at 57 s: both minutes are open, and the second of two sessions.
			if len(open) != 3 {
				t.Errorf("%d windows are open, want 3: %q", len(open), open)
			}
			if some := told("kinds"); len(some) != 2 {
				t.Errorf("of the rule kinds alone: %q, want 2 windows", some)
			}
			b.apply(o, message(0, 3, strings.Replace(at(0, 5), "12:00:00", "14:00:00", 1)))
			closed := b.results()
			for id, raw := range open {
				if closed[id] != raw {
					t.Errorf("open:   %s\nclosed: %s", raw, closed[id])
				}
			}
		})
	}
}

// There is no number of values at which counts are worse than elsewhere: for each, the root mean square of the errors
// over 200 seeds is near UniquesError, and their mean is near 0.
func TestUniques_AreWithinTheirBoundAtEachNumber(t *testing.T) {
	for _, n := range []int{257, 1000, 4096, 8000, 10_000, 12_000, 20_000, 100_000} {
		squares, sum := 0.0, 0.0
		for seed := range uint64(200) {
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			var d distinct
			for range n {
				d.addHash(r.Uint64())
			}
			off := float64(d.count())/float64(n) - 1
			squares += off * off
			sum += off
		}
		rms, mean := math.Sqrt(squares/200), sum/200
		t.Logf("%d values: off by %.2f %%, on average by %.2f %%", n, 100*rms, 100*mean)
		if rms > 1.15*UniquesError || math.Abs(mean) > UniquesError/4 {
			t.Errorf("%d values: off by %.2f %%, on average by %.2f %%", n, 100*rms, 100*mean)
		}
	}
}

// The counts of sketches that are encoded, decoded and added up are within their bounds: over 1,000
// seeds, with 257 to 100,000 values in three parts that overlap, the root mean square of the errors
// is at most UniquesError, and no error is more than four times that.
func TestUniques_AreWithinTheirBoundOver1000Seeds(t *testing.T) {
	squares, worst := 0.0, 0.0
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 17))
		n := int(257 * math.Pow(100_000/257.0, r.Float64()))
		var parts [3]distinct
		for range n {
			h := r.Uint64()
			parts[h%3].addHash(h)
			if h%5 == 0 {
				parts[(h+1)%3].addHash(h)
			}
		}
		var all Uniques
		for i := range parts {
			if err := all.Add(string(parts[i].appendText(nil))); err != nil {
				t.Fatal(err)
			}
		}
		off := float64(all.Count())/float64(n) - 1
		squares += off * off
		worst = max(worst, math.Abs(off))
	}
	if rms := math.Sqrt(squares / 1000); rms > UniquesError || worst > 4*UniquesError {
		t.Errorf("off by %.2f %%, at worst by %.2f %%", 100*rms, 100*worst)
	} else {
		t.Logf("off by %.2f %%, at worst by %.2f %%", 100*rms, 100*worst)
	}
}

func TestUniques_RefuseWhatIsNoSketch(t *testing.T) {
	for _, text := range []string{"x", "h1", "hzzzzzzzzzzzzzzzz", "r", "r" + strings.Repeat("\x01", registers),
		"r" + strings.Repeat("~", registers)} {
		if err := new(Uniques).Add(text); err == nil {
			t.Errorf("%.20q is accepted", text)
		}
	}
	var u Uniques
	if err := u.Add(""); err != nil || u.Count() != 0 {
		t.Errorf("after adding an empty text: %d %v", u.Count(), err)
	}
}

// The shipped rule set has no problem, and all of its expressions are compiled.
func TestRules_ShippedAnalyticsAreFast(t *testing.T) {
	raw, err := os.ReadFile("../../../configs/analytics.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range mustParse(t, string(raw)).Rules {
		if len(r.Slow) > 0 {
			t.Errorf("%s: %v", r.Name, r.Slow)
		}
	}
}
