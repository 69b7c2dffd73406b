package rollup

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"weir/internal/platform/sqldb"
)

// directory returns the directory of a new store with events of devices of some ages.
func directory(t *testing.T, url string, now time.Time, fleets map[string]map[string]time.Duration) *Directory {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	limits := DefaultLimits()
	limits.WriteEvery = 0 // rows at once
	s, err := Open(t.Context(), db, limits)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for fleet, devices := range fleets {
		var bodies []string
		for device, age := range devices {
			for _, more := range []time.Duration{0, time.Hour} { // an older event as well
				n++
				bodies = append(bodies, testEvent(n, device, now.Add(-age-more), `{"x":1}`))
			}
		}
		add(t, s, now, windowsOf(t, fleet, bodies...))
	}
	d := NewDirectory(db)
	t.Cleanup(d.Close)
	return d
}

// The longest silent devices come first, with any size of pages. A fleet sees its own devices, and
// a list of all fleets has each device with its fleet.
func TestDirectory_TheLongestSilentFirstInPages(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		now := time.Now().UTC().Truncate(time.Minute)
		d := directory(t, fresh(), now, map[string]map[string]time.Duration{
			"acme":  {"pump-1": 5 * time.Minute, "pump-2": time.Hour, "Valve:3": 0, "valve-4": 26 * time.Hour},
			"other": {"pump-1": 2 * time.Hour, "pump-9": 3 * time.Minute},
		})
		h := DevicesHandler(d, nil, func() time.Time { return now })
		for _, c := range []struct {
			fleet, query string
			total        int
			want         string
		}{
			{"acme", "", 4, "[valve-4 pump-2 pump-1 Valve:3]"},
			{"other", "", 2, "[pump-1 pump-9]"}, {"nobody", "", 0, "[]"},
			{"acme", "search=VALVE", 2, "[valve-4 Valve:3]"}, {"acme", "search=p-", 2, "[pump-2 pump-1]"},
			{"acme", "prefix=Valve", 1, "[Valve:3]"}, {"acme", "silent_for=10m", 2, "[valve-4 pump-2]"},
			{"acme", "search=nothing", 0, "[]"}, {"acme", "search=" + url.QueryEscape(`<b>"'%`), 0, "[]"},
		} {
			for _, limit := range []int{1, 3, 50} {
				got, cursor := []string{}, ""
				for range 10 {
					var page devicesJSON
					w := get(t, h, c.fleet, fmt.Sprintf("/v1/devices?limit=%d&%s&cursor=%s", limit, c.query, cursor), &page)
					if w.Code != 200 || page.Total != c.total || len(page.Devices) > limit {
						t.Fatalf("%+v: %d %s", c, w.Code, w.Body)
					}
					contract{t}.check("/v1/devices", w.Code, w.Body.Bytes())
					for _, one := range page.Devices {
						got = append(got, one.Device)
						if one.Fleet != c.fleet {
							t.Errorf("%s is told of a device of %s", c.fleet, one.Fleet)
						}
					}
					if page.Next == nil {
						break
					}
					cursor = *page.Next
				}
				if fmt.Sprint(got) != c.want {
					t.Errorf("%+v in pages of %d: %v", c, limit, got)
				}
			}
		}
		all, _, err := d.Devices(t.Context(), "")
		if err != nil || len(all) != 6 || all[0].Device != "valve-4" || all[1].Fleet != "other" {
			t.Errorf("all fleets: %v %v", all, err)
		}
		for _, query := range []string{"silent_for=x", "silent_for=-1h", "limit=0", "limit=501", "cursor=x", "device=a"} {
			if w := get(t, h, "acme", "/v1/devices?"+query, nil); w.Code != 400 {
				t.Errorf("%s: %d", query, w.Code)
			}
		}
	})
}

// Ten thousand devices are searched within a tenth of a second; the test allows half a second, for
// a machine that is five times slower.
func TestDirectory_TenThousandAreSearchedAtOnce(t *testing.T) {
	now := time.Now().UTC()
	devices := map[string]time.Duration{}
	for i := range 10_000 {
		devices[fmt.Sprintf("pump-%05d", i)] = time.Duration(i%5000) * time.Minute
	}
	d := directory(t, "sqlite://"+t.TempDir()+"/r.db", now, map[string]map[string]time.Duration{"acme": devices})
	h := DevicesHandler(d, nil, time.Now)
	get(t, h, "acme", "/v1/devices", nil) // reads the list
	began := time.Now()
	const times = 20
	for i := range times {
		var page devicesJSON
		get(t, h, "acme", fmt.Sprintf("/v1/devices?search=%d", 7700+i), &page)
		if page.Total == 0 || page.Total > 100 {
			t.Errorf("found %d", page.Total)
		}
	}
	took := time.Since(began) / times
	t.Logf("a search took %s", took)
	if took > 500*time.Millisecond {
		t.Errorf("a search took %s", took)
	}
}
