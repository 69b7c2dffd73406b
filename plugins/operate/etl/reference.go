package etl

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

const refName = "$ref"

// loader reads a file and those that it refers to. They are in one folder: references out of it are
// refused, also through symbolic links.
type loader struct {
	root  *os.Root
	files map[string]*node
}

// load reads the file of a pipeline and resolves its references.
func load(file string) (*node, error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("reading the pipeline: %w", err)
	}
	defer root.Close()
	l := &loader{root, map[string]*node{}}
	name := filepath.Base(file)
	top, err := l.read(name)
	if err != nil {
		return nil, fmt.Errorf("reading the pipeline: %w", err)
	}
	return l.resolve(top, []string{name})
}

func (l *loader) read(name string) (*node, error) {
	if n := l.files[name]; n != nil {
		return n, nil
	}
	raw, err := l.root.ReadFile(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	n, err := parse(name, raw)
	l.files[name] = n
	return n, err
}

// resolve replaces references with what they refer to. The members beside a $ref override it:
// objects are merged by name, other values are replaced. chain is the list of references that led
// to n.
func (l *loader) resolve(n *node, chain []string) (*node, error) {
	switch v := n.value.(type) {
	case map[string]*node:
		if ref := v[refName]; ref != nil {
			return l.refer(n, v, ref, chain)
		}
		all := make(map[string]*node, len(v))
		for _, name := range sortedKeys(v) { // sorted: the same file always gives the same error
			resolved, err := l.resolve(v[name], chain)
			if err != nil {
				return nil, err
			}
			all[name] = resolved
		}
		return &node{n.file, n.pointer, all}, nil
	case []*node:
		all := make([]*node, len(v))
		for i, child := range v {
			resolved, err := l.resolve(child, chain)
			if err != nil {
				return nil, err
			}
			all[i] = resolved
		}
		return &node{n.file, n.pointer, all}, nil
	}
	return n, nil
}

func (l *loader) refer(n *node, members map[string]*node, ref *node, chain []string) (*node, error) {
	target, is := ref.value.(string)
	if !is || target == "" {
		return nil, ref.problem("expected FILE, FILE#/POINTER or #/POINTER")
	}
	file, pointer, _ := strings.Cut(target, "#")
	name := n.file
	if file != "" {
		name = path.Join(path.Dir(n.file), file)
	}
	if path.IsAbs(file) || !fs.ValidPath(name) {
		return nil, ref.problem("%s leads out of the folder of the pipeline", target)
	}
	step := name
	if pointer != "" {
		step += "#" + pointer
	}
	for i, before := range chain {
		if before == step {
			return nil, ref.problem("references go in a circle: %s", strings.Join(append(chain[i:], step), " → "))
		}
	}
	doc, err := l.read(name)
	if err != nil {
		if wrong := (*ProblemsError)(nil); errors.As(err, &wrong) {
			return nil, wrong
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ref.problem("there is no file %s", name)
		}
		return nil, ref.problem("reading %s: %v", name, err) // os.Root's error says when it leads outside
	}
	at, err := doc.find(pointer)
	if err != nil {
		return nil, ref.problem("%s: %v", target, err)
	}
	base, err := l.resolve(at, append(chain[:len(chain):len(chain)], step))
	if err != nil {
		return nil, err
	}
	beside := maps.Clone(members)
	delete(beside, refName)
	if len(beside) == 0 {
		return base, nil
	}
	over, err := l.resolve(&node{n.file, n.pointer, beside}, chain)
	if err != nil {
		return nil, err
	}
	if _, is := base.value.(map[string]*node); !is {
		return nil, ref.problem("what stands beside a $ref goes over an object, and %s is none", target)
	}
	return merge(base, over), nil
}

// find returns the node at a pointer of RFC 6901.
func (n *node) find(pointer string) (*node, error) {
	if pointer == "" {
		return n, nil
	}
	if !strings.HasPrefix(pointer, "/") {
		return nil, errors.New("a pointer begins with a slash")
	}
	for _, name := range strings.Split(pointer[1:], "/") {
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		switch v := n.value.(type) {
		case map[string]*node:
			n = v[name]
		case []*node:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(v) {
				return nil, fmt.Errorf("there is nothing at %q", name)
			}
			n = v[i]
		default:
			n = nil
		}
		if n == nil {
			return nil, fmt.Errorf("there is nothing at %q", name)
		}
	}
	return n, nil
}

func merge(base, over *node) *node {
	b, ok := base.value.(map[string]*node)
	o, also := over.value.(map[string]*node)
	if !ok || !also {
		return over
	}
	all := maps.Clone(b)
	for name, child := range o {
		if under := all[name]; under != nil {
			child = merge(under, child)
		}
		all[name] = child
	}
	return &node{over.file, over.pointer, all}
}
