package raw

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/httpx"
)

// Bounds of one request.
const (
	defaultLimit = 100
	maxLimit     = 10_000
	maxDevices   = 10_000 // the devices of a group; a URL has room for some hundreds
	defaultRange = time.Hour
	maxRange     = 400 * 24 * time.Hour
)

// The formats of an answer, by media type.
const (
	formatJSON   = "application/json"
	formatNDJSON = "application/x-ndjson"
	formatCSV    = "text/csv"
)

// request is a parsed GET /v1/events.
type request struct {
	query  Query
	fields []field
	format string
	limit  int
	hash   uint32 // of the parameters; a cursor is valid only with the same ones
}

func parseRequest(r *http.Request, now time.Time) (*request, *httpx.Problem) {
	v, bad := httpx.Parse(r, []string{"metric", "enrich_failed", "from", "to", "fields", "format", "limit", "cursor",
		"fleet"}, []string{"device"})
	if bad != nil {
		return nil, bad
	}
	q := &request{limit: defaultLimit, query: Query{Fleet: apikey.FleetFrom(r.Context()), Metric: v.Get("metric"),
		Missed: v.Get("enrich_failed"), Parallel: 1}}
	if q.query.Fleet == "" {
		return nil, httpx.NoFleet()
	}
	for _, step := range []func(url.Values) *httpx.Problem{
		q.setDevices,
		func(v url.Values) *httpx.Problem { return q.setRange(v, now) },
		q.setFields,
		func(v url.Values) *httpx.Problem { return q.setFormat(v, r.Header.Get("Accept")) },
		q.setLimit,
		q.resume,
	} {
		if bad := step(v); bad != nil {
			return nil, bad
		}
	}
	return q, nil
}

func (q *request) setDevices(v url.Values) (bad *httpx.Problem) {
	if q.query.Devices, bad = httpx.Devices(v, event.ValidDevice); bad != nil {
		return bad
	}
	if n := len(q.query.Devices); n > maxDevices {
		return httpx.Bad("device", "%d devices; at most %d in one request, or none for the whole fleet", n, maxDevices)
	}
	return nil
}

func (q *request) setRange(v url.Values, now time.Time) (bad *httpx.Problem) {
	if q.query.From, q.query.To, bad = httpx.Range(v, now, defaultRange); bad != nil {
		return bad
	}
	if q.query.To.Sub(q.query.From) > maxRange {
		return httpx.Bad("from", "a range of more than %d days: ask for a shorter one", int(maxRange.Hours()/24))
	}
	return nil
}

func (q *request) setFields(v url.Values) *httpx.Problem {
	all := fields()
	if v.Get("fields") == "" {
		q.fields = slices.DeleteFunc(all, func(f field) bool { return f.byHand })
		return nil
	}
	for _, name := range strings.Split(v.Get("fields"), ",") {
		i := slices.IndexFunc(all, func(f field) bool { return f.name == name })
		if i < 0 || slices.ContainsFunc(q.fields, func(f field) bool { return f.name == name }) {
			var names []string
			for _, f := range all {
				names = append(names, f.name)
			}
			return httpx.Bad("fields", "%q is unknown or given twice; expected some of %s", name, strings.Join(names, ", "))
		}
		q.fields = append(q.fields, all[i])
	}
	return nil
}

// has reports whether the answer includes a field.
func (q *request) has(name string) bool {
	return slices.ContainsFunc(q.fields, func(f field) bool { return f.name == name })
}

func (q *request) setFormat(v url.Values, accept string) *httpx.Problem {
	switch v.Get("format") {
	case "json":
		q.format = formatJSON
	case "ndjson":
		q.format = formatNDJSON
	case "csv":
		q.format = formatCSV
	case "":
		q.format = formatJSON
		for _, format := range []string{formatNDJSON, formatCSV} {
			if strings.Contains(accept, format) && !strings.Contains(accept, formatJSON) {
				q.format = format
			}
		}
	default:
		return httpx.Bad("format", "expected json, ndjson or csv")
	}
	return nil
}

func (q *request) setLimit(v url.Values) (bad *httpx.Problem) {
	q.limit, bad = httpx.Limit(v, defaultLimit, maxLimit)
	return bad
}

func (q *request) resume(v url.Values) *httpx.Problem {
	q.hash = httpx.Hash(v, q.query.Fleet, "device", "metric", "enrich_failed", "from", "to")
	after, from, to, bad := httpx.Resume[Position](v, q.hash)
	if bad == nil && after != nil {
		q.query.From, q.query.To, q.query.After = time.UnixMicro(from), time.UnixMicro(to), after
	}
	return bad
}

// cursor returns the opaque text from which the next page starts.
func (q *request) cursor(last Position) string {
	return httpx.Cursor(last, q.query.From.UnixMicro(), q.query.To.UnixMicro(), q.hash)
}
