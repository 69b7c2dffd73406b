package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/storeurl"
)

// document is one version of a subject in its store.
type document struct {
	Version int    `json:"version"`
	Schema  string `json:"schema"`
}

// source is a store of schemas.
type source interface {
	// load returns all versions of the subject. errNoSchemas says that the store answers and has
	// none; any other error says that it does not answer.
	load(ctx context.Context, subject string) ([]document, error)
	close()
}

// errNoSchemas says nothing about events: a registry that is not filled yet looks the same, so
// events wait.
var errNoSchemas = errors.New("it has no schemas")

// URL reads a required URL of a source of schemas, with conf.Read.
func URL(to *string) any { return conf.URL(to, schemes()...) }

// MaybeURL is like URL, but the URL may be empty.
func MaybeURL(to *string) any { return conf.MaybeURL(to, schemes()...) }

func schemes() []string { return []string{"file", "sqlite", "postgres", "postgresql", "http", "https"} }

func openSource(res *service.Resources, rawURL, apiKey string) (source, error) {
	scheme, _, ok := strings.Cut(rawURL, "://")
	switch {
	case ok && scheme == "file":
		return openFiles(rawURL)
	case ok && (scheme == "http" || scheme == "https"):
		return newHTTPSource(rawURL, apiKey)
	case ok && (scheme == "sqlite" || scheme == "postgres" || scheme == "postgresql"):
		return &sqlSource{res: res, url: rawURL}, nil
	}
	return nil, fmt.Errorf("opening schemas %q: expected file://DIR, sqlite://PATH, postgres://… or http(s)://…",
		sqldb.Redact(rawURL))
}

// fileSource reads DIR/SUBJECT/vN.json, or DIR/vN.json if DIR is the subject's own.
type fileSource struct{ dir string }

func openFiles(rawURL string) (fileSource, error) {
	dir, err := storeurl.Path(rawURL)
	if err != nil {
		return fileSource{}, fmt.Errorf("opening schemas %q: %w", rawURL, err)
	}
	return fileSource{dir: dir}, nil
}

func versionFile() *regexp.Regexp { return regexp.MustCompile(`^v([1-9][0-9]{0,8})\.json$`) }

func (f fileSource) load(_ context.Context, subject string) ([]document, error) {
	dir := filepath.Join(f.dir, filepath.FromSlash(subject))
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		dir = f.dir
		entries, err = os.ReadDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("reading schemas: %w", err)
	}
	var docs []document
	for _, e := range entries {
		m := versionFile().FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading schemas: %w", err)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, fmt.Errorf("reading schemas: %w", err)
		}
		docs = append(docs, document{Version: n, Schema: string(raw)})
	}
	if len(docs) == 0 {
		return nil, fmt.Errorf("reading schemas in %s: %w (v1.json, v2.json, …)", dir, errNoSchemas)
	}
	slices.SortFunc(docs, func(a, b document) int { return a.Version - b.Version })
	return docs, nil
}

func (f fileSource) close() {}
