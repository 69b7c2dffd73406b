package predicate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weir/internal/platform/rawjson"
)

// Layout collects the fields that some expressions need. Compile adds to it; all expressions must be compiled before
// the first Reader is made.
type Layout struct {
	root  node
	paths [][]string
}

// node is a field, or the document itself.
type node struct {
	slot     int // 1 + the slot it fills; 0: none
	children map[string]*node
}

// slot returns the slot of a path, adding one if it is new.
func (l *Layout) slot(path []string) int {
	n := &l.root
	for _, name := range path {
		child := n.children[name]
		if child == nil {
			if child = (&node{}); n.children == nil {
				n.children = map[string]*node{}
			}
			n.children[name] = child
		}
		n = child
	}
	if n.slot == 0 {
		l.paths = append(l.paths, slices.Clone(path))
		n.slot = len(l.paths)
	}
	return n.slot - 1
}

// Paths returns the fields that expressions need, in order of first use.
func (l *Layout) Paths() [][]string { return l.paths }

// Reader fills the slots of a layout from one document after another. It must not be used concurrently. The values
// share the document's memory.
type Reader struct {
	raw    []byte
	slots  []Value
	fields rawjson.Field
	tree   any // the decoded document, once Bloblang needed it
	asked  bool
	set    bool       // the values come from Set or Take, not from a document
	paths  [][]string // the paths of the slots
}

// Reader returns a Reader for the layout.
func (l *Layout) Reader() *Reader {
	r := &Reader{slots: make([]Value, len(l.paths)), paths: l.paths}
	r.fields = r.fieldsOf(&l.root, 1)
	return r
}

// Read fills the slots from a document, which must be an object. Its error is a *rawjson.SyntaxError.
func (r *Reader) Read(raw []byte) error {
	i := rawjson.Space(raw, 0)
	if i >= len(raw) || raw[i] != '{' {
		return &rawjson.SyntaxError{Offset: i, Msg: "expected an object"}
	}
	end, err := rawjson.Object(raw, i, 0, r.Fields(raw))
	if err != nil {
		return err
	}
	if end = rawjson.Space(raw, end); end < len(raw) {
		return &rawjson.SyntaxError{Offset: end, Msg: "unexpected data after the object"}
	}
	return nil
}

// Fields starts a document that the caller reads with rawjson.Object: the returned function takes each field and
// fills the slots.
func (r *Reader) Fields(raw []byte) rawjson.Field {
	clear(r.slots)
	r.raw, r.tree, r.asked, r.set = raw, nil, false, false
	return r.fields
}

// Release lets go of the document: nothing can be evaluated before the next one.
func (r *Reader) Release() {
	clear(r.slots)
	r.raw, r.tree, r.asked, r.set = nil, nil, false, false
}

// Set fills the slots with values, in the order of the layout's paths, without a document: the next evaluation sees a
// document with these values.
func (r *Reader) Set(values []Value) {
	copy(r.slots, values)
	r.raw, r.tree, r.asked, r.set = nil, nil, false, true
}

// document returns the decoded document, or one built from the values of Set or Take.
func (r *Reader) document() (any, error) {
	if r.asked {
		return r.tree, nil
	}
	if r.set {
		tree := map[string]any{}
		for i, path := range r.paths {
			if err := put(tree, path, r.slots[i]); err != nil {
				return nil, err
			}
		}
		r.tree, r.asked = tree, true
		return tree, nil
	}
	d := json.NewDecoder(bytes.NewReader(r.raw))
	d.UseNumber()
	if err := d.Decode(&r.tree); err != nil {
		return nil, fmt.Errorf("decoding the document: %w", err)
	}
	r.asked = true
	return r.tree, nil
}

