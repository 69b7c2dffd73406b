package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/plugins/event"
	"weir/plugins/problem"
)

// auditPage is how many acts a page holds, unless the request says otherwise.
const auditPage, auditPageMax = 100, 1000

type auditPageJSON struct {
	Acts []Act   `json:"acts"`
	Next *string `json:"next"`
}

// auditHandler answers GET /v1/audit?from=&to=&limit=&cursor=, the newest first.
func auditHandler(l *log, now func() time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			problem.Write(w, problem.Problem{Type: "method-not-allowed", Status: http.StatusMethodNotAllowed,
				Title: "The method is not allowed here", Detail: "the audit log is only read: GET"})
			return
		}
		q := r.URL.Query()
		from, to, limit, before, err := auditQuery(q.Get, now())
		if err != nil {
			problem.Write(w, problem.Problem{Type: "bad-request", Status: http.StatusBadRequest,
				Title: "The request is not valid", Detail: err.Error()})
			return
		}
		acts, err := l.list(r.Context(), from, to, before, limit+1)
		if err != nil {
			w.Header().Set("Retry-After", "5")
			problem.Write(w, problem.Problem{Type: "unavailable", Status: http.StatusServiceUnavailable,
				Title: "Temporarily unavailable", Detail: "the audit log cannot be read now: try again"})
			return
		}
		page := auditPageJSON{Acts: acts}
		if len(acts) > limit {
			page.Acts = acts[:limit]
			last := page.Acts[limit-1]
			next := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", last.At.UnixMicro(), last.ID))
			page.Next = &next
		}
		if page.Acts == nil {
			page.Acts = []Act{}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(page) // the client has gone
	})
}

func auditQuery(get func(string) string, now time.Time) (from, to time.Time, limit int, before *place, err error) {
	from, to, limit = time.UnixMicro(0), now.Add(time.Minute), auditPage
	for _, t := range []struct {
		name string
		to   *time.Time
	}{{"from", &from}, {"to", &to}} {
		if text := get(t.name); text != "" {
			at, ok := event.ParseTime(text)
			if !ok {
				return from, to, 0, nil, fmt.Errorf("%s: expected an RFC 3339 time with a zone", t.name)
			}
			*t.to = at
		}
	}
	if text := get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > auditPageMax {
			return from, to, 0, nil, fmt.Errorf("limit: expected 1 to %d", auditPageMax)
		}
	}
	if text := get("cursor"); text != "" {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		at, id, ok := strings.Cut(string(raw), " ")
		n, err2 := strconv.ParseInt(at, 10, 64)
		if err != nil || err2 != nil || !ok {
			return from, to, 0, nil, fmt.Errorf("cursor: expected the value of next in an answer")
		}
		before = &place{n, id}
	}
	return from, to, limit, before, nil
}
