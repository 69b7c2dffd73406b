// Package storeurl puts the path of a local store into a URL, and takes it out
// again. It is the only place that does: what New made of a path, Path gives
// back to each store that opens it, whatever the path holds.
package storeurl

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// New returns the URL of the store of a scheme that lies at a path:
// file:///var/lib/weir/raw, sqlite://data/control.db. Whatever is not plainly
// a path's in a URL, nor in a config that quotes it, is escaped.
func New(scheme, path string) string {
	b := append([]byte(scheme), "://"...)
	for i := range len(path) {
		if c := path[i]; plain(c) {
			b = append(b, c)
		} else {
			b = fmt.Appendf(b, "%%%02X", c)
		}
	}
	return string(b)
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("/-._~", c) >= 0
}

// Path returns the path that the URL of a local store names, without a final
// slash: absolute after three slashes, relative to the working directory after
// two. Escapes stand for their bytes; what could be taken for a query, a
// fragment or an escape is refused, not guessed at.
func Path(rawURL string) (string, error) {
	_, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return "", errors.New("expected SCHEME://PATH")
	}
	if strings.ContainsAny(rest, "?#") {
		return "", errors.New("a path with '?' or '#' must have them escaped, as %3F and %23")
	}
	path, err := url.PathUnescape(rest)
	switch {
	case err != nil:
		return "", errors.New("a path with '%' must have it escaped, as %25")
	case path == "":
		return "", errors.New("the path is missing")
	case strings.ContainsRune(path, 0):
		return "", errors.New("no path has a zero byte")
	}
	return filepath.Clean(path), nil
}
