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

// copies holds the configs as the engine reads them: each scalar with variables is replaced by one reference, which
// lookup resolves to YAML when the engine asks. The files contain no values of variables and are deleted at the end.
type copies struct {
	dir    string
	drop   func()
	values envyaml.Lookup

	mu      sync.Mutex
	scalars map[string]envyaml.Scalar // by reference name
	reads   int                       // number of file versions so far
}

func newCopies(values envyaml.Lookup) (*copies, error) {
	dir, drop, err := tempdir.Make("configs", "/dev/shm") // for containers with a read-only disk
	if err != nil {
		return nil, fmt.Errorf("keeping the configs in use: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("making a folder for the configs in use: %w", err)
	}
	return &copies{dir: dir, drop: drop, values: values, scalars: map[string]envyaml.Scalar{}}, nil
}

func (c *copies) remove() { c.drop() }

// path returns where the copy of a config lies: at the same path below dir.
func (c *copies) path(source string) (string, error) {
	abs, err := filepath.Abs(source)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", source, err)
	}
	return filepath.Join(c.dir, abs), nil
}

// text returns a config with a reference for each scalar with variables, except those for which asItIs returns true.
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
		if s.Text() { // the engine's tests parse the YAML before resolving references
			return `"${` + name + `}"`
		}
		return "${" + name + "}"
	})
}

// write writes the copy of a config. The engine reads a changed file a second after its last change, so it sees the
// whole file.
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

// lookup resolves the engine's references: to the YAML of a scalar, or to an environment variable.
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
