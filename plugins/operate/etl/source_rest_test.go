package etl

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// api answers pages of ten rows, with the password "s3cret" alone.
type api struct {
	*httptest.Server
	t     *testing.T
	rows  int
	asked []string // queries
	first func(w http.ResponseWriter, r *http.Request) bool
}

func newAPI(t *testing.T, rows int) *api {
	t.Helper()
	a := &api{t: t, rows: rows}
	a.Server = httptest.NewServer(http.HandlerFunc(a.answer))
	t.Cleanup(a.Close)
	return a
}

func (a *api) answer(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a.asked = append(a.asked, r.URL.RawQuery)
	_, basic, _ := r.BasicAuth()
	if r.Header.Get("Authorization") != "Bearer s3cret" && r.Header.Get("X-Key") != "s3cret" && basic != "s3cret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if a.first != nil && a.first(w, r) {
		return
	}
	at := 0
	for name, times := range map[string]int{"page": 10, "offset": 1, "cursor": 1, "at": 1} {
		if n, err := strconv.Atoi(strings.TrimPrefix(q.Get(name), "c")); err == nil {
			at = n * times
		}
	}
	var rows []string
	for i := at; i < min(at+10, a.rows); i++ {
		rows = append(rows, fmt.Sprintf(`{"id": %d, "x": "row %d", "n": %d.50}`, i, i, i))
	}
	cursor, link := "null", "null"
	if at+10 < a.rows {
		cursor, link = fmt.Sprintf(`"c%d"`, at+10), fmt.Sprintf(`"/v1?at=%d"`, at+10)
		w.Header().Set("Link", fmt.Sprintf(`</v1?at=0>; rel="first", </v1?at=%d>; title="a, b"; rel="next"`, at+10))
	}
	_, _ = fmt.Fprintf(w, `{"data": {"items": [%s]}, "meta": {"cursor": %s, "next": %s}}`, strings.Join(rows, ","), cursor, link)
}

const restColumns = `[{"name": "id", "type": "int32"}, {"name": "x", "type": "text"}, {"name": "n", "type": "decimal(9,2)"}]`

