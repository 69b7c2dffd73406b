package predicate

import (
	"fmt"
	"strconv"
	"strings"
)

// compile compiles the subset. Everything it accepts is valid Bloblang with the same meaning. Its error names what is
// outside the subset.
func compile(source string, l *Layout) (part, error) {
	p := &parser{s: source, layout: l}
	p.blanks()
	f, err := p.arithmetic()
	if err != nil {
		return part{}, err
	}
	if p.anyBlank(); p.i < len(p.s) {
		return part{}, p.outside("%q", p.s[p.i:])
	}
	return f, nil
}

type parser struct {
	s      string
	i      int
	depth  int
	layout *Layout
}

func (p *parser) outside(format string, args ...any) error {
	return fmt.Errorf("%s is not compiled", fmt.Sprintf(format, args...))
}

func (p *parser) blanks() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
		p.i++
	}
}

func (p *parser) anyBlank() {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
}

func (p *parser) take(token string) bool {
	if strings.HasPrefix(p.s[p.i:], token) {
		p.i += len(token)
		return true
	}
	return false
}

// word consumes the keyword w if it is a whole word.
func (p *parser) word(w string) bool {
	end := p.i + len(w)
	if strings.HasPrefix(p.s[p.i:], w) && (end == len(p.s) || !nameByte(p.s[end])) {
		p.i = end
		return true
	}
	return false
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

func (p *parser) name() string {
	from := p.i
	for p.i < len(p.s) && nameByte(p.s[p.i]) {
		p.i++
	}
	return p.s[from:p.i]
}

// arithmetic parses terms and operators. Bloblang has four levels of precedence, each left-associative: * / % |, then
// + -, then comparisons, then && ||.
func (p *parser) arithmetic() (part, error) {
	if p.depth++; p.depth > 50 {
		return part{}, p.outside("what is nested so deeply")
	}
	defer func() { p.depth-- }()
	var terms []part
	var ops []string
	for {
		minus := p.take("-")
		if minus {
			p.anyBlank()
		}
		f, err := p.term()
		if err != nil {
			return part{}, err
		}
		if minus {
			f = binary("-", constant(integer(0)), f)
		}
		terms = append(terms, f)
		back := p.i
		p.blanks()
		op := p.operator()
		if op == "" {
			p.i = back
			break
		}
		ops = append(ops, op)
		p.anyBlank()
	}
	for _, level := range [...]string{" * / % | ", " + - ", " == != < <= > >= ", " && || "} {
		kept, rest := terms[:1], ops[:0]
		for i, op := range ops {
			if strings.Contains(level, " "+op+" ") {
				kept[len(kept)-1] = binary(op, kept[len(kept)-1], terms[i+1])
			} else {
				kept, rest = append(kept, terms[i+1]), append(rest, op)
			}
		}
		terms, ops = kept, rest
	}
	return terms[0], nil
}

func (p *parser) operator() string {
	for _, op := range [...]string{"&&", "||", "==", "!=", ">=", "<=", ">", "<", "+", "-", "*", "/", "%", "|"} {
		if p.take(op) {
			return op
		}
	}
	return ""
}

// term parses a value with its methods and an optional ! before it.
func (p *parser) term() (part, error) {
	not := p.take("!")
	if not {
		p.blanks()
	}
	f, err := p.primary()
	if err != nil {
		return part{}, err
	}
	for p.take(".") {
		p.anyBlank()
		name := p.name()
		if !p.take("(") {
			return part{}, p.outside("the field %q of what is no path", name)
		}
		if f, err = p.method(name, f.value, nil); err != nil {
			return part{}, err
		}
	}
	if not {
		f = negate(f)
	}
	return f, nil
}

func (p *parser) primary() (part, error) {
	switch {
	case p.i >= len(p.s):
		return part{}, p.outside("an end where a value is expected")
	case p.take("("):
		p.anyBlank()
		f, err := p.arithmetic()
		if err != nil {
			return part{}, err
		}
		if p.anyBlank(); !p.take(")") {
			return part{}, p.outside("a bracket that does not close")
		}
		return f, nil
	case p.word("if"):
		return p.condition()
	case p.word("this"):
		return p.path()
	}
	if p.s[p.i] == '[' {
		return p.listed()
	}
	v, err := p.literal()
	return constant(v), err
}

// literal parses a number, a string, true, false or null.
func (p *parser) literal() (Value, error) {
	switch {
	case p.i >= len(p.s):
	case p.word("true"):
		return boolean(true), nil
	case p.word("false"):
		return boolean(false), nil
	case p.word("null"):
		return Value{Kind: Null}, nil
	case strings.HasPrefix(p.s[p.i:], `"""`):
		return Value{}, p.outside("a text in three quotes")
	case p.s[p.i] == '"':
		s, err := p.quoted()
		return text(s), err
	case p.s[p.i] >= '0' && p.s[p.i] <= '9':
		from := p.i
		for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
			p.i++
		}
		if p.i+1 < len(p.s) && p.s[p.i] == '.' && p.s[p.i+1] >= '0' && p.s[p.i+1] <= '9' {
			for p.i++; p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9'; {
				p.i++
			}
			if f, err := strconv.ParseFloat(p.s[from:p.i], 64); err == nil && !p.goesOn() {
				return float(f), nil
			}
		} else if i, err := strconv.ParseInt(p.s[from:p.i], 10, 64); err == nil && !p.goesOn() {
			return integer(i), nil
		}
		return Value{}, p.outside("the number at %q", p.s[from:])
	}
	return Value{}, p.outside("%q", p.s[p.i:])
}

