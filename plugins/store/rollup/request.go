package rollup

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
)

// Bounds of one request.
const (
	defaultLimit = 1000
	maxLimit     = 10_000
	maxDevices   = 10_000 // the devices of a group; a URL has room for some hundreds only
	maxMetrics   = 100
	defaultRange = time.Hour
)

// maxRange returns the longest range for which a resolution may be requested.
func maxRange(r resolution) time.Duration {
	switch r {
	case byMinute:
		return 31 * 24 * time.Hour
	case byHour:
		return 800 * 24 * time.Hour
	}
	return 20 * 366 * 24 * time.Hour
}

// autoResolution returns the finest resolution that has at most 360 points in a range, or days.
func autoResolution(d time.Duration) resolution {
	switch {
	case d <= 6*time.Hour:
		return byMinute
	case d <= 15*24*time.Hour:
		return byHour
	}
	return byDay
}

// parseQuery parses the parameters of a request. A cursor is valid only for requests with the same
// hash.
func parseQuery(r *http.Request, now time.Time) (q query, hash uint32, bad *httpx.Problem) {
	v, bad := httpx.Parse(r, []string{"from", "to", "resolution", "merge", "limit", "cursor", "fleet"},
		[]string{"device", "metric"})
	if bad != nil {
		return q, 0, bad
	}
	if q.Fleet = apikey.FleetFrom(r.Context()); q.Fleet == "" {
		return q, 0, httpx.NoFleet()
	}
	for _, step := range []func(url.Values) *httpx.Problem{
		q.setMerge, q.setSeries, func(v url.Values) *httpx.Problem { return q.setRange(v, now) },
		func(v url.Values) (bad *httpx.Problem) {
			q.Limit, bad = httpx.Limit(v, defaultLimit, maxLimit)
			return bad
		},
		func(v url.Values) (bad *httpx.Problem) { hash, bad = q.resume(v); return bad },
	} {
		if bad := step(v); bad != nil {
			return query{}, 0, bad
		}
	}
	return q, hash, nil
}

func (q *query) setMerge(v url.Values) *httpx.Problem {
	switch v.Get("merge") {
	case "", "none":
	case "fleet":
		q.Merge = true
	default:
		return httpx.Bad("merge", "expected fleet, or leave it out")
	}
	return nil
}

func (q *query) setSeries(v url.Values) (bad *httpx.Problem) {
	if q.Devices, bad = httpx.Devices(v, event.ValidDevice); bad != nil {
		return bad
	}
	slices.Sort(q.Devices)
	q.Devices = slices.Compact(q.Devices)
	switch {
	case len(q.Devices) > maxDevices:
		return httpx.Bad("device", "%d devices; at most %d in one request, or merge=fleet without any for the whole fleet",
			len(q.Devices), maxDevices)
	case len(q.Devices) == 0 && !q.Merge:
		return httpx.Bad("device", "missing; name one or several, or ask for merge=fleet")
	}
	if q.Metrics = v["metric"]; len(q.Metrics) > maxMetrics {
		return httpx.Bad("metric", "%d metrics; at most %d in one request", len(q.Metrics), maxMetrics)
	}
	return nil
}

func (q *query) setRange(v url.Values, now time.Time) *httpx.Problem {
	from, to, bad := httpx.Range(v, now, defaultRange)
	if bad != nil {
		return bad
	}
	length := to.Sub(from) // at most 292 years, which is above every bound
	switch s := v.Get("resolution"); s {
	case byMinute.Name:
		q.Resolution = byMinute
	case byHour.Name:
		q.Resolution = byHour
	case byDay.Name:
		q.Resolution = byDay
	case "", "auto":
		q.Resolution = autoResolution(length)
	default:
		return httpx.Bad("resolution", "expected 1m, 1h, 1d or auto")
	}
	if bound := maxRange(q.Resolution); length > bound {
		return httpx.Bad("from", "a range of %s is asked for at %s; at most %d days: ask for a shorter one or a coarser "+
			"resolution",
			length.Round(time.Hour), q.Resolution.Name, int(bound.Hours()/24))
	}
	q.From, q.To = from.Unix(), to.Add(time.Second-1).Unix()
	return nil
}

// resume applies the cursor, if there is one. It has the range of the first page, so that later
// pages do not shift with the time.
func (q *query) resume(v url.Values) (hash uint32, bad *httpx.Problem) {
	hash = httpx.Hash(v, q.Fleet, "device", "metric", "from", "to", "resolution", "merge")
	after, from, to, bad := httpx.Resume[position](v, hash)
	switch {
	case bad != nil:
	case after == nil:
		q.After = position{Bucket: -1 << 62}
	default:
		q.After, q.From, q.To = *after, from, to
	}
	return hash, bad
}

// encodeCursor returns the opaque cursor of the page that follows p.
func encodeCursor(p position, q query, hash uint32) string {
	return httpx.Cursor(p, q.From, q.To, hash)
}
