package predicate

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
)

// Expr is a compiled expression. Goroutines may share it if each has its own Reader.
type Expr struct {
	source string
	fast   part // zero: the expression is outside the compiled subset
	why    string
	slow   *bloblang.Executor
}

// fn evaluates a part of an expression.
type fn func(slots []Value) (Value, error)

// check evaluates a part to a boolean without creating a Value.
type check func(slots []Value) (bool, error)

// part is a compiled part of an expression.
type part struct {
	value   fn
	test    check  // nil: not known to be boolean
	literal *Value // nil: not a literal
	slot    int    // 1 + its slot if it is one field; 0: it is not
}

func valued(f fn) part { return part{value: f} }

func tested(t check) part {
	return part{test: t, value: func(slots []Value) (Value, error) {
		yes, err := t(slots)
		return boolean(yes), err
	}}
}

// truth returns the part as a boolean by Bloblang's rules; wrong is the error for other values.
func (p part) truth(wrong error) check {
	if p.test != nil {
		return p.test
	}
	return func(slots []Value) (bool, error) {
		v, err := p.value(slots)
		if err != nil {
			return false, err
		}
		return v.truth(wrong)
	}
}

// Parser compiles expressions and caches them by text, since many are the same. It must not be used concurrently.
type Parser struct {
	env    *bloblang.Environment
	parsed map[string]*bloblang.Executor
}

// Compile compiles a Bloblang expression and adds the fields it needs to the layout. It fails for invalid Bloblang
// and for functions that may return different results for the same input.
func (p *Parser) Compile(source string, l *Layout) (*Expr, error) {
	slow, err := p.parseSlow(source)
	if err != nil {
		return nil, err
	}
	e := &Expr{source: source, slow: slow}
	var probe Layout // leave the layout unchanged if the expression is outside the subset
	if _, err := compile(source, &probe); err != nil {
		e.why = err.Error()
		return e, nil
	}
	if e.fast, err = compile(source, l); err != nil {
		return nil, err
	}
	return e, nil
}

// parseSlow parses an expression with only those functions of Bloblang that depend on their input alone.
func (p *Parser) parseSlow(source string) (*bloblang.Executor, error) {
	if p.env == nil {
		p.env, p.parsed = bloblang.GlobalEnvironment().OnlyPure().WithDisabledImports().WithoutFunctions("now",
			"timestamp_unix", "timestamp_unix_milli", "timestamp_unix_micro", "timestamp_unix_nano", "random_int", "uuid_v4",
			"uuid_v7", "ksuid", "nanoid", "ulid", "counter", "count", "snowflake_id", "env", "file", "file_rel", "hostname",
			"fake", "content", "batch_index", "batch_size", "metadata", "meta", "root_meta", "json", "error", "errored",
			"tracing_span", "tracing_id"), map[string]*bloblang.Executor{}
	}
	if exec := p.parsed[source]; exec != nil {
		return exec, nil
	}
	exec, err := p.env.Parse("root = " + source)
	if err == nil {
		p.parsed[source] = exec
		return exec, nil
	}
	var bad *bloblang.ParseError
	if errors.As(err, &bad) {
		return nil, fmt.Errorf("reading %q: %w (it may use the event alone: no clock, random number, metadata or "+
			"environment)", source, bad)
	}
	return nil, fmt.Errorf("reading %q: %w", source, err)
}

// Fast tells whether the expression is in the compiled subset; why says what is not.
func (e *Expr) Fast() (fast bool, why string) { return e.fast.value != nil, e.why }

// String returns the expression's source.
func (e *Expr) String() string { return e.source }

// Eval evaluates the expression on the document that the reader has read. The Value's text may share the document's
// memory.
func (e *Expr) Eval(r *Reader) (Value, error) {
	if e.fast.value != nil {
		v, err := e.fast.value(r.slots)
		if err != errSlow {
			return v, err
		}
	}
	tree, err := r.document()
	if err != nil {
		return Value{}, err
	}
	out, err := e.slow.Query(tree)
	if err != nil {
		return Value{}, err
	}
	return valueOf(out)
}

// True tells whether the expression evaluates to the boolean true. Its error is that of Eval.
func (e *Expr) True(r *Reader) (bool, error) {
	if e.fast.test != nil {
		if yes, err := e.fast.test(r.slots); err != errSlow {
			return err == nil && yes, err
		}
	}
	v, err := e.Eval(r)
	return err == nil && v.True(), err
}

// valueOf converts a result of Bloblang.
func valueOf(out any) (Value, error) {
	switch v := out.(type) {
	case nil:
		return Value{Kind: Null}, nil
	case bool:
		return boolean(v), nil
	case string:
		return text(v), nil
	case []byte:
		return text(string(v)), nil
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return Value{}, fmt.Errorf("encoding the result: %w", err)
	}
	return parse(raw)
}
