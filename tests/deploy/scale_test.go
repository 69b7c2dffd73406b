package deploy

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weir/tests/integration/require"
)

// scaledObject holds the fields of a KEDA ScaledObject that the tests read.
type scaledObject struct {
	Min      int `yaml:"minReplicaCount"`
	Max      int `yaml:"maxReplicaCount"`
	Poll     int `yaml:"pollingInterval"`
	Advanced struct {
		Config struct {
			Behavior struct {
				ScaleUp   behavior `yaml:"scaleUp"`
				ScaleDown behavior `yaml:"scaleDown"`
			}
		} `yaml:"horizontalPodAutoscalerConfig"`
	}
	Triggers []trigger
}

type behavior struct {
	Window   int `yaml:"stabilizationWindowSeconds"`
	Policies []struct {
		Type   string
		Value  int
		Period int `yaml:"periodSeconds"`
	}
}

type trigger struct {
	Type, Name string
	Metadata   struct {
		Query, Threshold, Value string
		IgnoreNull              string `yaml:"ignoreNullValues"`
	}
}

// scaled returns the ScaledObjects of the chart by role.
func scaled(t *testing.T) map[string]scaledObject {
	t.Helper()
	all := map[string]scaledObject{}
	for _, o := range made(t, "full") {
		if o.Kind == "ScaledObject" {
			all[o.Metadata.Labels["app.kubernetes.io/component"]] = into[scaledObject](t, o)
		}
	}
	return all
}

func TestScaler_RolesHaveTheirBounds(t *testing.T) {
	got := map[string][2]int{}
	for role, s := range scaled(t) {
		got[role] = [2]int{s.Min, s.Max}
		for _, g := range s.Triggers {
			if g.Type == "prometheus" && g.Metadata.IgnoreNull != "false" {
				t.Errorf("%s: what nobody measures counts as 0", role)
			}
		}
	}
	want := map[string][2]int{"ingest": {3, 20}, "raw": {3, 15}, "detect": {3, 15}, "rollup": {2, 10}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("bounds are %v, expected %v", got, want)
	}
}

