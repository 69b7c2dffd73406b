package rollup

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/plugins/apikey"
	"weir/plugins/event"
	"weir/plugins/problem"
)

// Bounds of one request.
const (
	defaultLimit = 1000
	maxLimit     = 10_000
	maxDevices   = 10_000 // a group; a URL holds some hundreds
	maxMetrics   = 100
	defaultRange = time.Hour
)

// maxRange is how long a range each resolution may be asked for.
func maxRange(r Resolution) time.Duration {
	switch r {
	case Minute:
		return 31 * 24 * time.Hour
	case Hour:
		return 800 * 24 * time.Hour
	}
	return 20 * 366 * 24 * time.Hour
}

// autoResolution is the finest that gives a range at most 360 points.
func autoResolution(d time.Duration) Resolution {
	switch {
	case d <= 6*time.Hour:
		return Minute
	case d <= 15*24*time.Hour:
		return Hour
	}
	return Day
}

func badParameter(name, detail string) problem.Problem {
	return problem.Problem{Type: "invalid-parameter", Status: http.StatusBadRequest, Title: "A parameter is not valid",
		Detail: name + ": " + detail, Extra: map[string]any{"parameter": name}}
}

func noFleet() problem.Problem {
	return badParameter("fleet", "an admin key has no fleet of its own: name one")
}

// parseQuery reads a request's parameters. The hash binds cursors to them.
func parseQuery(r *http.Request, now time.Time) (q Query, hash uint32, bad *problem.Problem) {
	refuse := func(name, format string, args ...any) (Query, uint32, *problem.Problem) {
		p := badParameter(name, fmt.Sprintf(format, args...))
		return Query{}, 0, &p
	}
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refuse("query", "the query string is not valid: %v", err)
	}
	for name, values := range v {
		switch name {
		case "device", "metric":
		case "from", "to", "resolution", "merge", "limit", "cursor", "fleet":
			if len(values) > 1 {
				return refuse(name, "given more than once")
			}
		default:
			return refuse(name, "unknown; expected device, metric, from, to, resolution, merge, limit or cursor")
		}
	}
	if q.Fleet = apikey.FleetFrom(r.Context()); q.Fleet == "" {
		p := noFleet()
		return q, 0, &p
	}
	switch v.Get("merge") {
	case "", "none":
	case "fleet":
		q.Merge = true
	default:
		return refuse("merge", "expected fleet, or leave it out")
	}
	for _, list := range v["device"] {
		for _, d := range strings.Split(list, ",") {
			if !event.ValidDevice(d) {
				return refuse("device", "%q is no device_id: expected 1 to 128 of letters, digits, '.', '_', ':' and '-'", d)
			}
			q.Devices = append(q.Devices, d)
		}
	}
	slices.Sort(q.Devices)
	q.Devices = slices.Compact(q.Devices)
	switch {
	case len(q.Devices) > maxDevices:
		return refuse("device", "%d devices; at most %d in one request, or merge=fleet without any for the whole fleet", len(q.Devices), maxDevices)
	case len(q.Devices) == 0 && !q.Merge:
		return refuse("device", "missing; name one or several, or ask for merge=fleet")
	}
	if q.Metrics = v["metric"]; len(q.Metrics) > maxMetrics {
		return refuse("metric", "%d metrics; at most %d in one request", len(q.Metrics), maxMetrics)
	}
	to := now
	if s := v.Get("to"); s != "" {
		if to, err = parseTime(s); err != nil {
			return refuse("to", "%v", err)
		}
	}
	from := to.Add(-defaultRange)
	if s := v.Get("from"); s != "" {
		if from, err = parseTime(s); err != nil {
			return refuse("from", "%v", err)
		}
	}
	if !from.Before(to) {
		return refuse("from", "expected a time before to (%s)", to.UTC().Format(time.RFC3339))
	}
	length := to.Sub(from) // saturates, far beyond every bound
	switch s := v.Get("resolution"); s {
	case Minute.Name:
		q.Resolution = Minute
	case Hour.Name:
		q.Resolution = Hour
	case Day.Name:
		q.Resolution = Day
	case "", "auto":
		q.Resolution = autoResolution(length)
	default:
		return refuse("resolution", "expected 1m, 1h, 1d or auto")
	}
	if bound := maxRange(q.Resolution); length > bound {
		return refuse("from", "a range of %s is asked for at %s; at most %d days: ask for a shorter one or a coarser resolution",
			length.Round(time.Hour), q.Resolution.Name, int(bound.Hours()/24))
	}
	q.From, q.To = from.Unix(), to.Add(time.Second-1).Unix()
	q.Limit = defaultLimit
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 || q.Limit > maxLimit {
			return refuse("limit", "expected 1 to %d", maxLimit)
		}
	}
	return q.resume(v, refuse)
}

// resume applies the cursor. It carries the range, which a later page of a
// query without from or to would otherwise put elsewhere.
func (q Query) resume(v url.Values, refuse func(string, string, ...any) (Query, uint32, *problem.Problem)) (Query, uint32, *problem.Problem) {
	h := fnv.New32a()
	for _, name := range []string{"device", "metric", "from", "to", "resolution", "merge"} {
		fmt.Fprintf(h, "%s=%q;", name, v[name])
	}
	fmt.Fprintf(h, "%s", q.Fleet)
	hash := h.Sum32()
	s := v.Get("cursor")
	if s == "" {
		q.After = position{Bucket: -1 << 62}
		return q, hash, nil
	}
	var c cursorJSON
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	switch {
	case err != nil:
		return refuse("cursor", "not one that weir gave; take it from next")
	case c.Hash != hash:
		return refuse("cursor", "belongs to another query: send the parameters of the first page again")
	}
	q.After, q.From, q.To = c.position, c.From, c.To
	return q, hash, nil
}

type cursorJSON struct {
	position
	From int64  `json:"f"`
	To   int64  `json:"t"`
	Hash uint32 `json:"h"`
}

// encodeCursor makes the opaque text from which the next page starts.
func encodeCursor(p position, q Query, hash uint32) string {
	raw, err := json.Marshal(cursorJSON{p, q.From, q.To, hash})
	if err != nil { // strings and numbers: cannot fail
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func parseTime(s string) (time.Time, error) {
	s = strings.Replace(s, " ", "+", 1) // a plus that was not escaped
	t, ok := event.ParseTime(s)
	if !ok {
		return t, fmt.Errorf("%q is no time: expected RFC 3339 with a zone, such as 2026-11-21T09:30:00Z", s)
	}
	return t, nil
}
