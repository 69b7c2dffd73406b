package httpx

import (
	"net/http"
	"regexp"
	"strings"
)

// Cause tells whoever logs the request why weir could not answer it: the first of
// w and what it wraps that has the method Cause(error). Nothing of it is answered:
// an error's text may name hosts and tables.
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

// causeMost bounds what of an error's text goes to the log.
const causeMost = 500

// Plain is the text of an error without the logins of URLs.
func Plain(err error) string {
	text := logins.ReplaceAllString(err.Error(), "://…@")
	if len(text) > causeMost {
		text = strings.ToValidUTF8(text[:causeMost], "") + "…"
	}
	return text
}

var logins = regexp.MustCompile(`://[^\s/?#"']*@`)
