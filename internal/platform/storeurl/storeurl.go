// Package storeurl converts between paths of local stores and URLs. No other code does: every store that opens a URL
// of New with Path gets the original path, whatever characters it has.
package storeurl

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// New returns the URL of a store at a path: file:///var/lib/weir/raw, sqlite://data/control.db. It escapes all
// characters that are special in a URL or in a config that quotes it.
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

// Path returns the cleaned path in the URL of a local store: absolute after three slashes, relative to the working
// directory after two. It decodes escapes and rejects unescaped characters that are ambiguous ('?', '#', '%').
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