// goesOn tells whether the characters after a number make it another token.
func (p *parser) goesOn() bool { return p.i < len(p.s) && nameByte(p.s[p.i]) }

func (p *parser) quoted() (string, error) {
	end := p.i + 1
	for end < len(p.s) && p.s[end] != '"' {
		if p.s[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(p.s) {
		return "", p.outside("a text that does not end")
	}
	s, err := strconv.Unquote(p.s[p.i : end+1])
	if err != nil {
		return "", p.outside("the text at %q", p.s[p.i:])
	}
	p.i = end + 1
	return s, nil
}

// condition parses what follows an if.
func (p *parser) condition() (part, error) {
	p.anyBlank()
	check, err := p.arithmetic()
	if err != nil {
		return part{}, err
	}
	branch := func() (part, error) {
		if p.anyBlank(); !p.take("{") {
			return part{}, p.outside("an if without a brace")
		}
		p.anyBlank()
		f, err := p.arithmetic()
		if err != nil {
			return part{}, err
		}
		if p.anyBlank(); !p.take("}") {
			return part{}, p.outside("a brace that does not close")
		}
		return f, nil
	}
	then, err := branch()
	if err != nil {
		return part{}, err
	}
	if p.anyBlank(); !p.word("else") {
		return part{}, p.outside("an if without else")
	}
	if p.anyBlank(); strings.HasPrefix(p.s[p.i:], "if") {
		return part{}, p.outside("else if")
	}
	other, err := branch()
	if err != nil {
		return part{}, err
	}
	return valued(choose(check.value, then.value, other.value)), nil
}

// path parses the fields after this, and the method exists, which needs the path.
func (p *parser) path() (part, error) {
	var path []string
	for {
		back := p.i
		if !p.take(".") {
			break
		}
		p.anyBlank()
		var name string
		if p.i < len(p.s) && p.s[p.i] == '"' {
			var err error
			if name, err = p.quoted(); err != nil {
				return part{}, err
			}
		} else if name = p.name(); p.i < len(p.s) && p.s[p.i] == '(' {
			if name == "exists" {
				p.i++
				return p.method(name, nil, path)
			}
			p.i = back
			break
		}
		if err := p.field(name); err != nil {
			return part{}, err
		}
		path = append(path, name)
	}
	if len(path) == 0 {
		return part{}, p.outside("this alone")
	}
	return slot(p.layout.slot(path)), nil
}

// field rejects names that mean array elements in a path.
func (p *parser) field(name string) error {
	if name == "" || name == "*" || name == "-" {
		return p.outside("the field %q", name)
	}
	if _, err := strconv.Atoi(name); err == nil {
		return p.outside("the place %s of an array", name)
	}
	return nil
}

// listed parses [literal, …].contains(x).
func (p *parser) listed() (part, error) {
	p.i++
	var list []Value
	for p.anyBlank(); !p.take("]"); p.anyBlank() {
		v, err := p.literal()
		if err != nil {
			return part{}, err
		}
		list = append(list, v)
		if p.anyBlank(); !p.take(",") && !strings.HasPrefix(p.s[p.i:], "]") {
			return part{}, p.outside("the array at %q", p.s[p.i:])
		}
	}
	if !p.take(".contains(") {
		return part{}, p.outside("an array that is not followed by .contains(")
	}
	p.anyBlank()
	arg, err := p.arithmetic()
	if err != nil {
		return part{}, err
	}
	if p.anyBlank(); !p.take(")") {
		return part{}, p.outside("a bracket that does not close")
	}
	return among(list, arg.value), nil
}
