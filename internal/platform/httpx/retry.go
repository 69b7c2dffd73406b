package httpx

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// RetryAfter returns the pause that a response asks for, or 0.
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

// WithoutURL returns a request error's text without its URL, which may contain a secret.
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
