package httpx

import (
	"net/http"
	"regexp"
	"strings"
)

// Cause passes the reason of a failed request to the log: to the method Cause(error) of w or of the first writer it
// wraps that has one. The client never sees it, because an error's text may name hosts and tables.
func Cause(w http.ResponseWriter, err error) {
	for err != nil && w != nil {
		if c, ok := w.(interface{ Cause(error) }); ok {
			c.Cause(err)
			return
		}
		wraps, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = wraps.Unwrap()
	}
}

// causeMost is the maximum length of a logged error in bytes.
const causeMost = 500

// Plain returns an error's text without logins in URLs, cut to causeMost bytes.
func Plain(err error) string {
	text := logins.ReplaceAllString(err.Error(), "://…@")
	if len(text) > causeMost {
		text = strings.ToValidUTF8(text[:causeMost], "") + "…"
	}
	return text
}

var logins = regexp.MustCompile(`://[^\s/?#"']*@`)
