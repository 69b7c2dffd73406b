package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// cache is a folder with the last known schemas, one file for each subject, for a restart while
// their store is down. An empty cache keeps nothing.
type cache string

var errNoCache = errors.New("no cache_dir is configured")

// save replaces the file atomically: after a crash it has the documents of before or after.
func (c cache) save(subject string, docs []document) error {
	if c == "" {
		return nil
	}
	raw, err := json.MarshalIndent(docs, "", " ")
	if err != nil {
		return fmt.Errorf("encoding schemas of %s: %w", subject, err)
	}
	if err := os.MkdirAll(string(c), 0o700); err != nil {
		return fmt.Errorf("saving schemas of %s: %w", subject, err)
	}
	f, err := os.CreateTemp(string(c), ".schemas-*")
	if err != nil {
		return fmt.Errorf("saving schemas of %s: %w", subject, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(raw)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("saving schemas of %s: %w", subject, err)
	}
	if err := os.Rename(f.Name(), c.file(subject)); err != nil {
		return fmt.Errorf("saving schemas of %s: %w", subject, err)
	}
	return nil
}

func (c cache) read(subject string) ([]document, error) {
	if c == "" {
		return nil, errNoCache
	}
	raw, err := os.ReadFile(c.file(subject))
	if err != nil {
		return nil, fmt.Errorf("reading last known schemas: %w", err)
	}
	var docs []document
	if err := json.Unmarshal(raw, &docs); err != nil {
		return nil, fmt.Errorf("reading last known schemas in %s: %w", c.file(subject), err)
	}
	return docs, nil
}

func (c cache) file(subject string) string {
	return filepath.Join(string(c), url.PathEscape(subject)+".json")
}
