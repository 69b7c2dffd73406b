package httpx

import "net/http"

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