// The query of KEDA returns the largest lag of the group in seconds. While the role's store is away, and for three
// minutes afterwards, it returns no sample, so that the number of pods stays.
func TestScaler_AStoreThatIsAwayAnswersNothing(t *testing.T) {
	tool := require.Prometheus(t, "promtool")
	var rules, tests strings.Builder
	fmt.Fprint(&rules, "groups:\n  - name: scaler\n    rules:\n")
	fmt.Fprint(&tests, "rule_files: [rules.yaml]\nevaluation_interval: 15s\ntests:\n")
	asked := 0
	for role, s := range scaled(t) {
		for _, g := range s.Triggers {
			if g.Name != "seconds-behind" {
				continue
			}
			asked++
			store, labels := map[string]string{"raw": "raw_store", "rollup": "rollup_store", "detect": "dedupe_store"}[role],
				fmt.Sprintf(`namespace="telemetry", stream="%s"`, role)
			fmt.Fprintf(&rules, "      - { record: scaler_%s, expr: %s }\n", role, strconv.Quote(g.Metadata.Query))
			fmt.Fprintf(&tests, `  - interval: 15s
    input_series:
      - { series: 'weir_gate_group_behind_seconds{namespace="telemetry", group="weir-%[1]s", instance="a"}', values: '6x12 66x40' }
      - { series: 'weir_gate_group_behind_seconds{namespace="telemetry", group="weir-%[1]s", instance="b"}', values: '7x12 67x40' }
      - { series: 'weir_gate_group_behind_seconds{namespace="other", group="weir-%[1]s"}', values: '999x52' }
      - { series: 'weir_%[2]s_up{%[3]s, instance="c"}', values: '1x12 0x3 1x37' }
      - { series: 'weir_%[2]s_up{%[3]s, instance="d"}', values: '1x52' }
      - { series: 'weir_dedupe_store_up{%[3]s, instance="e"}', values: '1x52' }
    promql_expr_test:
      - { expr: scaler_%[1]s, eval_time: 2m, exp_samples: [{ labels: scaler_%[1]s, value: 7 }] }
      - { expr: scaler_%[1]s, eval_time: 3m30s, exp_samples: [] }
      - { expr: scaler_%[1]s, eval_time: 6m30s, exp_samples: [] }
      - { expr: scaler_%[1]s, eval_time: 8m, exp_samples: [{ labels: scaler_%[1]s, value: 67 }] }
`, role, store, labels)
		}
	}
	if asked != 3 {
		t.Fatalf("%d roles scale on seconds behind, expected 3", asked)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"rules.yaml": rules.String(), "tests.yaml": tests.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(tool, "test", "rules", "tests.yaml")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// batching returns for how many seconds a role's store gathers a batch, from configs/streams/ingest.yaml. It is
// subtracted from the recorded ages: an event that waits in a batch is no lag.
func batching(t *testing.T, role string) float64 {
	t.Helper()
	said := regexp.MustCompile(`weir-` + role + `: \$\{WEIR_[A-Z]+_PERIOD:([0-9]+)s\}`)
	m := said.FindSubmatch(read(t, "configs/streams/ingest.yaml"))
	if m == nil {
		if role != "detect" {
			t.Fatalf("configs/streams/ingest.yaml does not say for how long the store of %s gathers", role)
		}
		return 0
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return float64(n)
}

// recorded returns recorded samples of a weir that keeps up with 5,000, then 15,000, then 5,000 events a second: for
// each phase, the lag of its groups over time.
func recorded(t *testing.T) (phases [3][]map[string]float64) {
	t.Helper()
	r := csv.NewReader(bytes.NewReader(read(t, "tests/deploy/chart/load.csv")))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 30 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	phase := 0
	for _, row := range rows[1:] {
		sample := map[string]float64{}
		for i, name := range rows[0] {
			if sample[name], err = strconv.ParseFloat(row[i], 64); err != nil {
				t.Fatal(err)
			}
		}
		for _, role := range []string{"raw", "rollup", "detect"} {
			sample[role+"_seconds"] = max(0, sample[role+"_seconds"]-batching(t, role))
		}
		if busy := sample["events_per_second"] > 7000; busy && phase == 0 || !busy && phase == 1 {
			phase++
		}
		phases[phase] = append(phases[phase], sample)
	}
	return phases
}

// cluster simulates the pods of a role under a load, second by second. A pod uses at most the CPU that it requests.
type cluster struct {
	s       scaledObject
	group   string
	cores   float64 // of a pod
	cost    float64 // CPU seconds per event: twice what tests/bench/README.md measures
	records float64 // if not 0: a threshold in records, used instead of seconds

	now              int
	pods             int
	changes          []int // seconds at which pods changed
	arrived, done    []float64
	util             float64
	up               int // seconds since the store was last away
	proposed, counts []int
}

func newCluster(s scaledObject, group string, cores, cost float64) *cluster {
	return &cluster{s: s, group: group, cores: cores, cost: cost, pods: s.Min, up: math.MaxInt32}
}

// second advances the simulation by a second. noise is the recorded lag of a group that keeps up.
func (c *cluster) second(rate float64, store bool, noise map[string]float64) {
	last := func(of []float64) float64 {
		if len(of) == 0 {
			return 0
		}
		return of[len(of)-1]
	}
	c.arrived = append(c.arrived, last(c.arrived)+rate)
	worked := 0.0
	if c.up++; !store {
		c.up = 0
	} else {
		worked = min(float64(c.pods)*c.cores/c.cost, last(c.arrived)-last(c.done))
	}
	c.done = append(c.done, last(c.done)+worked)
	c.util = worked * c.cost / (float64(c.pods) * c.cores)
	if c.now++; c.now%c.s.Poll == 0 {
		c.poll(rate, noise)
	}
}

// behind returns the age in seconds of the oldest unprocessed event.
func (c *cluster) behind() float64 {
	at, _ := slices.BinarySearch(c.arrived, c.done[len(c.done)-1]+0.5)
	return float64(len(c.arrived) - at)
}

// poll models KEDA and the HorizontalPodAutoscaler: it takes the largest proposal of the triggers, within the bounds,
// and applies the stabilization windows and the policies.
func (c *cluster) poll(rate float64, noise map[string]float64) {
	most, unknown := 0, false
	propose := func(usage, target float64) { // usage is the sum over the pods
		if ratio := usage / (target * float64(c.pods)); math.Abs(ratio-1) <= 0.1 {
			most = max(most, c.pods)
		} else {
			most = max(most, int(math.Ceil(usage/target-1e-9)))
		}
	}
	for _, g := range c.s.Triggers {
		threshold, _ := strconv.ParseFloat(g.Metadata.Threshold+g.Metadata.Value, 64) // exactly one of the two is set
		switch {
		case g.Type == "cpu":
			propose(c.util*float64(c.pods)*100, threshold)
		case g.Name == "accepted-events":
			propose(c.mean(rate), threshold)
		case c.records > 0:
			propose(noise[c.group+"_records"], c.records)
		case c.up < 180:
			unknown = true
		default:
			propose(max(c.behind(), noise[c.group+"_seconds"]), threshold)
		}
	}
	if unknown { // the autoscaler does not scale down then
		most = max(most, c.pods)
	}
	most = min(max(most, c.s.Min), c.s.Max)
	c.proposed = append(c.proposed, most)
	c.counts = append(c.counts, c.pods)
	b := c.s.Advanced.Config.Behavior
	within := func(of []int, seconds int) []int { return of[max(0, len(of)-seconds/c.s.Poll-1):] }
	least, greatest := slices.Min(within(c.proposed, b.ScaleUp.Window)), slices.Max(within(c.proposed, b.ScaleDown.Window))
	want := c.pods
	if least > want {
		reach := 0
		for _, p := range b.ScaleUp.Policies {
			before := within(c.counts, p.Period)[0]
			if p.Type == "Percent" {
				reach = max(reach, before+int(math.Ceil(float64(before*p.Value)/100)))
			} else {
				reach = max(reach, before+p.Value)
			}
		}
		want = min(least, reach)
	} else if greatest < want {
		before := within(c.counts, b.ScaleDown.Policies[0].Period)[0]
		want = max(greatest, before-b.ScaleDown.Policies[0].Value)
	}
	if want != c.pods {
		c.pods, c.changes = want, append(c.changes, c.now)
	}
}

// mean returns the rate over the last minute.
func (c *cluster) mean(rate float64) float64 {
	if n := len(c.arrived); n > 60 {
		return (c.arrived[n-1] - c.arrived[n-61]) / 60
	}
	return rate
}

func clusters(t *testing.T) map[string]*cluster {
	t.Helper()
	cores := map[string]float64{}
	for _, o := range made(t, "full") {
		if o.Kind == "Deployment" {
			asked := into[deployment](t, o).Template.Spec.Containers[0].Resources.Requests.CPU
			milli, err := strconv.ParseFloat(strings.TrimSuffix(asked, "m"), 64)
			if err != nil {
				t.Fatalf("%s asks for %s of CPU, expected m", o.Metadata.Name, asked)
			}
			cores[o.Metadata.Labels["app.kubernetes.io/component"]] = milli / 1000
		}
	}
	all := map[string]*cluster{}
	for role, s := range scaled(t) {
		all[role] = newCluster(s, role, cores[role], 20e-6)
	}
	return all
}

// phase runs a load for some minutes and repeats the recorded samples.
func (c *cluster) phase(minutes int, rate float64, samples []map[string]float64) {
	for i := range minutes * 60 {
		c.second(rate, true, samples[i/5%len(samples)])
	}
}

// Half an hour at each of the recorded loads changes the pods of a role at most once. Scaled on records instead of
// seconds, raw would grow, because the records in a store's batches count as a backlog.
func TestScaler_ARecordedPeakChangesLittle(t *testing.T) {
	load := recorded(t)
	for role, c := range clusters(t) {
		for i, rate := range []float64{5000, 15000, 5000} {
			c.phase(30, rate, load[i])
		}
		if len(c.changes) > 1 {
			t.Errorf("%s changes %d times, at %v", role, len(c.changes), c.changes)
		}
	}
	naive := clusters(t)["raw"]
	naive.records = 1000
	for i, rate := range []float64{5000, 15000, 5000} {
		naive.phase(30, rate, load[i])
	}
	if naive.pods <= naive.s.Min {
		t.Errorf("on records, raw ends with %d pods: this test could not fail", naive.pods)
	}
}

func TestScaler_AMinuteWithoutAStoreChangesNothing(t *testing.T) {
	load := recorded(t)
	for i, rate := range []float64{5000, 15000} {
		for role, c := range clusters(t) {
			if role == "ingest" {
				continue // it has no store
			}
			c.phase(20, rate, load[i])
			for range 60 {
				c.second(rate, false, load[i][0])
			}
			c.phase(20, rate, load[i])
			if len(c.changes) > 0 {
				t.Errorf("%s at %.0f events/s changes at %v", role, rate, c.changes)
			}
			if c.behind() > 30 {
				t.Errorf("%s at %.0f events/s is still %.0f s behind", role, rate, c.behind())
			}
		}
	}
}

// Four times the peak load scales every role up within two minutes, the backlog is worked off, and the pods are
// removed after the load.
func TestScaler_FourTimesThePeakIsAnsweredWithinTwoMinutes(t *testing.T) {
	load := recorded(t)
	for role, c := range clusters(t) {
		c.phase(20, 15000, load[1])
		began := c.now
		c.phase(30, 60000, load[1])
		if len(c.changes) == 0 || c.changes[0] > began+120 {
			t.Errorf("%s changes at %v; 60,000 events/s came from %d s on", role, c.changes, began)
		}
		if most := c.pods; c.behind() > 30 || most == c.s.Max {
			t.Errorf("%s is %.0f s behind after half an hour, with %d pods", role, c.behind(), most)
		}
		ups := len(c.changes)
		c.phase(60, 5000, load[2])
		if c.pods != c.s.Min {
			t.Errorf("%s still has %d pods an hour later", role, c.pods)
		}
		if ups > 6 {
			t.Errorf("%s changes %d times on its way up, at %v", role, ups, c.changes)
		}
	}
}
