package simulate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// client is one connection to the gate, reopened when it is closed.
type client struct {
	host    *fasthttp.HostClient
	req     *fasthttp.Request
	resp    *fasthttp.Response
	timeout time.Duration
	ans     answer
	codes   map[string]string
}

func newClient(conf Config) (*client, error) {
	u, err := url.Parse(strings.TrimRight(conf.URL, "/"))
	if err != nil {
		return nil, fmt.Errorf("reading the URL: %w", err)
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	c := &client{timeout: conf.Timeout, codes: map[string]string{}}
	c.host = &fasthttp.HostClient{
		Addr: addr, IsTLS: u.Scheme == "https", Name: "weir-fleet",
		MaxConns: 1, MaxConnWaitTimeout: conf.Timeout, MaxIdleConnDuration: time.Hour,
		MaxIdemponentCallAttempts: 1, // the simulator decides and counts what it sends again
		ReadBufferSize:            16 << 10,
		Dial: func(addr string) (net.Conn, error) {
			return net.DialTimeout("tcp", addr, min(conf.Timeout, 5*time.Second))
		},
	}
	c.req, c.resp = fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	c.req.SetRequestURI(u.String() + "/v1/events")
	c.req.Header.SetMethod("POST")
	c.req.Header.SetContentType(conf.Format.mediaType())
	c.req.Header.Set("X-API-Key", conf.Key)
	return c, nil
}

// post sends one request of n events and reads its verdicts.
func (c *client) post(body []byte, n int) *answer {
	a := &c.ans
	*a = answer{events: a.events[:0]}
	c.req.SetBodyRaw(body)
	if err := c.host.DoTimeout(c.req, c.resp, c.timeout); err != nil {
		a.verdict, a.code = verdictUnknown, "connection_lost"
		var op *net.OpError
		switch {
		case errors.As(err, &op) && op.Op == "dial":
			a.verdict, a.code = verdictRefused, "unreachable" // nothing was sent
		case errors.Is(err, fasthttp.ErrTimeout), errors.Is(err, context.DeadlineExceeded), op != nil && op.Timeout():
			a.code = "timeout"
		}
		return a
	}
	a.status = c.resp.StatusCode()
	media := string(c.resp.Header.ContentType())
	switch a.status {
	case 202, 207, 400:
		if strings.HasPrefix(media, "application/json") {
			a.verdict = verdictUnknown
			if err := c.readVerdicts(c.resp.Body(), n); err != nil {
				a.breach = fmt.Sprintf("status %d: %v", a.status, err)
				a.code, a.events = "unreadable_answer", a.events[:0]
			}
			return a
		}
	}
	a.code = "http_" + strconv.Itoa(a.status)
	if s, err := strconv.Atoi(string(c.resp.Header.Peek("Retry-After"))); err == nil && s > 0 {
		a.retryAfter = time.Duration(s) * time.Second
	}
	switch {
	case a.status >= 400 && a.status < 500 && a.status != 408:
		a.verdict = verdictRefused
	default:
		a.verdict = verdictUnknown
	}
	switch {
	case a.status < 400:
		a.breach = fmt.Sprintf("status %d with media type %q: expected verdicts in application/json", a.status, media)
	case !strings.HasPrefix(media, "application/problem+json"):
		a.breach = fmt.Sprintf("status %d with media type %q: expected application/problem+json", a.status, media)
	case (a.status == 429 || a.status == 503) && a.retryAfter == 0:
		a.breach = fmt.Sprintf("status %d without a Retry-After of at least one second", a.status)
	}
	return a
}

func (c *client) close() {
	c.host.CloseIdleConnections()
	fasthttp.ReleaseRequest(c.req)
	fasthttp.ReleaseResponse(c.resp)
}
