package rollup

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

// onEachStore runs a test with every kind of database. fresh returns the URL of an empty one.
func onEachStore(t *testing.T, test func(t *testing.T, fresh func() string)) {
	t.Run("sqlite", func(t *testing.T) {
		n := 0
		dir := t.TempDir()
		test(t, func() string { n++; return fmt.Sprintf("sqlite://%s/%d.db", dir, n) })
	})
	t.Run("postgres", func(t *testing.T) {
		url := require.Env(t, "WEIR_TEST_POSTGRES_URL")
		test(t, func() string { return freshSchema(t, url) })
	})
}

func freshSchema(t testing.TB, url string) string {
	t.Helper()
	ctx := context.Background()
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	schema := fmt.Sprintf("rollup_test_%d", rand.Uint64())
	if _, err := db.ExecContext(ctx, `CREATE SCHEMA `+schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.ExecContext(ctx, `DROP SCHEMA `+schema+` CASCADE`); err != nil {
			t.Error(err)
		}
		_ = db.Close()
	})
	sep := "?"
	if strings.Contains(url, "?") {
		sep = "&"
	}
	return url + sep + "search_path=" + schema
}

// history returns a random history of some devices: unique events within some hours.
func history(r *rand.Rand, n int) []Window {
	names := []string{"cpu_temp", "battery_voltage", "vibration", "humidity"}
	events := make([]Window, n)
	for i := range events {
		at := noon.Add(-time.Duration(r.Int64N(int64(5 * time.Hour)))).Truncate(time.Microsecond)
		var readings []reading
		for _, name := range names {
			switch r.IntN(4) {
			case 0:
			case 1:
				readings = append(readings, reading{name, 0})
			default:
				readings = append(readings, reading{name, math.Round((r.Float64()*100-40)*100) / 100})
			}
		}
		key := Key{[]string{"acme", "other"}[r.IntN(2)], fmt.Sprintf("dev-%d", r.IntN(3)), minuteOf(at)}
		events[i] = Window{Key: key, events: []sample{{id: r.Uint64(), at: at.UnixMicro(), readings: readings}}}
	}
	return events
}

// gather returns the windows of a batch of events.
func gather(events []Window) []*Window {
	byKey := map[Key]*Window{}
	var out []*Window
	for i := range events {
		w := byKey[events[i].Key]
		if w == nil {
			w = &Window{Key: events[i].Key}
			byKey[w.Key], out = w, append(out, w)
		}
		w.events = append(w.events, events[i].events...)
	}
	return out
}

// dump reads everything in a store.
func dump(t testing.TB, s *Store) map[string]*windowRow {
	t.Helper()
	ctx, out := context.Background(), map[string]*windowRow{}
	err := s.view(ctx, all, func(t tx) error {
		for _, res := range []resolution{byMinute, byHour, byDay} {
			for _, fleet := range []string{"acme", "other"} {
				var rows []*windowRow
				err := t.scan(ctx, res, span{Fleet: fleet, From: 0, To: 1 << 33}, func(r *windowRow) error {
					rows = append(rows, r)
					return nil
				})
				if err != nil {
					return err
				}
				for _, r := range rows {
					if res == byMinute {
						full, err := t.load(ctx, []Key{r.Key})
						if err != nil {
							return err
						}
						r = full[0]
					}
					out[fmt.Sprintf("%s %s %s %d", res.Name, r.Fleet, r.Device, r.Bucket)] = r
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameRow compares rows exactly, except m2, whose last digits may depend on the order of adding.
func sameRow(a, b *windowRow) string {
	if b == nil {
		return "missing"
	}
	if a.State != b.State || !slices.Equal(a.Ledger, b.Ledger) {
		return fmt.Sprintf("ledger %d %v, expected %d %v", b.State, b.Ledger, a.State, a.Ledger)
	}
	if len(a.Metrics) != len(b.Metrics) {
		return "another number of metrics"
	}
	for i, m := range a.Metrics {
		o := b.Metrics[i]
		if m.Name != o.Name || m.Count != o.Count || m.Sum.Hi != o.Sum.Hi || m.Min != o.Min || m.Max != o.Max ||
			m.Last != o.Last || m.LastAt != o.LastAt || !slices.Equal(m.Sketch, o.Sketch) ||
			math.Abs(m.m2()-o.m2()) > 1e-12*m.m2() {
			return fmt.Sprintf("metric %+v, expected %+v", *o, *m)
		}
	}
	return ""
}

func compareStores(t *testing.T, clean, got map[string]*windowRow) {
	t.Helper()
	for key, want := range clean {
		if diff := sameRow(want, got[key]); diff != "" {
			t.Errorf("%s: %s", key, diff)
		}
	}
	for key := range got {
		if clean[key] == nil {
			t.Errorf("%s: should not be there", key)
		}
	}
}
