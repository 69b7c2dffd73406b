package etl

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform/httpx"
)

// restPage is one page of an answer.
type restPage struct {
	rows []*node
	next string // place of the next page; "": this is the last
	sum  [sha256.Size]byte
}

// placed returns the URL of a page. Its place is the number of the page or of its first row, a
// cursor, or a URL, as s.by says; the first page has the place "".
func (s restSource) placed(place string) (string, error) {
	at := *s.at
	query := at.Query()
	switch {
	case s.by == byLink || s.by == byNext:
		if place != "" {
			return place, nil
		}
	case s.by == byPage || s.by == byOffset:
		if place == "" {
			place = strconv.FormatInt(s.first, 10)
		}
		query.Set(s.parameter, place)
	case s.by == byCursor && place != "":
		query.Set(s.parameter, place)
	}
	if s.sized != "" {
		query.Set(s.sized, strconv.FormatInt(s.size, 10))
	}
	at.RawQuery = query.Encode()
	return at.String(), nil
}

const (
	busyTries = 8
	busyPause = time.Second      // before the second try, doubled for each further one
	mostPause = 10 * time.Minute // longest wait that a server may ask for
)

// page gets a page. If the server is busy (429, 503), it waits as long as the server says and tries
// again, up to busyTries times. Other errors are left to the next try of the run.
func (s restSource) page(ctx context.Context, client *http.Client, place string) (*restPage, error) {
	at, err := s.placed(place)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		page, after, err := s.ask(ctx, client, at, place)
		if !errors.Is(err, errBusy) || try == busyTries {
			return page, err
		}
		if after == 0 {
			after = busyPause << (try - 1)
		}
		if after > mostPause {
			return nil, fmt.Errorf("reading %s: it asks to wait for %s: run again then", s.shown(), after)
		}
		if err := s.wait(ctx, after); err != nil {
			return nil, err
		}
	}
}

var errBusy = errors.New("it is busy")

// ask sends one request. If the server is busy, after is the wait that it asks for; 0: it names
// none.
func (s restSource) ask(ctx context.Context, client *http.Client, at, place string) (
	page *restPage, after time.Duration, err error) {
	req, err := s.request(ctx, at)
	if err != nil {
		return nil, 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		err = fmt.Errorf("reading %s: %w", s.shown(), hiddenURL(err))
		return nil, 0, err
	}
	defer res.Body.Close() // it was only read
	body, err := io.ReadAll(io.LimitReader(res.Body, s.mostBody+1))
	status := res.StatusCode
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		err = fmt.Errorf("reading %s: %w: HTTP %d", s.shown(), errBusy, status)
		return nil, httpx.RetryAfter(res, s.now()), err
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return nil, 0, dataError{fmt.Errorf("reading %s: it refuses who asks: HTTP %d", s.shown(), status)}
	case status != http.StatusOK:
		err = fmt.Errorf("reading %s: HTTP %d", s.shown(), status)
		if status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooEarly {
			err = dataError{err}
		}
		return nil, 0, err
	case err != nil:
		return nil, 0, fmt.Errorf("reading %s: %s", s.shown(), httpx.WithoutURL(err))
	case int64(len(body)) > s.mostBody:
		return nil, 0, dataError{fmt.Errorf("reading %s: a page has more than %d MiB: ask for fewer rows, or raise "+
			"max_body_mib", s.shown(), s.mostBody>>20)}
	}
	page, err = s.read(body, place, res)
	return page, 0, err
}

// hiddenURL removes the URL from an error of a request. A final error stays final.
func hiddenURL(err error) error {
	if Final(err) {
		return dataError{errors.New(httpx.WithoutURL(err))}
	}
	return errors.New(httpx.WithoutURL(err))
}

// read finds the rows in a body, and the place of the next page.
func (s restSource) read(body []byte, place string, res *http.Response) (*restPage, error) {
	doc, err := parseData("a page", body)
	if err != nil { // it may be from a proxy in between, and so is not final
		return nil, fmt.Errorf("reading %s: %w", s.shown(), err)
	}
	list, err := doc.find(s.rows)
	if err != nil {
		return nil, dataError{fmt.Errorf("reading %s: a page has nothing at %q, where its rows are to be", s.shown(), s.rows)}
	}
	rows, is := list.value.([]*node)
	if !is {
		return nil, dataError{fmt.Errorf("reading %s: what a page has at %q is no list", s.shown(), s.rows)}
	}
	p := &restPage{rows: rows, sum: sha256.Sum256(body)}
	p.next, err = s.behind(doc, rows, place, res)
	return p, err
}

// behind returns the place of the next page; "": there is none.
func (s restSource) behind(doc *node, rows []*node, place string, res *http.Response) (string, error) {
	switch s.by {
	case byPage, byOffset:
		if len(rows) == 0 {
			return "", nil
		}
		at := s.first
		if place != "" {
			var err error
			if at, err = strconv.ParseInt(place, 10, 64); err != nil {
				return "", fmt.Errorf("reading where the last run ended: %w", err)
			}
		}
		if s.by == byPage {
			return strconv.FormatInt(at+1, 10), nil
		}
		return strconv.FormatInt(at+int64(len(rows)), 10), nil
	case byCursor, byNext:
		n, err := doc.find(s.next)
		if err != nil {
			if s.endMissing {
				return "", nil
			}
			return "", dataError{fmt.Errorf("reading %s: a page has nothing at %q, where the next one is to be: if that is "+
				"how the last one is told, set \"end\" to missing", s.shown(), s.next)}
		}
		switch v := n.value.(type) {
		case nil:
			return "", nil
		case string:
			if s.by == byNext && v != "" {
				return s.leads(v, res)
			}
			return v, nil
		case fmt.Stringer: // a number
			if s.by == byCursor {
				return v.String(), nil
			}
		}
		return "", dataError{fmt.Errorf("reading %s: what a page has at %q leads to no page", s.shown(), s.next)}
	case byLink:
		if to := nextLink(res.Header.Values("Link")); to != "" {
			return s.leads(to, res)
		}
	}
	return "", nil
}

// leads resolves the URL that a page has of the next one, which may be relative.
func (s restSource) leads(to string, res *http.Response) (string, error) {
	at, err := url.Parse(to)
	if err != nil {
		return "", dataError{fmt.Errorf("reading %s: where the next page is said to be is no URL", s.shown())}
	}
	at = res.Request.URL.ResolveReference(at)
	if err := s.same(at); err != nil {
		return "", dataError{fmt.Errorf("reading %s: %w", s.shown(), err)}
	}
	return at.String(), nil
}

// nextLink returns the target with rel="next" in Link headers (RFC 8288); "": there is none.
func nextLink(headers []string) string {
	for _, h := range headers {
		for {
			before, rest, is := strings.Cut(h, "<")
			if !is || strings.Trim(before, " \t,") != "" {
				break
			}
			target, rest, is := strings.Cut(rest, ">")
			if !is {
				break
			}
			parameters, more := rest, ""
			if at := comma(rest); at >= 0 {
				parameters, more = rest[:at], rest[at+1:]
			}
			for _, one := range strings.Split(parameters, ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
				if strings.EqualFold(strings.TrimSpace(name), "rel") {
					for _, rel := range strings.Fields(strings.Trim(strings.TrimSpace(value), `"`)) {
						if strings.EqualFold(rel, "next") {
							return target
						}
					}
				}
			}
			h = more
		}
	}
	return ""
}

// comma returns the index of the first comma outside of quotes; -1: there is none.
func comma(text string) int {
	quoted := false
	for i := range len(text) {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ',' && !quoted:
			return i
		}
	}
	return -1
}
