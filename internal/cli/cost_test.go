package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// costs runs `weir cost` and returns what it printed and how it ended.
func costs(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	var stdout, stderr strings.Builder
	app := &cli.App{Name: "weir", Commands: []*cli.Command{strict(costCommand(os.DirFS("../..")))}, Writer: &stdout,
		ErrWriter: &stderr, ExitErrHandler: func(*cli.Context, error) {}}
	err := app.Run(append([]string{"weir", "cost"}, args...))
	if err != nil {
		stderr.WriteString(err.Error())
	}
	return stdout.String(), stderr.String(), ExitCode(err)
}

func TestCost_EndsAsItSays(t *testing.T) {
	prices := filepath.Join(t.TempDir(), "prices.yaml")
	if err := os.WriteFile(prices, []byte("name: mine\nprices:\n  disk: {price: 1, per: TB}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	some := filepath.Join(t.TempDir(), "some.yaml")
	if err := os.WriteFile(some, []byte("name: mine\nprices:\n  disk: {price: 1, per: GB-month, what: a disk, "+
		"source: an offer, date: 2026-11}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"":                             {0, "load balancer's units"},
		"--prices " + some:             {0, "without what is not priced: "},
		"--compare":                    {0, "DATADOG, EVENTS AS LOGS"},
		"--budget 100":                 {exitFinding, "more than the budget of $100"},
		"--budget 100000":              {0, "total"},
		"--standalone":                 {0, "minutes in SQL"},
		"--prices nowhere.yaml":        {exitUsage, "there is no such file"},
		"--prices " + prices:           {exitUsage, `prices.disk.per: expected "GB-month"`},
		"--devices 0":                  {exitUsage, "devices: expected one or more"},
		"--devices NaN":                {exitUsage, "devices: expected a number"},
		"--hosted " + prices:           {exitUsage, "--hosted goes with --compare"},
		"--metrics-per-event 40":       {0, "40 metrics, 1084 bytes"},
		"--live --data " + t.TempDir(): {exitUsage, "no weir"},
		"--metrics 127.0.0.1:1":        {exitFailed, "measuring a weir"},
		"devices":                      {exitUsage, "devices"},
	} {
		out, errs, code := costs(t, strings.Fields(line)...)
		if code != want.code || !strings.Contains(out+errs, want.text) {
			t.Errorf("weir cost %s ends with %d, expected %d with %q:\n%s%s", line, code, want.code, want.text, out, errs)
		}
	}
}

func TestCost_JSONHasNoZeroForWhatIsNotPriced(t *testing.T) {
	prices := filepath.Join(t.TempDir(), "prices.yaml")
	if err := os.WriteFile(prices, []byte("name: none\nprices: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := costs(t, "--json", "--prices", prices)
	var r struct {
		Total any `json:"usd_monthly"`
		Items []struct {
			Component string
			Monthly   any `json:"usd_monthly"`
			Formula   string
		}
		NotPriced []string `json:"not_priced"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("%d, %v: %s%s", code, err, out, errs)
	}
	if r.Total != nil || len(r.Items) < 10 || len(r.NotPriced) != len(r.Items) {
		t.Errorf("total %v, not priced %v", r.Total, r.NotPriced)
	}
	for _, i := range r.Items {
		if i.Monthly != nil || i.Formula == "" {
			t.Errorf("%+v", i)
		}
	}
}

func TestCost_MeasuresWhatRuns(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("# TYPE weir_gate_accepted_events_total counter\nweir_gate_accepted_events_total 5000\n" +
			"# TYPE weir_raw_rows_total counter\nweir_raw_rows_total 5000\n" +
			"# TYPE weir_raw_written_bytes_total counter\nweir_raw_written_bytes_total 250000\n" +
			"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1.7e+09\n"))
	}))
	defer server.Close()
	out, errs, code := costs(t, "--metrics", server.URL)
	if code != 0 || !strings.Contains(out, "measured: 5000 events in ") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	if out, errs, code = costs(t, "--metrics", server.URL, "--metrics", server.URL); code != 0 ||
		!strings.Contains(out, "measured: 10000 events in ") {
		t.Errorf("of two processes: %d: %s%s", code, out, errs)
	}
}
