package rule

import (
	"strings"
	"testing"
)

// A rule set that is refused now when somebody puts it runs as before if it is in force already, as a
// version and as a file.
func TestRuleSet_ASetInForceRunsThoughItIsRefusedNow(t *testing.T) {
	twice := strings.Replace(perMinute, "select: {", "select: { other: count(), other: count(),", 1)
	if twice == perMinute {
		t.Fatal("the rule set was not changed")
	}
	twice += "\n---\nrules: []\n"
	if _, err := Parse([]byte(twice)); err == nil || !strings.Contains(err.Error(), "select.other: occurs twice") ||
		!strings.Contains(err.Error(), "a second YAML document") {
		t.Errorf("the set is not refused: %v", err)
	}
	b := newBench(t, twice)
	o := b.operator()
	b.apply(o, message(0, 0, at(0, 1)), message(0, 1, at(120*s, 1)))
	if got := b.results(); len(got) != 1 {
		t.Fatalf("results with the file: %v", got)
	}
	v := b.versions()
	kept, err := parseKept([]byte(twice))
	if err != nil {
		t.Fatal(err)
	}
	number, err := keepVersion(t.Context(), v.db, kept, sourcePut, "ann", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Activate(t.Context(), number, "ann"); err != nil {
		t.Fatal(err)
	}
	b.apply(o, message(0, 2, at(240*s, 1)))
	if got := b.results(); len(got) != 2 || o.force.wrong != nil {
		t.Errorf("results with the version: %v, %v", got, o.force.wrong)
	}
}

// An upgrade of weir must not change the epochs of rules: a rule whose epoch changes begins anew, and
// loses its open windows if its version cannot be drained.
func TestRuleSet_EpochsStayAsTheyWereStored(t *testing.T) {
	const flow, block, seen = "fcd3340fb08b", "caa12f71c595", "244425994c3a"
	text := `rules:
  - name: flow
    window: { type: tumbling, size: 1m, allowed_lateness: 5s }
    key: [device_id]
    select: { n: count(), warm: 'max(this.metrics.cpu_temp)' }
  - name: block
    where: this.metrics.cpu_temp > 3
    window: { type: tumbling, size: 1m, allowed_lateness: 5s }
    key: [device_id]
    select:
      n: count()
      warm: "max(this.metrics.cpu_temp)"
  - name: seen
    key: [device_id]
    pattern:
      match: A B
      within: 1m
      define:
        A: this.metrics.cpu_temp > 3
        B: this.metrics.cpu_temp > 5
    select:
      n: count()
`
	set, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{flow, block, seen} {
		if r := set.Rules[i]; r.Epoch != want {
			t.Errorf("the epoch of %s is %s, %s was stored", r.Name, r.Epoch, want)
		}
	}
}
