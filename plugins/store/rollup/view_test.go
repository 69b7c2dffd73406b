package rollup

import (
	"context"
	"database/sql"
	"math"
	"testing"
	"time"
)

// viewLine is a line of a view, as a dashboard reads it.
type viewLine struct {
	metric                                   string
	count                                    int64
	sum, min, max, avg, m2, p50, p95, newest float64
}

// The views have one line per metric, with what the rows contain.
func TestRollup_ViewsShowEachMetricOnALine(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s := openStore(t, fresh())
		at := noon.Add(1500 * time.Millisecond)
		add(t, s, noon, windowsOf(t, "acme",
			testEvent(1, "a", noon, `{"a \"b\"":-1.5,"x":10}`), testEvent(2, "a", at, `{"x":30}`),
			testEvent(3, "a", noon, `{"x":20}`)))
		finish(t, s)
		for _, view := range []string{"rollup_1m", "rollup_1h", "rollup_1d"} {
			got := readView(t, s, `SELECT metric, count, sum, min, max, avg, m2, p50, p95, last FROM `+view+
				` WHERE fleet = 'acme' AND device_id = 'a' ORDER BY metric`)
			want := []viewLine{
				{metric: `a "b"`, count: 1, sum: -1.5, min: -1.5, max: -1.5, avg: -1.5, m2: 0, p50: -1.5, p95: -1.5, newest: -1.5},
				{metric: "x", count: 3, sum: 60, min: 10, max: 30, avg: 20, m2: 200, p50: 20, p95: 30, newest: 30},
			}
			if len(got) != len(want) {
				t.Fatalf("%s: %+v", view, got)
			}
			for i, w := range want {
				g := got[i]
				if math.Abs(g.p50-w.p50) > 0.2 {
					t.Errorf("%s: p50 is %v", view, g.p50)
				}
				if g.p50 = w.p50; g != w {
					t.Errorf("%s: %+v, expected %+v", view, g, w)
				}
			}
		}
		if last := lastAt(t, s); !last.Equal(at) {
			t.Errorf("last_at is %s, expected %s", last, at)
		}
	})
}

func viewDB(s *Store) *sql.DB {
	if p, ok := s.backend.(*postgres); ok {
		return p.db.DB
	}
	return s.backend.(*sqlite).db.DB
}

func readView(t *testing.T, s *Store, query string) (out []viewLine) {
	t.Helper()
	rows, err := viewDB(s).QueryContext(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var l viewLine
		if err := rows.Scan(&l.metric, &l.count, &l.sum, &l.min, &l.max, &l.avg, &l.m2, &l.p50, &l.p95,
			&l.newest); err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func lastAt(t *testing.T, s *Store) time.Time {
	t.Helper()
	query := `SELECT last_at FROM rollup_1m WHERE metric = 'x'`
	if _, ok := s.backend.(*postgres); ok {
		query = `SELECT to_char(last_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM rollup_1m WHERE metric = 'x'`
	}
	var text string
	if err := viewDB(s).QueryRowContext(context.Background(), query).Scan(&text); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