// put sets a field of a document unless it is missing.
func put(tree map[string]any, path []string, v Value) error {
	if v.Kind == Missing {
		return nil
	}
	last := len(path) - 1
	for _, name := range path[:last] {
		inner, ok := tree[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			tree[name] = inner
		}
		tree = inner
	}
	if _, there := tree[path[last]].(map[string]any); there && v.Kind != Other {
		return nil // one of its fields was set before
	}
	switch v.Kind {
	case Null:
		tree[path[last]] = nil
	case Bool:
		tree[path[last]] = v.Int == 1
	case Int, Float: // as written, including an odd zero
		text := strconv.FormatFloat(v.Num, 'g', -1, 64)
		switch {
		case v.odd:
			text = "-0.0"
		case v.Kind == Int:
			text = strconv.FormatInt(v.Int, 10)
		case !strings.ContainsAny(text, ".e"):
			text += ".0" // it was not written as an integer
		}
		tree[path[last]] = json.Number(text)
	case String:
		tree[path[last]] = v.Text
	default:
		d := json.NewDecoder(strings.NewReader(v.Text))
		d.UseNumber()
		var of any
		if err := d.Decode(&of); err != nil {
			return fmt.Errorf("decoding a field: %w", err)
		}
		tree[path[last]] = of
	}
	return nil
}

// Parse parses a value from well-formed JSON without surrounding white space. The Value shares b's memory.
func Parse(b []byte) (Value, error) { return parse(b) }

// target says what to do with a field.
type target struct {
	name   string
	slot   int
	fields rawjson.Field
}

// targets are the targets of an object. A few are compared one by one, which is faster than a map.
type targets struct {
	few  []target
	many map[string]*target
}

const fewTargets = 8

func (t *targets) of(key []byte) *target {
	if t.many != nil {
		return t.many[string(key)]
	}
	for i := range t.few {
		if t.few[i].name == string(key) {
			return &t.few[i]
		}
	}
	return nil
}

// fieldsOf creates the closures of a subtree once, so that reading does not allocate.
func (r *Reader) fieldsOf(n *node, depth int) rawjson.Field {
	var all targets
	for name, child := range n.children {
		t := target{name: name, slot: child.slot - 1}
		if len(child.children) > 0 {
			t.fields = r.fieldsOf(child, depth+1)
		}
		all.few = append(all.few, t)
	}
	if len(all.few) > fewTargets {
		all.many = make(map[string]*target, len(all.few))
		for i := range all.few {
			all.many[all.few[i].name] = &all.few[i]
		}
	}
	return func(key []byte, plain bool, i int) (int, error) {
		if !plain {
			key = rawjson.Unquote(key)
		}
		t := all.of(key)
		if t == nil || i >= len(r.raw) {
			return rawjson.Value(r.raw, i, depth)
		}
		var end int
		var err error
		if t.fields != nil && r.raw[i] == '{' {
			end, err = rawjson.Object(r.raw, i, depth, t.fields)
		} else {
			end, err = rawjson.Value(r.raw, i, depth)
		}
		if err == nil && t.slot >= 0 {
			r.slots[t.slot], err = parse(r.raw[i:end])
		}
		return end, err
	}
}

// parse parses a value that has been checked.
func parse(b []byte) (Value, error) {
	switch c := b[0]; c {
	case '"':
		plain := true
		for _, c := range b {
			plain = plain && c != '\\'
		}
		return text(rawjson.Text(b[1:len(b)-1], plain)), nil
	case 't', 'f':
		return boolean(c == 't'), nil
	case 'n':
		return Value{Kind: Null}, nil
	case '{', '[':
		return Value{Kind: Other, Text: rawjson.Alias(b)}, nil
	}
	return number(b)
}

// number distinguishes integers from other numbers like Bloblang does: by their notation.
func number(b []byte) (v Value, err error) {
	whole := len(b) <= 20
	for i, c := range b {
		whole = whole && (c >= '0' && c <= '9' || i == 0 && c == '-')
	}
	if whole {
		if i, err := strconv.ParseInt(rawjson.Alias(b), 10, 64); err == nil {
			v = integer(i)
			v.odd = i == 0 && len(b) > 1
			return v, nil
		}
	}
	v.Kind = Float
	v.Num, err = rawjson.Float(b)
	v.odd = v.Num == 0
	return v, err
}
