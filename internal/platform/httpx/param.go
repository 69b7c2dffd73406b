package httpx

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform/text"
)

// Bad is the problem of an invalid parameter.
func Bad(name, format string, args ...any) *Problem {
	return &Problem{Type: "invalid-parameter", Status: http.StatusBadRequest, Title: "A parameter is not valid",
		Detail: name + ": " + fmt.Sprintf(format, args...), Extra: map[string]any{"parameter": name}}
}

// NoFleet is the problem of an admin's query without a fleet.
func NoFleet() *Problem {
	return Bad("fleet", "an admin key has no fleet of its own: name one")
}

// Decode decodes a JSON request body of at most `most` bytes. It rejects fields that into does not have.
func Decode(w http.ResponseWriter, r *http.Request, most int64, into any) error {
	d := json.NewDecoder(text.PassBOM(http.MaxBytesReader(w, r.Body, most)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	return nil
}

// Parse parses the query string. Only the listed parameters are allowed, each at most once unless it is in repeated.
func Parse(r *http.Request, once, repeated []string) (url.Values, *Problem) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, Bad("query", "the query string is not valid: %v", err)
	}
	for name, values := range v {
		switch {
		case slices.Contains(repeated, name):
		case !slices.Contains(once, name):
			known := append(slices.Clone(repeated), slices.DeleteFunc(slices.Clone(once), func(n string) bool {
				return n == "fleet"
			})...)
			last := len(known) - 1
			return nil, Bad(name, "unknown; expected %s or %s", strings.Join(known[:last], ", "), known[last])
		case len(values) > 1:
			return nil, Bad(name, "given more than once")
		}
	}
	return v, nil
}

// Devices parses the parameter device, which may be repeated and may contain several separated by commas. valid is
// event.ValidDevice.
func Devices(v url.Values, valid func(string) bool) (devices []string, bad *Problem) {
	for _, list := range v["device"] {
		for _, d := range strings.Split(list, ",") {
			if !valid(d) {
				return nil, Bad("device", "%q is no device_id: expected 1 to 128 of letters, digits, '.', '_', ':' and '-'", d)
			}
			devices = append(devices, d)
		}
	}
	return devices, nil
}

// Range parses the parameters from and to. to defaults to now, and from to length before to.
func Range(v url.Values, now time.Time, length time.Duration) (from, to time.Time, bad *Problem) {
	if to, bad = instant(v, "to", now); bad != nil {
		return from, to, bad
	}
	if from, bad = instant(v, "from", to.Add(-length)); bad != nil {
		return from, to, bad
	}
	if !from.Before(to) {
		return from, to, Bad("from", "expected a time before to (%s)", to.UTC().Format(time.RFC3339))
	}
	return from, to, nil
}

func instant(v url.Values, name string, otherwise time.Time) (time.Time, *Problem) {
	s := v.Get(name)
	if s == "" {
		return otherwise, nil
	}
	t, ok := text.ParseTime(strings.Replace(s, " ", "+", 1)) // an unescaped plus
	if !ok {
		return t, Bad(name, "%q is no time: expected RFC 3339 with a zone, such as 2026-11-21T09:30:00Z", s)
	}
	return t, nil
}

// Before parses the parameters limit and before of a list sorted newest first. before defaults to a minute after now,
// so that nothing is cut off.
func Before(v url.Values, now time.Time, otherwise, most int) (limit int, before time.Time, bad *Problem) {
	if limit, bad = Limit(v, otherwise, most); bad != nil {
		return 0, before, bad
	}
	before, bad = instant(v, "before", now.Add(time.Minute))
	return limit, before, bad
}

// Limit parses the parameter limit, the size of a page: from 1 to most.
func Limit(v url.Values, otherwise, most int) (int, *Problem) {
	s := v.Get("limit")
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, Bad("limit", "expected 1 to %d", most)
	}
	return n, nil
}
