package simulate

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"weir/internal/event"
)

func TestSimulate_PlansAddUpToTheRun(t *testing.T) {
	readings := make([]Reading, 333)
	for _, conf := range []Config{
		{Devices: 10, Connections: 3, Events: 1001, Rate: 500},
		{Devices: 1000, Connections: 64, Events: 99, Rate: 0},
		{Devices: 7, Connections: 16, Events: 5000, Rate: 100, Series: []Series{{"a", readings}, {"b", readings}}},
		{Devices: 0, Connections: 16, Events: 100, Series: []Series{{"a", readings}, {"b", readings}}},
		{Devices: 0, Connections: 1, Rate: 50, Series: []Series{{"a", readings}}},
	} {
		want := conf.Events
		if want == 0 {
			want = 333
		}
		var events int64
		var rate float64
		devices := 0
		for _, p := range plan(conf) {
			events += p.events
			rate += p.rate
			devices += p.devices
		}
		if events != want || devices != conf.Devices || rate < conf.Rate*0.999 || rate > conf.Rate*1.001 {
			t.Errorf("%d events, %d devices at %.1f/s: dealt %d, %d, %.1f", want, conf.Devices, conf.Rate, events, devices, rate)
		}
	}
}

func TestSimulate_EventsAreWhatTheyAreMeantToBe(t *testing.T) {
	m := newModel(3, "sim", []Firmware{{"1.4.0", 1}, {"2.1.0", 1}, {"3.0.2", 1}})
	r := source(1)
	var clk clock
	now := time.Now()
	metrics, ids := map[string]bool{}, map[string]bool{}
	for i := range 5000 {
		at := now.Add(time.Duration(i-2500) * 977 * time.Millisecond)
		raw := m.appendEvent(nil, &r, i, clk.render(at), at)
		var e event.Event
		if err := event.Parse(raw, &e); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if code := judge(raw); code != "" || !e.Time.Equal(at.Truncate(time.Millisecond)) || ids[e.ID] {
			t.Fatalf("%s: %s, time %v, expected %v; id seen before: %v", raw, code, e.Time, at, ids[e.ID])
		}
		ids[e.ID] = true
		for _, x := range e.Metrics {
			metrics[x.Name] = true
			if x.Value <= 0 || x.Value > 10_000 {
				t.Fatalf("%s: %s is out of any sensor's range", raw, x.Name)
			}
		}
		bad := appendMalformed(nil, &r, []byte("sim-1"), clk.render(at), int64(i))
		if !json.Valid(bad) || judge(bad) == "" || !strings.HasPrefix(string(bad), `{"event_id":"`) {
			t.Fatalf("%s: expected JSON that is no event", bad)
		}
	}
	if len(metrics) != 7 {
		t.Errorf("metrics %v, expected the six of the schemas and an unknown one", metrics)
	}
}

func TestSimulate_SameSeedMakesTheSameDevices(t *testing.T) {
	at := time.Now()
	var clk clock
	render := func(seed uint64) string {
		r := source(mix(seed))
		return string(newModel(seed, "sim", []Firmware{{"2.1.0", 1}}).appendEvent(nil, &r, 5, clk.render(at), at))
	}
	once, again := render(1), render(1)
	if once != again || once == render(2) {
		t.Error("an event must follow from its seed")
	}
}

func TestSimulate_ParseFirmware(t *testing.T) {
	mix, err := ParseFirmware("1.4.0=20, 2.1.0=60,3.0.2=20")
	if err != nil || len(mix) != 3 || mix[1] != (Firmware{"2.1.0", 60}) {
		t.Fatalf("%v, %v", mix, err)
	}
	counts := [3]int{}
	for i := range 1000 {
		counts[pick(mix, float64(i)/1000)]++
	}
	if counts != [3]int{200, 600, 200} {
		t.Errorf("picked %v", counts)
	}
	for _, bad := range []string{"", "2", "2.1.0=x", "2.1.0=-1", "2.1.0=0", `"2.1.0`, "2.1.0=NaN"} {
		if _, err := ParseFirmware(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestSimulate_BadSeriesNamesTheLine(t *testing.T) {
	for csv, want := range map[string]string{
		"":                        "no readings",
		"timestamp,value\n":       "no readings",
		"2013-07-04 00:00:00,x":   "line 1",
		"2013-07-04 00:00:00,NaN": "line 1",
		"t,v\n2013-07-04 00:00:00,1\nyesterday,2":      "line 3",
		"2013-07-04 00:00:00,1,2":                      "fields",
		"2013-07-04 01:00:00,1\n2013-07-04 00:00:00,1": "earlier",
	} {
		if _, err := ReadSeries("s", strings.NewReader(csv)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: expected an error with %q, got %v", csv, want, err)
		}
	}
}
