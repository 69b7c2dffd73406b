package etl

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weir/internal/platform/httpx"
	"weir/internal/platform/secret"
)

const restFormat = "rest"

// How the next page is found.
const (
	byNone   = "none"   // there is one page
	byPage   = "page"   // a parameter has the page's number
	byOffset = "offset" // a parameter has the number of rows before the page
	byCursor = "cursor" // a parameter has a cursor from the page before
	byLink   = "link"   // a Link header has the next page's URL
	byNext   = "next"   // the body has the next page's URL
)

// restSource reads rows from an HTTP API, page by page.
type restSource struct {
	at      *url.URL
	headers map[string]string
	ca      string // PEM file; "": the system's certificates
	bearer  string // reference to a secret
	basic   [2]string
	header  [2]string // name, and reference to the secret value
	rows    string    // JSON pointer to the list of rows in a body

	by, parameter, sized string // sized: name of the parameter with the size of a page; "": none
	first, size          int64
	next                 string // JSON pointer to the cursor or the URL in a body
	endMissing           bool   // a body that lacks it is the last one

	columns         []column // nil: those of the first page's rows
	missing, ignore bool     // as in objectReader
	mostBody        int64
	timeout         time.Duration

	wait func(context.Context, time.Duration) error // tests replace it
	now  func() time.Time
}

func (p *Pipeline) readREST(r *reader) (source, []column) {
	s := restSource{headers: map[string]string{}, ca: r.text("ca", false), rows: r.text("rows", false),
		mostBody: r.number("max_body_mib", 32, 1, 1024) << 20, timeout: time.Minute, wait: waitFor, now: time.Now}
	given := r.text("url", true)
	var err error
	if s.at, err = url.Parse(given); err != nil || s.at.Host == "" || s.at.User != nil || s.at.Fragment != "" ||
		s.at.Scheme != "http" && s.at.Scheme != "https" {
		if r.members["url"] != nil { // it may contain a secret, and is not shown
			r.wrong(r.members["url"], "expected the URL of the first page, http:// or https://, without a user")
		}
		s.at = &url.URL{}
	}
	for name := range s.at.Query() {
		if slices.Contains([]string{"api_key", "apikey", "key", "token", "access_token", "password", "secret"},
			strings.ToLower(name)) {
			r.wrong(r.members["url"], `a secret is not written into a pipeline: set "auth"`)
		}
	}
	if given := r.text("timeout", false); r.members["timeout"] != nil {
		if s.timeout, err = time.ParseDuration(given); err != nil || s.timeout < time.Second || s.timeout > time.Hour {
			r.wrong(r.members["timeout"], "expected a duration of 1s to 1h, such as 30s")
		}
	}
	if s.ca != "" && !filepath.IsAbs(s.ca) {
		s.ca = filepath.Join(p.dir, s.ca)
	}
	checkPointer(r, "rows", s.rows)
	s.readHeaders(r)
	s.readAuth(r)
	s.readPaging(r)
	if r.members["columns"] != nil {
		s.columns = readColumns(r)
	} else {
		r.member("columns")
	}
	s.missing = r.oneOf("missing", "refuse", "null") == "null"
	s.ignore = r.oneOf("unknown", "refuse", "ignore") == "ignore"
	return s, s.columns
}

func checkPointer(r *reader, name, pointer string) {
	if pointer != "" && !strings.HasPrefix(pointer, "/") {
		r.wrong(r.members[name], "expected a pointer, such as /data/items")
	}
}

func (s *restSource) readHeaders(r *reader) {
	at := r.member("headers")
	if at == nil {
		return
	}
	h := at.object(r.problems)
	for _, name := range sortedKeys(h.members) {
		s.headers[name] = h.text(name, true)
		switch canonical := http.CanonicalHeaderKey(name); {
		case slices.Contains([]string{"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key"}, canonical):
			r.wrong(h.members[name], `a secret is not written into a pipeline: set "auth"`)
		case !headerName(name) || strings.ContainsAny(s.headers[name], "\r\n\x00"):
			r.wrong(h.members[name], "expected a header and its value")
		}
	}
	h.end()
}

// headerName tells whether a name is valid for an HTTP header.
func headerName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