// asked is a pipeline of what the API has.
func (a *api) pipeline(auth, paging, columns, more string) *Pipeline {
	a.t.Helper()
	dir := a.t.TempDir()
	kept := filepath.Join(dir, "secret")
	if err := os.WriteFile(kept, []byte("s3cret"), 0o600); err != nil {
		a.t.Fatal(err)
	}
	if columns != "" {
		columns = `, "columns": ` + columns
	}
	p, err := loaded(a.t, map[string]string{"p.json": fmt.Sprintf(`{"name": "api", "block": 7, "source": {"type": "rest",
		"url": "%s/v1", "rows": "/data/items", "auth": %s, "paging": %s%s%s},
		"sinks": [{"format": "ndjson", "url": "file://out", "object": "x"}]}`, a.URL,
		strings.ReplaceAll(auth, "KEPT", strconv.Quote(kept)), paging, columns, more)})
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

const bearer = `{"bearer": {"$file": KEPT}}`

// However pages lead on, each row is read once, also by a run that was interrupted
// within a page: it asks for that page again, and for none before it.
func TestREST_EachRowOnceHoweverPagesLeadOn(t *testing.T) {
	auths := []string{bearer, `{"basic": {"user": "u", "password": {"$file": KEPT}}}`,
		`{"header": {"name": "X-Key", "value": {"$file": KEPT}}}`}
	for i, paging := range []string{`{"by": "page", "parameter": "page", "first": 0}`, `{"by": "offset", "parameter": "offset"}`,
		`{"by": "cursor", "parameter": "cursor", "next": "/meta/cursor", "size": 10, "size_parameter": "n"}`, `{"by": "link"}`,
		`{"by": "next", "next": "/meta/next"}`} {
		a := newAPI(t, 35)
		p, o := a.pipeline(auths[i%3], paging, restColumns, ""), options(t)
		n := 19 // within the second page
		p.source = breaking{p.source, &n, errors.New("the cable is out")}
		if _, err := p.Run(t.Context(), o); err == nil {
			t.Fatal("it did not break")
		}
		a.asked = nil
		on := false
		o.Tell = func(line string) { on = on || strings.HasSuffix(line, "after 14 rows") }
		r, err := p.Run(t.Context(), o)
		if err != nil || !on || r.Counts.Read != 35 || len(a.asked) > 4 {
			t.Errorf("%s: %v, went on: %t, asked for %v", paging, err, on, a.asked)
		}
		got := strings.Split(strings.TrimSpace(contents(t, p)["x"]), "\n")
		for i, line := range got {
			if want := fmt.Sprintf(`{"id":%d,"x":"row %d","n":"%d.50"}`, i, i, i); line != want {
				t.Errorf("%s: row %d is %s", paging, i, line)
			}
		}
		if findings, err := p.Audit(t.Context(), r); len(got) != 35 || err != nil || len(findings) > 0 {
			t.Errorf("%s: %d rows; %v, %v", paging, len(got), findings, err)
		}
	}
}

// A page whose rows have moved since a run was interrupted is not gone on with.
func TestREST_APageThatHasMovedIsNotGoneOnWith(t *testing.T) {
	a := newAPI(t, 35)
	p, o := a.pipeline(bearer, `{"by": "offset", "parameter": "offset"}`, restColumns, ""), options(t)
	n := 19
	p.source = breaking{p.source, &n, errors.New("the cable is out")}
	if _, err := p.Run(t.Context(), o); err == nil {
		t.Fatal("it did not break")
	}
	a.first = func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = fmt.Fprint(w, `{"data": {"items": [{"id": 0, "x": "other", "n": 1}]}}`)
		return true
	}
	if _, err := p.Run(t.Context(), o); !Final(err) || !strings.Contains(err.Error(), "has other rows now") {
		t.Error(err)
	}
}

