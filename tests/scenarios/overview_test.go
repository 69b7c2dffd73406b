package scenarios

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// glance holds the fields of an overview that these tests read.
type glance struct {
	Equation *equation
	Rates    *struct {
		Totals struct {
			Accepted int64 `json:"accepted_events"`
		}
	}
	Proof *struct{ Verdict string }
}

type equation struct {
	counts
	Balanced bool
}

type counts struct {
	Accepted   int64 `json:"accepted"`
	Stored     int64 `json:"stored"`
	Erased     int64 `json:"erased"`
	Duplicates int64 `json:"duplicates"`
	Dead       int64 `json:"dead_lettered"`
	Other      int64 `json:"other"`
	Markers    int64 `json:"markers"`
	InFlight   int64 `json:"in_flight"`
	False      int64 `json:"false_duplicates"`
	Lost       int64 `json:"unexplained"`
}

func (c counts) sum() int64 {
	return c.Stored + c.Erased + c.Duplicates + c.Dead + c.Other + c.Markers + c.InFlight + c.False + c.Lost
}

// ask sends a request to the API of the running weir and decodes the JSON answer into into.
func (s *system) ask(key, method, path string, into any) error {
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addresses[1]+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", resp.Status, raw)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// until polls until asked returns true. After three minutes it fails the test; what says what is still wrong then.
func (s *system) until(what string, asked func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !asked(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("after three minutes: %s", what)
		}
	}
}

// metric returns the sum over all series of a metric.
func (s *system) metric(name string) (sum int64) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.addresses[2] + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if series, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && strings.HasPrefix(series, name+"{") {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			sum += int64(n)
		}
	}
	return sum
}

// One event in a hundred is malformed, five are repeated, and weir is killed half way. The overview's count of each
// outcome equals that of weir reconcile, to the event, and its totals equal the metrics.
func TestOverview_EqualsReconcileAndTheMetricsAfterAKill(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	out, err := s.weir("keys", "create", "--admin", "--data", s.data)
	if err != nil {
		t.Fatal(err)
	}
	admin := strings.TrimSpace(out)
	_, wait := s.fleet("--devices", "200", "--rate", "1500", "--events", "15000", "--batch", "20", "--malformed", "1",
		"--duplicates", "5", "--retry")
	var g glance
	look := func() bool {
		g = glance{}
		err := s.ask(admin, "GET", "/v1/overview", &g)
		if g.Equation != nil && g.Equation.sum() != g.Equation.Accepted {
			t.Errorf("it does not add up: %+v", *g.Equation)
		}
		return err == nil && g.Equation != nil
	}
	s.until("the overview shows no load", func() bool { return look() && g.Equation.Accepted > 3000 })
	s.kill()
	s.start()
	s.ready()
	t.Logf("weir fleet:\n%s", wait())
	s.until("something is in flight", func() bool { return look() && g.Equation.InFlight == 0 })
	if out, err = s.weir("reconcile", "--data", s.data, "--json"); err != nil {
		t.Fatal(err)
	}
	var proven struct{ Total counts }
	if err := json.Unmarshal([]byte(out), &proven); err != nil {
		t.Fatal(err)
	}
	if g.Equation.counts != proven.Total || !g.Equation.Balanced || proven.Total.Duplicates == 0 || proven.Total.Dead+
		proven.Total.Stored == 0 {
		t.Errorf("the overview says %+v, and weir reconcile %+v", *g.Equation, proven.Total)
	}
	s.until("the totals are not those of the metrics", func() bool {
		return look() && g.Rates != nil && g.Rates.Totals.Accepted == s.metric("weir_gate_accepted_events_total")
	})

	var asked, proof struct {
		Requested time.Time `json:"requested_at"`
		At        *time.Time
		Verdict   string
		Report    struct{ Total counts }
	}
	if err := s.ask(admin, "POST", "/v1/proof", &asked); err != nil {
		t.Fatal(err)
	}
	s.until("the proof that was asked for is not done", func() bool {
		return s.ask(admin, "GET", "/v1/proof", &proof) == nil && proof.At != nil &&
			proof.At.After(asked.Requested)
	})
	if proof.Verdict != "explained" || proof.Report.Total != proven.Total {
		t.Errorf("the proof is %+v, want %+v", proof, proven.Total)
	}
	s.until("the overview has another verdict", func() bool {
		return look() && g.Proof != nil && g.Proof.Verdict == "explained"
	})
}
