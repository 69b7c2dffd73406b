package predicate

import (
	"fmt"
	"math"
	"strings"
)

// method parses the arguments of a method after the opening bracket. path is set only for exists.
func (p *parser) method(name string, of fn, path []string) (part, error) {
	p.anyBlank()
	if !strings.HasPrefix(p.s[p.i:], ")") {
		from := p.i
		arg, err := p.arithmetic()
		if err != nil {
			return part{}, err
		}
		end := p.i
		if p.anyBlank(); !p.take(")") {
			return part{}, p.outside("more than one argument of %s", name)
		}
		if name != "or" {
			q := &parser{s: p.s[from:end], layout: &Layout{}}
			v, err := q.literal()
			if err != nil || q.i != len(q.s) || v.Kind != String {
				return part{}, p.outside("an argument of %s that is no text", name)
			}
			return p.withText(name, of, path, v.Text)
		}
		return valued(orElse(of, arg.value)), nil
	}
	p.i++
	switch name {
	case "lowercase", "length", "abs", "round", "number":
		return valued(unary(name, of)), nil
	}
	return part{}, p.outside(".%s()", name)
}

func (p *parser) withText(name string, of fn, path []string, arg string) (part, error) {
	switch name {
	case "has_prefix":
		return onText(name, of, arg, strings.HasPrefix), nil
	case "has_suffix":
		return onText(name, of, arg, strings.HasSuffix), nil
	case "contains":
		return onText(name, of, arg, strings.Contains), nil
	case "exists":
		if of != nil {
			return part{}, p.outside(".exists() of what is no path")
		}
		if strings.Contains(arg, "~") {
			return part{}, p.outside("the path %q", arg)
		}
		for _, field := range strings.Split(arg, ".") {
			if err := p.field(field); err != nil {
				return part{}, err
			}
			path = append(path, field)
		}
		at := p.layout.slot(path)
		return tested(func(slots []Value) (bool, error) { return slots[at].Kind != Missing, nil }), nil
	}
	return part{}, p.outside(".%s()", name)
}

func onText(name string, of fn, arg string, test func(s, arg string) bool) part {
	wrong := &typeError{fmt.Sprintf(".%s(%q) needs a text", name, arg)}
	return tested(func(slots []Value) (bool, error) {
		v, err := of(slots)
		switch {
		case err != nil:
			return false, err
		case v.Kind == String:
			return test(v.Text, arg), nil
		case v.Kind == Other:
			return false, errSlow
		}
		return false, wrong
	})
}

func unary(name string, of fn) fn {
	wrong := &typeError{"." + name + "() cannot take what it got"}
	return func(slots []Value) (Value, error) {
		v, err := of(slots)
		if err != nil {
			return v, err
		}
		switch {
		case v.isNull():
			return v, wrong
		case name == "lowercase" && v.Kind == String:
			return text(strings.ToLower(v.Text)), nil
		case name == "length" && v.Kind == String:
			return integer(int64(len(v.Text))), nil
		case name == "number" && v.IsNumber():
			return float(v.Num), nil
		case name == "abs" && v.Kind == Float:
			return float(math.Abs(v.Num)), nil
		case name == "abs" && v.Kind == Int && v.Int > math.MinInt64:
			return integer(max(v.Int, -v.Int)), nil
		case name == "round" && v.Kind == Int:
			v.odd = false
			return v, nil
		case name == "round" && v.Kind == Float && math.Abs(v.Num) < 1<<53:
			return integer(int64(math.Round(v.Num))), nil
		}
		return v, errSlow
	}
}
