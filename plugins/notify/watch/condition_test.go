package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/platform/prom"
	"weir/plugins/notify/alert"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func number(v float64) *float64 { return &v }

func TestWatch_ConditionOpensHoldsAndIsOver(t *testing.T) {
	lag := &condition{name: "lag", metric: "redpanda_lag", labels: map[string]string{"stream": "raw"}, aggregate: "max",
		above: number(100), hold: time.Minute, severity: "warning", summary: "Records wait"}
	now := start
	var opened string
	for i, c := range []struct {
		after time.Duration
		lags  string // per partition
		want  string
	}{
		{0, "5,200", ""}, {30 * time.Second, "5,200", ""}, {30 * time.Second, "5,99", ""}, // not for a minute
		{time.Second, "150,0", ""}, {time.Minute, "0,150", "opened"}, {time.Minute, "0,150", ""},
		{9 * time.Minute, "500,1", "opened"}, // said again, so that it is known to hold
		{time.Second, "", ""},                // nothing is known
		{time.Second, "100,1", "resolved"}, {time.Second, "1,1", ""},
	} {
		now = now.Add(c.after)
		text := "# TYPE redpanda_lag gauge\nredpanda_lag{stream=\"detect\",partition=\"0\"} 100000\n"
		for p, v := range strings.Split(c.lags, ",") {
			if v != "" {
				text += fmt.Sprintf("redpanda_lag{stream=\"raw\",partition=\"%d\"} %s\n", p, v)
			}
		}
		scrape, err := prom.Parse(strings.NewReader(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := lag.look(scrape.Series, now)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if raw != nil {
			r, err := alert.ParseRecord(raw)
			if err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			if got = r.Transition; opened != "" && r.AlertID != opened {
				t.Errorf("step %d: another id", i)
			}
			opened = r.AlertID
		}
		if got != c.want {
			t.Errorf("step %d: %q, want %q", i, got, c.want)
		}
	}
}

func TestWatch_RateIsOfTheTimeBetween(t *testing.T) {
	c := &condition{metric: "m", rate: true, above: number(10), severity: "warning", summary: "s", name: "n"}
	now := start
	for i, step := range []struct {
		total float64
		want  bool
	}{{1000, false}, {1100, false}, {1260, true}, {1300, true}, {20, false}} {
		// opened, resolved, and the counter began again
		raw, err := c.look(map[string][]prom.Series{"m": {{Value: step.total / 2}, {Value: step.total / 2}}}, now)
		if err != nil || (raw != nil) != step.want {
			t.Errorf("step %d: %s %v", i, raw, err)
		}
		now = now.Add(10 * time.Second)
	}
}

// An alert of the input is a record of the topic, as its schema says.
func TestWatch_TellsOfAStoreThatIsDown(t *testing.T) {
	looks := 0
	metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		looks++
		up := 1
		if looks > 2 {
			up = 0
		}
		_, _ = fmt.Fprintf(w, "# TYPE weir_dedupe_store_up gauge\nweir_dedupe_store_up{stream=\"raw\"} "+
			"1\nweir_dedupe_store_up{stream=\"rollup\"} %d\n", up)
	}))
	defer metrics.Close()
	conf, err := watchSpec().ParseYAML(fmt.Sprintf(`
metrics: %s
interval: 10ms
conditions: [{name: claims_store_down, metric: weir_dedupe_store_up, aggregate: min, below: 1, for: 50ms, severity: critical, summary: The store is down}]`,
		metrics.URL), nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWatch(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	msg, _, err := w.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	body, err := msg.AsBytes()
	if err != nil {
		t.Fatal(err)
	}
	r, err := alert.ParseRecord(body)
	if err != nil || r.Rule != "claims_store_down" || r.Kind != alert.Pipeline || r.Fleet != "" {
		t.Fatalf("%s: %v", body, err)
	}
	schema, err := jsonschema.Compile("../../../schemas/alert/v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var decoded any
	if err := json.Unmarshal(body, &decoded); err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(decoded); err != nil {
		t.Errorf("%s is not as the schema says: %v", body, err)
	}
}
