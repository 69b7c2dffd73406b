package rollup

import (
	"net/url"
	"testing"
	"time"
)

// Thirty days of a device that reported every minute: the query of a chart is fast, and so are the
// pages of the minutes of a day, which have each line once.
func TestRollup_AMonthOfMinutesIsAnsweredAtOnce(t *testing.T) {
	s := openStore(t, "sqlite://"+t.TempDir()+"/r.db")
	const hours = 30 * 24
	begin := noon.Add(-hours * time.Hour)
	last := noon.Add(-time.Hour)
	var bodies []string
	for m := range 60 {
		bodies = append(bodies, testEvent(m, "a", last.Add(time.Duration(m)*time.Minute), `{"x":1.5}`))
	}
	add(t, s, noon, windowsOf(t, "acme", bodies...))
	writeOut(t, s)
	roll(t, s, noon.Add(time.Hour))
	for _, table := range []string{
		"rollup_window_1m (fleet, device_id, bucket, version, updated_at, ledger_state, metrics, stats, detail, ledger) " +
			"SELECT fleet, device_id, bucket - 3600 * n, version, updated_at, ledger_state, metrics, stats, detail, ledger " +
			"FROM rollup_window_1m",
		"rollup_window_1h (fleet, device_id, bucket, updated_at, metrics, stats, detail) SELECT fleet, device_id, " +
			"bucket - 3600 * n, updated_at, metrics, stats, detail FROM rollup_window_1h"} { // copies of the last row
		if _, err := handleOf(s).ExecContext(t.Context(), `WITH RECURSIVE back(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM back
			WHERE n < $1) INSERT INTO `+table+`, back`, hours-1); err != nil {
			t.Fatal(err)
		}
	}
	handler := Handler(s, func() time.Time { return noon })
	query := func(resolution string, from time.Time) (lines, readings int64, slowest time.Duration) {
		q := url.Values{"device": {"a"}, "metric": {"x"}, "from": {from.Format(time.RFC3339)},
			"to": {noon.Format(time.RFC3339)}, "resolution": {resolution}, "limit": {"1000"}}
		for pages := 0; pages < 100; pages++ {
			began := time.Now()
			var page struct {
				Rollups []struct{ Count int64 }
				Next    *string
			}
			get(t, handler, "acme", "/v1/rollups?"+q.Encode(), &page)
			slowest = max(slowest, time.Since(began))
			lines += int64(len(page.Rollups))
			for _, r := range page.Rollups {
				readings += r.Count
			}
			if page.Next == nil {
				break
			}
			q.Set("cursor", *page.Next)
		}
		return lines, readings, slowest
	}
	for _, c := range []struct {
		resolution      string
		from            time.Time
		lines, readings int64
	}{{"1h", begin, hours, hours * 60}, {"1m", noon.Add(-24 * time.Hour), 24 * 60, 24 * 60}} {
		lines, readings, slowest := query(c.resolution, c.from)
		if lines != c.lines || readings != c.readings {
			t.Errorf("%s: %d windows of %d readings, want %d of %d", c.resolution, lines, readings, c.lines, c.readings)
		}
		t.Logf("%s: %d windows, a page took up to %s", c.resolution, lines, slowest)
		if slowest > 5*time.Second { // five times the aim
			t.Errorf("%s: a page took %s", c.resolution, slowest)
		}
	}
}
