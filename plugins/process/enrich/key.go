package enrich

import (
	"strings"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/predicate"
)

// keys evaluates the keys of all look-ups of an event. Keys that are one expression over the event's fields, as nearly
// all are, are read from its bytes in one pass for all of them: most events have no key, and need not be decoded.
type keys struct {
	layout  predicate.Layout
	parser  predicate.Parser
	readers sync.Pool // *predicate.Reader
}

// compile compiles the text of a key. It returns nil if the engine must evaluate it.
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

// read reads an event for its compiled keys. It returns nil if there are none or the message is not a JSON object. The
// caller must give the reader back.
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

// keyOf returns the key of a look-up, "" for none. It is what the engine would return: values that are not strings are
// left to the engine.
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

// orNothing returns a key, or "" if it is the text that the engine makes of a missing value.
func orNothing(key string) string {
	if key == "null" {
		return ""
	}
	return key
}
