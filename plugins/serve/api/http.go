package api

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/internal/control/auditlog"
	"weir/internal/platform/httpx"
	"weir/internal/platform/text"
)

// auditPage is the default and auditPageMax the maximum number of acts in a page.
const auditPage, auditPageMax = 100, 1000

type auditPageJSON struct {
	Acts []auditlog.Act `json:"acts"`
	Next *string        `json:"next"`
}

// auditHandler answers GET /v1/audit?from=&to=&key=&path=&limit=&cursor=, newest first.
func auditHandler(l *auditlog.Log, now func() time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			httpx.Write(w, httpx.Problem{Type: "method-not-allowed", Status: http.StatusMethodNotAllowed,
				Title: "The method is not allowed here", Detail: "the audit log is only read: GET"})
			return
		}
		q := r.URL.Query()
		asked, err := auditQuery(q.Get, now())
		if err != nil {
			httpx.Invalid(w, err.Error())
			return
		}
		limit := asked.Limit
		asked.Limit++ // to detect whether there are more
		acts, err := l.List(r.Context(), asked)
		if err != nil {
			httpx.Unavailable(w, "the audit log", err)
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
			page.Acts = []auditlog.Act{}
		}
		httpx.Answer(w, http.StatusOK, page)
	})
}

func auditQuery(get func(string) string, now time.Time) (q auditlog.Query, err error) {
	q = auditlog.Query{From: time.UnixMicro(0), To: now.Add(time.Minute), Key: get("key"), Path: get("path"),
		Limit: auditPage}
	for _, t := range []struct {
		name string
		to   *time.Time
	}{{"from", &q.From}, {"to", &q.To}} {
		if given := get(t.name); given != "" {
			at, ok := text.ParseTime(given)
			if !ok {
				return q, fmt.Errorf("%s: expected an RFC 3339 time with a zone", t.name)
			}
			*t.to = at
		}
	}
	if text := get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > auditPageMax {
			return q, fmt.Errorf("limit: expected 1 to %d", auditPageMax)
		}
	}
	if text := get("cursor"); text != "" {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		at, id, ok := strings.Cut(string(raw), " ")
		n, err2 := strconv.ParseInt(at, 10, 64)
		if err != nil || err2 != nil || !ok {
			return q, fmt.Errorf("cursor: expected the value of next in an answer")
		}
		q.Before = &auditlog.Place{At: n, ID: id}
	}
	return q, nil
}
