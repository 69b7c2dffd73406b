package plugins

import (
	"encoding/json"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strings"
	"testing"
)

// The load that weir is built for.
const (
	loadDevices = 50_000
	loadWindows = 2 * loadDevices  // a device's last minute is open while the next one fills
	loadSeries  = 6 * loadDevices  // of the metrics that the shipped schemas know
	loadSecond  = loadDevices / 10 // events, a device each ten seconds
	loadMinute  = 60 * loadSecond
)

// capacities are the caches, rings and limits that devices fill: what each has by
// default, what the load takes of it, and what says so when it is exceeded.
var capacities = []struct {
	of     string // a component's field, or a constant and its file
	needed float64
	shows  string // a series, or why none is needed
}{
	{"output rollup_store: cache", loadWindows, "weir_rollup_evicted_rows_total"},
	{"processor anomaly: max_series", loadSeries, "weir_anomaly_evicted_devices_total"},
	{"output event_rules: keys_per_fleet", loadDevices, "weir_rules_events_total"},
	{"input gate: limits.max_devices_per_fleet", loadDevices, "weir_gate_rejected_events_total"},
	{"input gate: limits.max_connections", loadDevices, "weir_gate_refusals_total"},
	// One event a request, each half a second, of a fleet that can take four fifths.
	{"input gate: limits.max_in_flight_requests", loadSecond / 2 / 0.8, "weir_gate_refusals_total"},
	{"input log_input: read_ahead", loadDevices, "redpanda_lag"},
	{"plugins/store/rollup/memory.go: journalMost", 80 * loadMinute, "weir_rollup_rows_total"},
	{"plugins/process/anomaly/notes.go: maxNotes", loadDevices, "a note that is lost is made again"},
	{"plugins/process/dedupe/recent.go: recentMost", loadMinute / 2, "a claim that is not remembered is searched for"},
}

func TestCapacities_DefaultsTakeTheLoadThatWeirIsBuiltFor(t *testing.T) {
	all, _ := sources(t)
	_, added := ours(t)
	fields, series := map[string]float64{}, ""
	for name, view := range added {
		raw, err := view.FormatJSON()
		if err != nil {
			t.Fatal(err)
		}
		var c component
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		defaults(name+": ", c.Config, fields)
	}
	for _, s := range all {
		if !s.test() {
			constants(s.path, s.file, fields)
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && !s.test() {
				series += lit.Value + "\n"
			}
			return true
		})
	}
	for _, c := range capacities {
		have, found := fields[c.of]
		if !found || have < c.needed {
			t.Errorf("%s: %.0f, found %v; the load takes %.0f", c.of, have, found, c.needed)
		}
		if !strings.Contains(c.shows, " ") && !strings.Contains(series, `"`+c.shows+`"`) {
			t.Errorf("%s: there is no metric %s", c.of, c.shows)
		}
	}
}

// defaults collects the numbers that fields have by default.
func defaults(prefix string, f field, into map[string]float64) {
	for _, child := range f.Children {
		if n, ok := child.Default.(float64); ok {
			into[prefix+child.Name] = n
		}
		defaults(prefix+child.Name+".", child, into)
	}
}

// constants collects the numbers that constants of a file are, as far as they are
// written with numbers alone.
func constants(path string, file *ast.File, into map[string]float64) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != len(spec.Names) {
			return true
		}
		for i, name := range spec.Names {
			value, err := types.Eval(token.NewFileSet(), nil, token.NoPos, types.ExprString(spec.Values[i]))
			if err != nil || value.Value == nil || value.Value.Kind() != constant.Int {
				continue
			}
			into[path+": "+name.Name], _ = constant.Float64Val(value.Value)
		}
		return true
	})
}
