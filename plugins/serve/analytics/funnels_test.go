package analytics

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/control/apikey"
	"weir/tests/integration/require"
)

// shoppers are visits of so many devices in thirty hours, in the order of time.
func shoppers(r *rand.Rand, visits, devices int) (all []*happening) {
	begin := time.Date(2026, 11, 1, 7, 0, 0, 0, time.UTC)
	for range visits {
		at := begin.Add(time.Duration(r.IntN(30*3600_000)) * time.Millisecond)
		device := fmt.Sprintf("browser-%d", r.IntN(devices))
		for i, kind := range []string{"product_viewed", "cart_added", "checkout_started", "order_placed"} {
			if i > 0 && r.IntN(10) < 3 {
				break
			}
			h := &happening{device: device, kind: kind, at: at}
			if kind == "order_placed" {
				h.currency, h.amount = "EUR", r.Int64N(100_000)
			}
			all = append(all, h)
			at = at.Add(time.Duration(r.IntN(2000_000)) * time.Millisecond)
		}
	}
	slices.SortFunc(all, func(a, b *happening) int { return cmp.Compare(a.at.UnixMicro(), b.at.UnixMicro()) })
	for i, h := range all {
		h.id = fmt.Sprintf("%08x-0000-4000-8000-%012x", r.Uint32(), i)
	}
	return all
}

// byDuckDB is the funnel as DuckDB makes it of the events themselves: how often it was
// entered, by how many devices, and how many made each step. Ends are in microseconds.
func (w *world) byDuckDB(ranges [][2]time.Time) (answers [][]int64) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "events.ndjson")
	var lines strings.Builder
	for _, h := range w.history {
		lines.WriteString(h.json() + "\n")
	}
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		w.Fatal(err)
	}
	args := []string{"../../../tests/integration/funnel_check.py", file}
	for _, r := range ranges {
		args = append(args, fmt.Sprint(r[0].UnixMicro()), fmt.Sprint(r[1].UnixMicro()))
	}
	cmd := exec.Command(require.Python(w.T, "../../.."), args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &answers)
	}
	if err != nil || len(answers) != len(ranges) {
		w.Fatalf("%v: %s%s", err, out, said.String())
	}
	return answers
}

// What is told of many devices is as far off as it says at most, whatever the order in
// which events came; in any range, and of those that begin and end within an hour.
func TestFunnel_SumsAreWithinTheirErrorOfDuckDB(t *testing.T) {
	worst := 0.0
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 9))
		w := countHistory(t, r, shoppers(r, 3500, 1500), 5*time.Second, 3000)
		w.source.oneByOne = -1
		hour := w.history[0].at.Truncate(time.Hour)
		ranges := [][2]time.Time{{w.ask.from, w.ask.to}, {hour.Add(3 * time.Hour), hour.Add(9 * time.Hour)},
			{hour.Add(7 * time.Hour), hour.Add(31 * time.Hour)}, {hour.Add(100 * time.Minute), hour.Add(1000 * time.Minute)},
			{hour.Add(10 * time.Minute), hour.Add(50 * time.Minute)}, {hour.Add(20 * time.Minute), hour.Add(70 * time.Minute)}}
		for i, want := range w.byDuckDB(ranges) {
			a := w.ask
			a.from, a.to = ranges[i][0], ranges[i][1]
			f, err := w.source.funnel(w.Context(), a, "funnel_checkout", w.ask.to.Add(time.Hour))
			if err != nil || f.Entries != want[0] || len(f.Steps) != 4 || !f.From.Equal(a.from) || !f.To.Equal(a.to) {
				t.Fatalf("%v: %+v, DuckDB %d: %v", ranges[i], f, want, err)
			}
			if (f.Error == 0) != f.Exact || i == 0 && f.Exact {
				t.Errorf("%v: exact: %v, within %f", ranges[i], f.Exact, f.Error)
			}
			got := []int64{f.Devices}
			for _, s := range f.Steps {
				got = append(got, s.Devices)
			}
			for j, n := range got {
				off := math.Abs(float64(n-want[1+j])) / float64(want[1+j])
				if worst = max(worst, off); off > 4*f.Error {
					t.Errorf("%v: %d, DuckDB says %d", ranges[i], got, want[1:])
				}
			}
			w.source.oneByOne = oneByOne
			if exact, err := w.source.funnel(w.Context(), a, "funnel_checkout", w.ask.to.Add(time.Hour)); err != nil ||
				!exact.Exact || exact.Devices != want[1] || exact.Steps[3].Devices != want[5] {
				t.Errorf("%v, one by one: %+v, DuckDB %d: %v", ranges[i], exact, want, err)
			}
			w.source.oneByOne = -1
		}
	}
	t.Logf("off by %.1f %% at most", 100*worst)
}

// An answer says what it is of, and how exact it is; of a range without a beginning, that
// it began with an hour.
func TestFunnel_AnswersSayWhatTheyAreOf(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 10))
	w := countHistory(t, r, shoppers(r, 300, 90), 5*time.Second, 500)
	now := w.history[0].at.Truncate(time.Hour).Add(28*time.Hour + 7*time.Minute)
	handler := (&apikey.Authenticator{Keys: shopKey{}}).Require(apikey.Route{Scope: apikey.Query},
		Handler(w.source, func() time.Time { return now }, nil))
	ask := func(query string) (status int, f funnel, body string) {
		req := httptest.NewRequest("GET", "/v1/analytics/funnels/"+query, nil)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		_ = json.Unmarshal(rec.Body.Bytes(), &f)
		return rec.Code, f, rec.Body.String()
	}
	status, f, body := ask("funnel_checkout")
	if status != http.StatusOK || !f.Exact || f.Error != 0 || !f.From.Equal(now.Truncate(time.Hour).Add(-24*time.Hour)) ||
		!f.To.Equal(now) || f.Entries == 0 {
		t.Errorf("%d %s", status, body)
	}
	w.source.oneByOne = -1
	_, sums, body := ask("funnel_checkout")
	if hour := now.Truncate(time.Hour).Add(time.Hour); !sums.To.Equal(hour) || !sums.From.Equal(f.From) ||
		sums.Devices < f.Devices || !sums.Exact {
		t.Errorf("to the end of the hour: %s", body)
	}
	if _, err := w.source.db.Exec(`UPDATE rule_furthest SET due = 1, entries = entries + 1000000`); err != nil {
		t.Fatal(err)
	}
	if status, _, body := ask("funnel_checkout"); status != http.StatusOK {
		t.Errorf("few results of hours whose sums are made anew: %d %s", status, body)
	}
	if status, _, body := ask("visits"); status != http.StatusBadRequest {
		t.Errorf("no funnel: %d %s", status, body)
	}
}

// shopKey is the one key that there is.
type shopKey struct{}

func (shopKey) Check(context.Context, string) (*apikey.Key, error) {
	return &apikey.Key{Fleet: "shop", Scopes: []apikey.Scope{apikey.Query}}, nil
}
