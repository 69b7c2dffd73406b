package enrich

import (
	"strings"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/predicate"
)

// keys makes the keys of all look-ups of an event. Those that are one expression over
// its fields, as nearly all are, are made of its bytes, read once for all of them: most
// events have no key, and need not be decoded to see that.
type keys struct {
	layout  predicate.Layout
	parser  predicate.Parser
	readers sync.Pool // *predicate.Reader
}

// compile reads a key's text. It returns nil for one that the engine is to make.
func (k *keys) compile(text string) *predicate.Expr {
	source, opens := strings.CutPrefix(text, "${!")
	source, ends := strings.CutSuffix(source, "}")
	if !opens || !ends || strings.ContainsAny(source, "{}@$") {
		return nil
	}
	expr, err := k.parser.Compile(source, &k.layout)
	if err != nil {
		return nil
	}
	if fast, _ := expr.Fast(); !fast {
		return nil
	}
	return expr
}

// read reads an event for its keys, nil when it is none. The reader is to be given back.
func (k *keys) read(msg *service.Message) *predicate.Reader {
	if len(k.layout.Paths()) == 0 {
		return nil
	}
	raw, err := msg.AsBytes()
	if err != nil {
		return nil
	}
	r, _ := k.readers.Get().(*predicate.Reader)
	if r == nil {
		r = k.layout.Reader()
	}
	if r.Read(raw) != nil {
		k.readers.Put(r)
		return nil
	}
	return r
}

func (k *keys) giveBack(r *predicate.Reader) {
	if r != nil {
		k.readers.Put(r)
	}
}

// keyOf is what a look-up asks for, "" for nothing. Of an event that the reader has it
// is what the engine would make, too; what is no text the engine makes.
func (n *named) keyOf(msg *service.Message, r *predicate.Reader) string {
	if n.expr != nil && r != nil {
		if v, err := n.expr.Eval(r); err == nil {
			switch v.Kind {
			case predicate.Missing, predicate.Null:
				return ""
			case predicate.String:
				return orNothing(strings.Clone(v.Text))
			}
		}
	}
	key, err := n.key.TryString(msg)
	if err != nil {
		return ""
	}
	return orNothing(key)
}

// orNothing is a key, unless it is what the engine makes of nothing.
func orNothing(key string) string {
	if key == "null" {
		return ""
	}
	return key
}