// A server that is busy is asked again when it says, so often and so long; whatever
// else it answers is told by the place, and without a secret or a body.
func TestREST_WhatAServerDoesWrongIsNamed(t *testing.T) {
	status := func(code int, header, value string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			if header != "" {
				w.Header().Set(header, value)
			}
			w.WriteHeader(code)
			_, _ = fmt.Fprint(w, "hidden")
			return true
		}
	}
	body := func(text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = fmt.Fprint(w, text)
			return true
		}
	}
	other := newAPI(t, 10)
	other.first = func(_ http.ResponseWriter, r *http.Request) bool {
		t.Errorf("another server is told %v", r.Header)
		return false
	}
	release := make(chan struct{})
	defer close(release)
	const cursor = `{"by": "cursor", "parameter": "cursor", "next": "/meta/cursor"}`
	for what, c := range map[string]struct {
		paging string
		first  func(http.ResponseWriter, *http.Request) bool
		says   string
		final  bool
		waits  string
	}{
		"busy":      {cursor, status(429, "Retry-After", "7"), "it is busy: HTTP 429", false, "[7s 7s 7s 7s 7s 7s 7s]"},
		"a storm":   {cursor, status(503, "", ""), "it is busy: HTTP 503", false, "[1s 2s 4s 8s 16s 32s 1m4s]"},
		"too long":  {cursor, status(503, "Retry-After", "86400"), "it asks to wait for 24h0m0s", false, "[]"},
		"broken":    {cursor, status(502, "", ""), "HTTP 502", false, "[]"},
		"refused":   {cursor, status(403, "", ""), "it refuses who asks: HTTP 403", true, "[]"},
		"gone":      {cursor, status(404, "", ""), "HTTP 404", true, "[]"},
		"moved":     {cursor, status(302, "Location", other.URL+"/v1"), "it leads to another server", true, "[]"},
		"circle":    {cursor, status(302, "Location", "/v1"), "more than 5 times", false, "[]"},
		"garbage":   {cursor, body("<html>hidden"), "is no JSON", false, "[]"},
		"twins":     {cursor, body(`{"data": {"items": []}, "data": 1}`), `names "/data" twice`, false, "[]"},
		"nowhere":   {cursor, body(`{"items": []}`), `nothing at "/data/items"`, true, "[]"},
		"no list":   {cursor, body(`{"data": {"items": {}}}`), "is no list", true, "[]"},
		"no end":    {cursor, body(`{"data": {"items": []}}`), `set "end" to missing`, true, "[]"},
		"no cursor": {cursor, body(`{"data": {"items": []}, "meta": {"cursor": {}}}`), "leads to no page", true, "[]"},
		"large":     {cursor, body(strings.Repeat(" ", 1<<20+1)), "more than 1 MiB", true, "[]"},
		"back":      {cursor, body(`{"data": {"items": []}, "meta": {"cursor": "c"}}`), "leads back", true, "[]"},
		"the same": {`{"by": "page", "parameter": "p"}`, body(`{"data": {"items": [{"id": 1, "x": "", "n": 1}]}}`),
			`does the server know the parameter "p"?`, true, "[]"},
		"elsewhere": {`{"by": "next", "next": "/next"}`, body(`{"data": {"items": []}, "next": "` + other.URL + `/v1"}`),
			"it leads to another server", true, "[]"},
		"hanging": {cursor, func(_ http.ResponseWriter, r *http.Request) bool {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return true
		}, "did not answer in time", false, "[]"},
	} {
		a := newAPI(t, 35)
		a.first = c.first
		p := a.pipeline(bearer, c.paging, restColumns, `, "max_body_mib": 1`)
		s, waits := p.source.(restSource), []time.Duration{}
		s.wait = func(_ context.Context, d time.Duration) error {
			waits = append(waits, d)
			return nil
		}
		if what == "hanging" {
			s.timeout = 100 * time.Millisecond
		}
		p.source = s
		_, err := p.Run(t.Context(), options(t))
		if err == nil || Final(err) != c.final || !strings.Contains(err.Error(), c.says) || fmt.Sprint(waits) != c.waits ||
			strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v (final: %t), waited %v", what, err, Final(err), waits)
		}
		if got := contents(t, p); len(got) > 0 {
			t.Errorf("%s: there is %v", what, got)
		}
	}
	a, times := newAPI(t, 15), 0
	a.first = func(w http.ResponseWriter, r *http.Request) bool {
		times++
		return times == 2 && status(429, "Retry-After", "1")(w, r)
	}
	p := a.pipeline(bearer, cursor, restColumns, "")
	s := p.source.(restSource)
	s.wait = func(context.Context, time.Duration) error { return nil }
	p.source = s
	runs(t, p, options(t))
}

