package httpx

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// RetryAfter is how long an answer asks to wait before the next request; 0: it does
// not say.
func RetryAfter(res *http.Response, now time.Time) time.Duration {
	text := res.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 && seconds < 1<<30 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// WithoutURL is what went wrong with a request, without its URL, which may be a key.
func WithoutURL(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return "the receiver did not answer in time"
		}
		err = u.Err
	}
	return err.Error()
}
