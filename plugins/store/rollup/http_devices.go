package rollup

import (
	"context"
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/httpx"
)

const (
	devicesPage, devicesPageMost = 50, 500
	devicesMost                  = 20 * time.Second // for the first read of the list
	searchMost                   = 128              // bytes of prefix and search
)

// OpenAlerts returns how many alerts are open for each of some devices of a fleet.
type OpenAlerts func(ctx context.Context, fleet string, devices []string) (map[string]int, error)

type deviceJSON struct {
	Fleet    string    `json:"fleet"`
	Device   string    `json:"device_id"`
	LastSeen time.Time `json:"last_seen"`
	Silent   float64   `json:"silent_seconds"`
	Alerts   *int      `json:"open_alerts"` // null: could not be counted
}

type devicesJSON struct {
	Devices []deviceJSON `json:"devices"`
	Total   int          `json:"total"`
	At      time.Time    `json:"at"`
	Next    *string      `json:"next"`
}

// deviceQuery is a parsed GET /v1/devices.
type deviceQuery struct {
	fleet          string
	prefix, search string // search is in lower case
	covers         func(device string) bool
	before         int64 // only devices last seen before this, Unix seconds
	limit          int
	after          *Seen // the last device of the previous page
}

// DevicesHandler answers GET /v1/devices?prefix=&search=&silent_for=&limit=&cursor=, the longest
// silent devices first, for the fleet that apikey.Authenticator put into the request and
// within the device prefix of the key. For an admin key without a fleet it lists all fleets.
// clock is time.Now, except in tests.
func DevicesHandler(d *Directory, alerts OpenAlerts, clock func() time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/devices", func(w http.ResponseWriter, r *http.Request) {
		now := clock()
		q, hash, bad := parseDevices(r, now)
		if bad != nil {
			httpx.Write(w, *bad)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), devicesMost)
		defer cancel()
		list, at, err := d.Devices(ctx, q.fleet)
		if err != nil {
			httpx.Unavailable(w, "the list of devices", err)
			return
		}
		found, total, more := q.run(list)
		out := devicesJSON{Devices: make([]deviceJSON, len(found)), Total: total, At: at.UTC()}
		for i, s := range found {
			seen := time.Unix(s.At, 0).UTC()
			out.Devices[i] = deviceJSON{Fleet: s.Fleet, Device: s.Device, LastSeen: seen,
				Silent: max(0, now.Sub(seen).Truncate(time.Second).Seconds())}
		}
		countAlerts(ctx, alerts, out.Devices)
		if more {
			next := httpx.Cursor(found[len(found)-1], 0, q.before, hash)
			out.Next = &next
		}
		httpx.Answer(w, http.StatusOK, out)
	})
	return mux
}

func parseDevices(r *http.Request, now time.Time) (q deviceQuery, hash uint32, bad *httpx.Problem) {
	v, bad := httpx.Parse(r, []string{"fleet", "prefix", "search", "silent_for", "limit", "cursor"}, nil)
	if bad != nil {
		return q, 0, bad
	}
	q = deviceQuery{fleet: apikey.FleetFrom(r.Context()), prefix: v.Get("prefix"),
		search: strings.ToLower(v.Get("search")),
		before: now.Add(time.Hour).Unix()}
	if len(q.prefix) > searchMost || len(q.search) > searchMost {
		return q, 0, httpx.Bad("search", "expected at most %d bytes", searchMost)
	}
	if key, ok := apikey.KeyFrom(r.Context()); ok {
		q.covers = key.Covers
	}
	if text := v.Get("silent_for"); text != "" {
		silence, err := time.ParseDuration(text)
		if err != nil || silence < 0 {
			return q, 0, httpx.Bad("silent_for", "expected a duration, such as 10m")
		}
		q.before = now.Add(-silence).Unix()
	}
	if q.limit, bad = httpx.Limit(v, devicesPage, devicesPageMost); bad != nil {
		return q, 0, bad
	}
	hash = httpx.Hash(v, q.fleet, "prefix", "search", "silent_for")
	after, _, before, bad := httpx.Resume[Seen](v, hash)
	if q.after = after; after != nil {
		q.before = before // as on the first page
	}
	return q, hash, bad
}

// run returns one page of a sorted list, how many devices match in all, and whether more of
// them follow the page.
func (q *deviceQuery) run(list []Seen) (page []Seen, total int, more bool) {
	end := sort.Search(len(list), func(i int) bool { return list[i].At >= q.before })
	for _, s := range list[:end] {
		if !strings.HasPrefix(s.Device, q.prefix) || q.search != "" && !contains(s.Device, q.search) ||
			q.covers != nil && !q.covers(s.Device) {
			continue
		}
		total++
		switch {
		case q.after != nil && s.compare(*q.after) <= 0:
		case len(page) < q.limit:
			page = append(page, s)
		default:
			more = true
		}
	}
	return page, total, more
}

// contains reports whether the device contains a lower-case text, ignoring the device's case.
func contains(device, lower string) bool {
	return strings.Contains(device, lower) || strings.Contains(strings.ToLower(device), lower)
}

// countAlerts fills in the open alerts of a page. When they cannot be counted, the page is
// answered without them.
func countAlerts(ctx context.Context, alerts OpenAlerts, page []deviceJSON) {
	if alerts == nil {
		return
	}
	by := map[string][]string{}
	for _, d := range page {
		by[d.Fleet] = append(by[d.Fleet], d.Device)
	}
	for fleet, devices := range by {
		slices.Sort(devices)
		open, err := alerts(ctx, fleet, devices)
		if err != nil {
			continue
		}
		for i := range page {
			if page[i].Fleet == fleet {
				n := open[page[i].Device]
				page[i].Alerts = &n
			}
		}
	}
}