// readAuth reads the credentials: one of bearer, basic and header.
func (s *restSource) readAuth(r *reader) {
	at := r.member("auth")
	if at == nil {
		return
	}
	a := at.object(r.problems)
	s.bearer = readSecret(a, "bearer")
	if n := a.member("basic"); n != nil {
		b := n.object(r.problems)
		if _, is := b.members["user"].plainText(); is {
			s.basic[0] = b.text("user", true)
		} else {
			s.basic[0] = readSecret(b, "user")
		}
		s.basic[1] = readSecret(b, "password")
		if b.members != nil && (b.members["user"] == nil || b.members["password"] == nil) {
			r.wrong(n, `expected a "user" and a "password"`)
		}
		b.end()
	}
	if n := a.member("header"); n != nil {
		h := n.object(r.problems)
		s.header = [2]string{h.text("name", true), readSecret(h, "value")}
		if h.members != nil && (!headerName(s.header[0]) || h.members["value"] == nil) {
			r.wrong(n, `expected the "name" of a header and its "value"`)
		}
		h.end()
	}
	if a.members != nil && len(a.members) != 1 {
		r.wrong(at, "expected one of bearer, basic and header")
	}
	if s.at.Scheme == "http" && !slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, s.at.Hostname()) {
		r.wrong(at, "over http:// the secret can be read by anybody on the way: use https://")
	}
	a.end()
}

// plainText returns the value if it is a string.
func (n *node) plainText() (text string, is bool) {
	if n != nil {
		text, is = n.value.(string)
	}
	return text, is
}

func (s *restSource) readPaging(r *reader) {
	s.by = byNone
	at := r.member("paging")
	if at == nil {
		return
	}
	p := at.object(r.problems)
	s.by = p.oneOf("by", byNone, byPage, byOffset, byCursor, byLink, byNext)
	counted, told := s.by == byPage || s.by == byOffset, s.by == byCursor || s.by == byNext
	if counted || s.by == byCursor {
		s.parameter = p.text("parameter", true)
	}
	if counted {
		s.first = p.number("first", map[string]int64{byPage: 1}[s.by], 0, 1<<40)
	}
	if told {
		s.next = p.text("next", true)
		checkPointer(p, "next", s.next)
		s.endMissing = p.oneOf("end", "null", "missing") == "missing"
	}
	if s.by != byNone {
		s.sized = p.text("size_parameter", false)
		if s.size = p.number("size", 0, 1, 1_000_000); (s.sized == "") != (s.size == 0) && p.members != nil {
			r.wrong(at, `"size" and "size_parameter" belong together`)
		}
	}
	p.end()
}

func (s restSource) describe() string {
	how := "one page"
	if s.by != byNone {
		how = "by " + s.by
	}
	return fmt.Sprintf("%s, %s", s.shown(), how)
}

// shown returns the URL without its query, which may contain secrets.
func (s restSource) shown() string { return s.at.Scheme + "://" + s.at.Host + s.at.EscapedPath() }

// waitFor waits for d, or until the context ends.
func waitFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// client returns a client that follows redirects only to the same server.
func (s restSource) client() (*http.Client, error) {
	client := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	if s.ca != "" {
		var err error
		if client, err = httpx.Trusting(s.ca); err != nil {
			return nil, err
		}
	}
	client.Timeout = s.timeout
	client.CheckRedirect = func(to *http.Request, before []*http.Request) error {
		if len(before) > mostRedirects {
			return fmt.Errorf("it leads on more than %d times", mostRedirects)
		}
		return s.same(to.URL)
	}
	return client, nil
}

const mostRedirects = 5

// same returns an error unless a URL is on the source's server: the secret must not go to another.
func (s restSource) same(to *url.URL) error {
	if to.Scheme != s.at.Scheme || to.Host != s.at.Host {
		return dataError{fmt.Errorf("it leads to another server (%s://%s): name that one as the url", to.Scheme, to.Host)}
	}
	return nil
}

// request makes the request for a page, with the secrets as they are now.
func (s restSource) request(ctx context.Context, at string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, dataError{fmt.Errorf("reading %s: where the next page is said to be is no URL", s.shown())}
	}
	req.Header.Set("Accept", "application/json")
	for name, value := range s.headers {
		req.Header.Set(name, value)
	}
	value := func(kept string) (text string) {
		if err == nil {
			text, err = secret.Value(ctx, kept)
		}
		return text
	}
	switch {
	case s.bearer != "":
		req.Header.Set("Authorization", "Bearer "+value(s.bearer))
	case s.basic[0] != "":
		req.SetBasicAuth(value(s.basic[0]), value(s.basic[1]))
	case s.header[0] != "":
		req.Header.Set(s.header[0], value(s.header[1]))
	}
	return req, err
}
