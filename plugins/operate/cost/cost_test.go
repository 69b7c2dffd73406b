package cost

import (
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/platform/prom"
)

func shipped(t *testing.T) Prices {
	t.Helper()
	raw, err := os.ReadFile("../../../configs/prices/aws-us-east-1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePrices(raw)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func item(t *testing.T, e Estimate, component string) Item {
	t.Helper()
	for _, i := range e.Items {
		if i.Component == component {
			return i
		}
	}
	t.Fatalf("there is no %s in %+v", component, e.Items)
	return Item{}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.01*math.Abs(want) {
		t.Errorf("%s: %g, expected %g", what, got, want)
	}
}

// What the baseline takes, reckoned by hand.
func TestCost_QuantitiesOfTheBaseline(t *testing.T) {
	l := Baseline()
	e := Of(l, Model(l), shipped(t))
	for component, want := range map[string]float64{
		"log":                   432e6 / 6 * 252.4 * 3 / 1e9, // zstd leaves 0.67 of 377: batches have 1.28 records
		"traffic between zones": 432e6 * 730 / 24 * 252.4 / 1e9 * (2.0/3 + 8.0/3 + 2),
		"raw events":            432e6 * 90 * e.Units.Raw.Value / 1e9,
		"minutes in SQL":        72e6 * 7 * e.Units.Minute.Value * 2 / 1e9,
		"minutes in Parquet":    72e6 * 723 * 160 / 1e9,
		"hours in SQL":          1.2e6 * 730 * e.Units.Hour.Value * 2 / 1e9,
		"days in SQL":           50e3 * 730 * e.Units.Day.Value * 2 / 1e9,
		"dead letters":          432e3 * 30 * 300 / 1e9,
		"writing raw events":    3 * 730 * 720 / 1e3,
		"weir":                  3 * 730, "Kafka": 3 * 730, "PostgreSQL": 2 * 730, "Redis": 2 * 730, "load balancer": 730,
		"load balancer's units": 50e3 / 3e3 * 730,
	} {
		near(t, component, item(t, e, component).Quantity, want)
	}
	sum := 0.0
	for _, i := range e.Items {
		if i.Monthly != nil {
			sum += *i.Monthly
			near(t, i.Component, *i.Monthly, i.Quantity**i.Price)
		}
	}
	near(t, "total", *e.Total, sum)
	if !slices.IsSortedFunc(e.Items, func(a, b Item) int { return int(b.usd() - a.usd()) }) {
		t.Error("the dearest is not first")
	}
}

// What it takes to stay below $1,500 a month by the prices that come with weir.
func TestCost_BaselineBelowFifteenHundred(t *testing.T) {
	prices := shipped(t)
	total := func(change func(*Load)) float64 {
		l := Baseline()
		change(&l)
		return *Of(l, Model(l), prices).Total
	}
	plain := func(l *Load) { l.Compressed = false }
	near := func(l *Load) { l.RackAware = true }
	long := func(l *Load) { l.Linger = 50 * time.Millisecond }
	for _, is := range []struct {
		says    float64
		changes []func(*Load)
	}{{1825, []func(*Load){plain}}, {1560, []func(*Load){plain, near}}, {1650, nil}, {1470, []func(*Load){near}},
		{1480, []func(*Load){long}}, {1390, []func(*Load){near, long}}} {
		got := total(func(l *Load) {
			for _, change := range is.changes {
				change(l)
			}
		})
		if math.Abs(got-is.says) > 10 || (got < 1500) != (is.says < 1500) {
			t.Errorf("$%.0f, and docs/cost.md says about $%.0f", got, is.says)
		}
	}
	if got := total(func(l *Load) { l.HotMinutes = 0 }); got < 10_000 {
		t.Errorf("two years of minutes in PostgreSQL: $%.0f, and docs/cost.md says more than $10,000", got)
	}
}

func TestCost_WhatGrowsCostsMore(t *testing.T) {
	prices := shipped(t)
	base := *Of(Baseline(), Model(Baseline()), prices).Total
	for what, change := range map[string]func(*Load){
		"devices": func(l *Load) { l.Devices *= 2 }, "metrics": func(l *Load) { l.Metrics, l.EventBytes = 40, 1100 },
		"bytes": func(l *Load) { l.EventBytes *= 2 }, "retention of raw": func(l *Load) { l.KeepRaw *= 2 },
		"retention of rollups": func(l *Load) { l.KeepRollups *= 2 }, "groups": func(l *Load) { l.Groups++ },
		"a peak": func(l *Load) { l.Peak = 100_000 }, "replicas": func(l *Load) { l.Replicas++ },
		"dead letters": func(l *Load) { l.DeadShare = 0.1 }, "faster devices": func(l *Load) { l.Interval /= 2 },
	} {
		l := Baseline()
		change(&l)
		if got := *Of(l, Model(l), prices).Total; got <= base {
			t.Errorf("more %s costs $%.2f, and less $%.2f", what, got, base)
		}
	}
	l := Baseline()
	l.After = 30 * 24 * time.Hour
	if young := Of(l, Model(l), prices); *young.Total >= base || item(t, young, "raw events").Quantity*2.99 >
		item(t, Of(Baseline(), Model(Baseline()), prices), "raw events").Quantity {
		t.Errorf("the first month costs as much as one with all that is kept: $%.2f", *young.Total)
	}
}

func TestCost_UnknownPricesAreNotPriced(t *testing.T) {
	l := Baseline()
	prices := shipped(t)
	prices.Lines["load_balancer"] = Price{Per: "hour"}
	e := Of(l, Model(l), prices)
	if i := item(t, e, "load balancer"); i.Monthly != nil || !slices.Equal(e.NotPriced, []string{"load balancer"}) {
		t.Errorf("%+v, not priced: %v", i, e.NotPriced)
	}
	none := Of(l, Model(l), Prices{})
	if none.Total != nil || len(none.NotPriced) != len(none.Items) || len(Levers(none, Prices{})) != 0 {
		t.Errorf("without a price the total is %v, and %v are not priced", none.Total, none.NotPriced)
	}
}

func TestCost_LeversSaveWhatTheySay(t *testing.T) {
	prices := shipped(t)
	l := Baseline()
	l.HotMinutes = 0
	e := Of(l, Model(l), prices)
	levers := Levers(e, prices)
	if len(levers) < 5 || levers[0].Change != "minutes older than a week in Parquet" {
		t.Fatalf("%+v", levers)
	}
	for i, lever := range levers {
		if lever.Saves <= 0 || lever.How == "" || i > 0 && lever.Saves > levers[i-1].Saves {
			t.Errorf("%+v", lever)
		}
		if lever.Change == "minutes older than a week in Parquet" {
			near(t, lever.Change, lever.Saves, *e.Total-*Of(Baseline(), Model(Baseline()), prices).Total)
		}
	}
}

func TestCost_CountersTakeThePlaceOfTheModel(t *testing.T) {
	text := `
# TYPE weir_gate_accepted_events_total counter
weir_gate_accepted_events_total{stream="ingest"} 360000
# TYPE weir_raw_rows_total counter
weir_raw_rows_total 350000
# TYPE weir_raw_written_bytes_total counter
weir_raw_written_bytes_total 2.1e+07
# TYPE weir_dead_letter_rows_total counter
weir_dead_letter_rows_total{stage="ingest"} 30
weir_dead_letter_rows_total{stage="raw"} 6
# TYPE weir_dead_letter_written_bytes_total counter
weir_dead_letter_written_bytes_total 9000
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 36
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.7957772e+09
`
	s, err := prom.Parse(strings.NewReader(text), Wanted)
	if err != nil {
		t.Fatal(err)
	}
	var c Counters
	c.Add(s)
	now := time.Unix(1795777200, 0).Add(time.Hour)
	l, u := c.Measured(Baseline(), 0, now)
	near(t, "events a second", l.PerSecond(), 100)
	near(t, "dead letters", l.DeadShare, 1e-4)
	near(t, "bytes an event", u.Raw.Value, 60)
	near(t, "CPU", u.CPU.Value, 100)
	if u.Raw.From != "measured: 350000 events in 1h0m0s" || u.Dead.Value != deadLetter ||
		u.Dead.From != "assumed (only 36 dead letters were counted)" {
		t.Errorf("%+v, %+v", u.Raw, u.Dead)
	}
	if l, _ := c.Measured(Baseline(), 500, now); l.Devices != 500 || l.Interval != 5*time.Second {
		t.Errorf("of 500 devices each sends every %s", l.Interval)
	}
}

func TestCost_LoadsThatCannotBe(t *testing.T) {
	if err := Baseline().Check(); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Load){
		"devices": func(l *Load) { l.Devices = 0 }, "interval": func(l *Load) { l.Interval = 0 },
		"hours per day": func(l *Load) { l.Hours = 25 }, "peak": func(l *Load) { l.Peak = -1 },
		"metrics": func(l *Load) { l.NameBytes = 0 }, "event bytes": func(l *Load) { l.Metrics = 40 },
		"dead letters": func(l *Load) { l.DeadShare = 2 }, "time to keep": func(l *Load) { l.KeepRaw = 0 },
		"hot minutes": func(l *Load) { l.HotMinutes = -1 }, "replicas": func(l *Load) { l.Replicas = 0 },
	} {
		l := Baseline()
		change(&l)
		if err := l.Check(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// No load gives a number that is none.
func TestCost_NumbersAreFinite(t *testing.T) {
	for _, sqlite := range []bool{false, true} {
		for metrics := range 400 {
			for _, name := range []float64{1, 14, 200} {
				l := Baseline()
				l.SQLite, l.Metrics, l.NameBytes = sqlite, float64(metrics), name
				l.EventBytes = l.Sent()
				before := 0.0
				for _, w := range []width{Hour, Minute} {
					n := l.RowBytes(w)
					if before = max(before, n); math.IsNaN(n) || n < 40 || n > 2e6 {
						t.Fatalf("%+v: a row of %g bytes", l, n)
					}
				}
				v := reflect.ValueOf(Model(l))
				for i := range v.NumField() {
					if n := v.Field(i).Interface().(Unit).Value; math.IsNaN(n) || math.IsInf(n, 0) || n <= 0 {
						t.Fatalf("%+v: %g", l, n)
					}
				}
			}
		}
	}
}
