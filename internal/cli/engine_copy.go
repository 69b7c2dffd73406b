package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"weir/internal/platform/envyaml"
	"weir/internal/platform/tempdir"
)

// copies are the configs as the engine reads them: each scalar that names
// variables is one reference, of which lookup makes YAML at the moment that the
// engine asks. The files hold no value of a variable, and go when the engine
// ends.
type copies struct {
	dir    string
	drop   func()
	values envyaml.Lookup

	mu      sync.Mutex
	scalars map[string]envyaml.Scalar // by reference
	reads   int                       // versions of files so far
}

func newCopies(values envyaml.Lookup) (*copies, error) {
	dir, drop, err := tempdir.Make("configs", "/dev/shm") // which a container has whose disk is read-only
	if err != nil {
		return nil, fmt.Errorf("keeping the configs in use: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("making a folder for the configs in use: %w", err)
	}
	return &copies{dir: dir, drop: drop, values: values, scalars: map[string]envyaml.Scalar{}}, nil
}

func (c *copies) remove() { c.drop() }

// path is where the copy of a config lies: below dir, at the same path.
func (c *copies) path(source string) (string, error) {
	abs, err := filepath.Abs(source)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", source, err)
	}
	return filepath.Join(c.dir, abs), nil
}

// text is a config with a reference for each scalar that names variables. Those
// that asItIs says stay as their author wrote them.
func (c *copies) text(config *envyaml.Config, asItIs func(envyaml.Scalar) bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	return config.Text(func(n int) string {
		s := config.Scalars()[n]
		if asItIs != nil && asItIs(s) {
			return config.Source(n)
		}
		name := fmt.Sprintf("weir.%d.%d", c.reads, n)
		c.scalars[name] = s
		if s.Text() { // the engine's tests read the YAML before its values are there
			return `"${` + name + `}"`
		}
		return "${" + name + "}"
	})
}

// write puts the copy of a config where the engine reads it. The engine looks at
// a file a second after its last change, so it reads the whole of it.
func (c *copies) write(source string, config *envyaml.Config, asItIs func(envyaml.Scalar) bool) (path string,
	err error) {
	if path, err = c.path(source); err != nil {
		return "", err
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
		err = os.WriteFile(path, []byte(c.text(config, asItIs)), 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("copying %s for the engine: %w", source, err)
	}
	return path, nil
}

// lookup answers the engine's question for a variable: the YAML of a scalar, or
// what the environment says.
func (c *copies) lookup(_ context.Context, name string) (string, bool) {
	if !strings.HasPrefix(name, "weir.") {
		return c.values(name)
	}
	c.mu.Lock()
	s, ok := c.scalars[name]
	c.mu.Unlock()
	if !ok {
		return "", false
	}
	text, err := s.YAML(c.values)
	if s.Text() {
		text = strings.TrimSuffix(strings.TrimPrefix(text, `"`), `"`)
	}
	return text, err == nil // checked before the engine was started
}
