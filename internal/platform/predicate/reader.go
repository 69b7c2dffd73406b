package predicate

import (
	"slices"
	"strconv"

	"weir/internal/platform/rawjson"
)

// Layout says which fields of a document some expressions need. It grows with
// every Compile, and is complete when the first Reader is made.
type Layout struct {
	root  node
	paths [][]string
}

// node is a field, or the document itself.
type node struct {
	slot     int // 1 + the slot that it fills; 0: none
	children map[string]*node
}

// slot returns that of a path.
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

// Paths are the fields that expressions need, in the order of their first use.
func (l *Layout) Paths() [][]string { return l.paths }

// Reader fills the slots of a layout, one document after the other. It is for
// one goroutine. The values share the memory of the document.
type Reader struct {
	raw    []byte
	slots  []Value
	fields rawjson.Field
	tree   any // the decoded document, once Bloblang had to be asked
	asked  bool
}

// Reader makes one.
func (l *Layout) Reader() *Reader {
	r := &Reader{slots: make([]Value, len(l.paths))}
	r.fields = r.fieldsOf(&l.root, 1)
	return r
}

// Read fills the slots. The error is a *rawjson.SyntaxError, or says that the
// document is no object.
func (r *Reader) Read(raw []byte) error {
	clear(r.slots)
	r.raw, r.tree, r.asked = raw, nil, false
	i := rawjson.Space(raw, 0)
	if i >= len(raw) || raw[i] != '{' {
		return &rawjson.SyntaxError{Offset: i, Msg: "expected an object"}
	}
	end, err := rawjson.Object(raw, i, 0, r.fields)
	if err != nil {
		return err
	}
	if end = rawjson.Space(raw, end); end < len(raw) {
		return &rawjson.SyntaxError{Offset: end, Msg: "unexpected data after the object"}
	}
	return nil
}

// fieldsOf makes the closures of a subtree once, so that reading allocates
// nothing.
func (r *Reader) fieldsOf(n *node, depth int) rawjson.Field {
	type target struct {
		slot   int
		fields rawjson.Field
	}
	targets := make(map[string]target, len(n.children))
	for name, child := range n.children {
		t := target{slot: child.slot - 1}
		if len(child.children) > 0 {
			t.fields = r.fieldsOf(child, depth+1)
		}
		targets[name] = t
	}
	return func(key []byte, plain bool, i int) (int, error) {
		if !plain {
			key = rawjson.Unquote(key)
		}
		t, ok := targets[string(key)]
		if !ok || i >= len(r.raw) {
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

// parse reads a value that has been checked.
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

// number tells integers from others as Bloblang does: by how they are written.
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