// Columns that nobody named are those of the first page, and what is otherwise later
// is told, within a run and from one to the next.
func TestREST_ColumnsOfTheFirstPage(t *testing.T) {
	pages := []string{`[{"id": 1, "ok": true, "n": 1.10, "at": "2026", "l": [1], "none": null, "mixed": 1},
		{"id": null, "ok": false, "n": 2, "at": "", "l": null, "mixed": "x"}]`, `[{"id": 9223372036854775808, "ok": true, "n": 1,
		"at": "", "l": 1, "none": 1, "mixed": 1}, {"id": 3, "ok": true, "n": 1e400, "at": "", "l": {}, "none": "", "mixed": null}]`,
		`[]`}
	a := newAPI(t, 0)
	a.first = func(w http.ResponseWriter, r *http.Request) bool {
		n, _ := strconv.Atoi(r.URL.Query().Get("page"))
		_, _ = fmt.Fprintf(w, `{"data": {"items": %s}}`, pages[n])
		return true
	}
	const paging = `{"by": "page", "parameter": "page", "first": 0}`
	p, o := a.pipeline(bearer, paging, "", `, "on_failure": "drop", "missing": "null"`), options(t)
	r := runs(t, p, o)
	if got, want := contents(t, p)["x"], `{"at":"2026","id":1,"l":[1],"mixed":1,"n":1.10,"none":null,"ok":true}
{"at":"","id":null,"l":null,"mixed":"x","n":2,"none":null,"ok":false}
{"at":"","id":3,"l":{},"mixed":null,"n":1e400,"none":"","ok":true}
`; got != want || r.Counts.Dropped != 1 {
		t.Errorf("%+v\n%s", r.Counts, got)
	}
	pages[0] = `[{"id": "1"}]`
	if _, err := p.Run(t.Context(), o); !Final(err) || !strings.Contains(err.Error(), `column "id" was int64 and is text`) {
		t.Error(err)
	}
	pages[0] = `[]`
	if _, err := p.Run(t.Context(), options(t)); !Final(err) || !strings.Contains(err.Error(), `name them in "columns"`) {
		t.Error(err)
	}
}

func TestREST_NextLink(t *testing.T) {
	for header, want := range map[string]string{
		"": "", `<a>; rel="next"`: "a", `<a>; rel=next`: "a", `<a>;rel="prev next"`: "a", `<a>; rel="prev", <b>; REL=Next`: "b",
		`<a>; title="<x>, rel=next"; rel="last"`: "", `<a,b>; rel="next"`: "a,b", `a; rel="next"`: "", `<a`: "",
	} {
		if got := nextLink([]string{header}); got != want {
			t.Errorf("%s: %q", header, got)
		}
	}
}

const fromREST = `{"name": "api", "source": {"type": "rest", "url": "https://a/v1", "rows": "/x", "headers": {"X": "y"}, "timeout": "9s",
	"auth": {"bearer": {"$file": "/x"}}, "paging": {"by": "cursor", "parameter": "c", "next": "/n", "end": "missing"},
	"columns": [{"name": "id", "type": "int64"}]}, "sinks": [{"format": "csv", "url": "file://o", "object": "x"}]}`

func TestREST_WhatItCannotIsNamed(t *testing.T) {
	for _, c := range [][3]string{
		{`https://a/v1`, `ftp://a/v1`, "/source/url: expected the URL"}, {`https://a/v1`, `https://u:s3cret@a/v1`, "without a user"},
		{`https://a/v1`, `https://a/v1?api_key=s3cret`, "a secret is not written"}, {`https://a/`, `http://a/`, "use https://"},
		{`{"$file": "/x"}`, `"s3cret"`, "a secret is not written"}, {`"X": "y"`, `"Authorization": "s3cret"`, "a secret is not written"},
		{`"X": "y"`, `"X y": "z"`, "expected a header"}, {`"rows": "/x"`, `"rows": "x"`, "expected a pointer"},
		{`"parameter": "c", `, ``, `"parameter" is missing`}, {`"by": "cursor"`, `"by": "link"`, "there is no such field"},
		{`"next": "/n"`, `"next": "/n", "size": 1`, `"size" and "size_parameter"`}, {`"9s"`, `"9"`, "expected a duration"},
		{`"bearer": {"$file": "/x"}`, `"bearer": {"$file": "/x"}, "basic": {"user": "u", "password": {"$file": "/x"}}`, "expected one of"},
		{`"bearer": {"$file": "/x"}`, `"basic": {"user": "u"}`, `expected a "user" and a "password"`},
	} {
		_, err := loaded(t, map[string]string{"p.json": strings.Replace(fromREST, c[0], c[1], 1)})
		if err == nil || !strings.Contains(err.Error(), c[2]) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", c[1], err)
		}
	}
	if _, err := loaded(t, map[string]string{"p.json": fromREST}); err != nil {
		t.Error(err)
	}
}
