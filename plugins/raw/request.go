package raw

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
	defaultLimit = 100
	maxLimit     = 10_000
	maxDevices   = 10_000 // a group; a URL holds some hundreds
	defaultRange = time.Hour
	maxRange     = 400 * 24 * time.Hour
)

// The formats of an answer, by media type.
const (
	formatJSON   = "application/json"
	formatNDJSON = "application/x-ndjson"
	formatCSV    = "text/csv"
)

// request is what GET /v1/events was asked for.
type request struct {
	query  Query
	fields []field
	format string
	limit  int
	hash   uint32 // binds cursors to the parameters
}

func badParameter(name, detail string) *problem.Problem {
	return &problem.Problem{Type: "invalid-parameter", Status: http.StatusBadRequest, Title: "A parameter is not valid",
		Detail: name + ": " + detail, Extra: map[string]any{"parameter": name}}
}

func parseRequest(r *http.Request, now time.Time) (*request, *problem.Problem) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badParameter("query", "the query string is not valid: "+err.Error())
	}
	for name, values := range v {
		switch name {
		case "device":
		case "metric", "from", "to", "fields", "limit", "cursor", "format", "fleet":
			if len(values) > 1 {
				return nil, badParameter(name, "given more than once")
			}
		default:
			return nil, badParameter(name, "unknown; expected device, metric, from, to, fields, format, limit or cursor")
		}
	}
	q := &request{limit: defaultLimit, query: Query{Fleet: apikey.FleetFrom(r.Context()), Metric: v.Get("metric"), Parallel: 1}}
	if q.query.Fleet == "" {
		return nil, badParameter("fleet", "an admin key has no fleet of its own: name one")
	}
	for _, step := range []func(url.Values) *problem.Problem{
		q.setDevices,
		func(v url.Values) *problem.Problem { return q.setRange(v, now) },
		q.setFields,
		func(v url.Values) *problem.Problem { return q.setFormat(v, r.Header.Get("Accept")) },
		q.setLimit,
		q.resume,
	} {
		if bad := step(v); bad != nil {
			return nil, bad
		}
	}
	return q, nil
}

func (q *request) setDevices(v url.Values) *problem.Problem {
	for _, list := range v["device"] {
		for _, d := range strings.Split(list, ",") {
			if !event.ValidDevice(d) {
				return badParameter("device", fmt.Sprintf("%q is no device_id: expected 1 to 128 of letters, digits, '.', '_', ':' and '-'", d))
			}
			q.query.Devices = append(q.query.Devices, d)
		}
	}
	if len(q.query.Devices) > maxDevices {
		return badParameter("device", fmt.Sprintf("%d devices; at most %d in one request, or none for the whole fleet", len(q.query.Devices), maxDevices))
	}
	return nil
}

func (q *request) setRange(v url.Values, now time.Time) *problem.Problem {
	to := now
	for _, end := range []struct {
		name string
		t    *time.Time
	}{{"to", &to}, {"from", &q.query.From}} {
		if end.name == "from" {
			*end.t = to.Add(-defaultRange)
		}
		if s := v.Get(end.name); s != "" {
			t, ok := event.ParseTime(strings.Replace(s, " ", "+", 1)) // a plus that was not escaped
			if !ok {
				return badParameter(end.name, fmt.Sprintf("%q is no time: expected RFC 3339 with a zone, such as 2026-11-21T09:30:00Z", s))
			}
			*end.t = t
		}
	}
	q.query.To = to
	switch {
	case !q.query.From.Before(to):
		return badParameter("from", "expected a time before to ("+to.UTC().Format(time.RFC3339)+")")
	case to.Sub(q.query.From) > maxRange:
		return badParameter("from", fmt.Sprintf("a range of more than %d days: ask for a shorter one", int(maxRange.Hours()/24)))
	}
	return nil
}

func (q *request) setFields(v url.Values) *problem.Problem {
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
			return badParameter("fields", fmt.Sprintf("%q is unknown or given twice; expected some of %s", name, strings.Join(names, ", ")))
		}
		q.fields = append(q.fields, all[i])
	}
	return nil
}

func (q *request) setFormat(v url.Values, accept string) *problem.Problem {
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
		return badParameter("format", "expected json, ndjson or csv")
	}
	return nil
}

func (q *request) setLimit(v url.Values) *problem.Problem {
	if s := v.Get("limit"); s != "" {
		var err error
		if q.limit, err = strconv.Atoi(s); err != nil || q.limit < 1 || q.limit > maxLimit {
			return badParameter("limit", fmt.Sprintf("expected 1 to %d", maxLimit))
		}
	}
	return nil
}

// cursorJSON is a cursor's content: where to go on, and the range, which a
// later page of a query without from or to would otherwise put elsewhere.
type cursorJSON struct {
	Position
	From int64  `json:"f"`
	To   int64  `json:"t"`
	Hash uint32 `json:"h"`
}

func (q *request) resume(v url.Values) *problem.Problem {
	h := fnv.New32a()
	for _, name := range []string{"device", "metric", "from", "to"} {
		fmt.Fprintf(h, "%s=%q;", name, v[name])
	}
	fmt.Fprint(h, q.query.Fleet)
	q.hash = h.Sum32()
	s := v.Get("cursor")
	if s == "" {
		return nil
	}
	var c cursorJSON
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	switch {
	case err != nil:
		return badParameter("cursor", "not one that weir gave; take it from next")
	case c.Hash != q.hash:
		return badParameter("cursor", "belongs to another query: send the parameters of the first page again")
	}
	q.query.From, q.query.To, q.query.After = time.UnixMicro(c.From), time.UnixMicro(c.To), &c.Position
	return nil
}

// cursor makes the opaque text from which the next page starts.
func (q *request) cursor(last Position) string {
	raw, err := json.Marshal(cursorJSON{last, q.query.From.UnixMicro(), q.query.To.UnixMicro(), q.hash})
	if err != nil { // strings and numbers
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}
