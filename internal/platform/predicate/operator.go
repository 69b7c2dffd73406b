package predicate

import (
	"errors"
	"fmt"
	"math"
)

func constant(v Value) part {
	return part{literal: &v, value: func([]Value) (Value, error) { return v, nil }}
}

func slot(at int) part {
	return part{slot: at + 1, value: func(slots []Value) (Value, error) { return slots[at], nil }}
}

// orElse evaluates f, and other if f's result is null or an error.
func orElse(f, other fn) fn {
	return func(slots []Value) (Value, error) {
		v, err := f(slots)
		if err == errSlow {
			return v, err
		}
		if err != nil || v.isNull() {
			return other(slots)
		}
		return v, nil
	}
}

func negate(p part) part {
	wrong := &typeError{"! needs a boolean"}
	return tested(func(slots []Value) (bool, error) {
		if p.test != nil {
			yes, err := p.test(slots)
			return !yes, err
		}
		v, err := p.value(slots)
		if err == nil && v.Kind != Bool {
			err = wrong
		}
		return v.Int == 0, err
	})
}

func choose(check, then, other fn) fn {
	wrong := &typeError{"if needs a boolean"}
	return func(slots []Value) (Value, error) {
		v, err := check(slots)
		switch {
		case err != nil:
			return v, err
		case v.True():
			return then(slots)
		case v.Kind == Bool || v.isNull():
			return other(slots)
		}
		return v, wrong
	}
}

// among tells whether a value is in a list of literals.
func among(list []Value, arg fn) part {
	return tested(func(slots []Value) (bool, error) {
		v, err := arg(slots)
		if err != nil {
			return false, err
		}
		if v.Kind == Other {
			return false, errSlow
		}
		for _, l := range list {
			if same, err := equal(v, l); err != nil || same {
				return same, err
			}
		}
		return false, nil
	})
}

// equal compares like Bloblang, regardless of how numbers are represented.
func equal(a, b Value) (bool, error) {
	switch {
	case a.Kind == Other || b.Kind == Other:
		return false, errSlow
	case a.isNull():
		return b.isNull(), nil
	case a.Kind == String:
		return b.Kind == String && a.Text == b.Text, nil
	case a.Kind == Bool:
		t, err := b.truth(errNever)
		return err == nil && t == (a.Int == 1), slowOnly(err)
	}
	return b.IsNumber() && a.Num == b.Num, nil
}

var errNever = errors.New("no boolean")

func slowOnly(err error) error {
	if err == errSlow {
		return err
	}
	return nil
}

func binary(op string, a, b part) part {
	switch op {
	case "&&", "||":
		return logic(op == "||", a, b)
	case "|":
		return valued(orElse(a.value, b.value))
	case "==", "!=":
		return comparison(op, a, b, func(a, b Value) (bool, error) {
			same, err := same(a, b)
			return same == (op == "=="), err
		})
	case "<", "<=", ">", ">=":
		return comparison(op, a, b, ordering(op))
	}
	return valued(calculation(op, a.value, b.value))
}

// logic evaluates its second part only when the first does not decide the result.
func logic(or bool, a, b part) part {
	wrong := &typeError{"&& and || need booleans"}
	first, second := a.truth(wrong), b.truth(wrong)
	return tested(func(slots []Value) (bool, error) {
		if t, err := first(slots); err != nil || t == or {
			return t, err
		}
		return second(slots)
	})
}

func comparison(op string, a, b part, compare func(a, b Value) (bool, error)) part {
	general := func(slots []Value) (bool, error) {
		x, err := a.value(slots)
		if err != nil {
			return false, err
		}
		y, err := b.value(slots)
		if err != nil {
			return false, err
		}
		return compare(x, y)
	}
	if a.slot > 0 && b.literal != nil {
		return tested(withLiteral(op, a.slot-1, *b.literal, general))
	}
	return tested(general)
}

// withLiteral compares a field with a number or text, the most common condition. It leaves fields of another kind to
// general.
func withLiteral(op string, at int, of Value, general check) check {
	if of.Kind == String && (op == "==" || op == "!=") {
		return func(slots []Value) (bool, error) {
			if v := &slots[at]; v.Kind == String {
				return (v.Text == of.Text) == (op == "=="), nil
			}
			return general(slots)
		}
	}
	if !of.IsNumber() || op == "==" || op == "!=" {
		return general
	}
	less, more, even := op[0] == '<', op[0] == '>', len(op) == 2
	return func(slots []Value) (bool, error) {
		v := &slots[at]
		switch {
		case v.Kind == Int && of.Kind == Int:
			return less && v.Int < of.Int || more && v.Int > of.Int || even && v.Int == of.Int, nil
		case v.IsNumber():
			return less && v.Num < of.Num || more && v.Num > of.Num || even && v.Num == of.Num, nil
		}
		return general(slots)
	}
}

// same is equal, but compares two integers as integers.
func same(a, b Value) (bool, error) {
	if a.Kind == Int && b.Kind == Int {
		return a.Int == b.Int, nil
	}
	return equal(a, b)
}

func ordering(op string) func(a, b Value) (bool, error) {
	wrong := &typeError{fmt.Sprintf("%s needs two numbers or two texts", op)}
	less, more, even := op[0] == '<', op[0] == '>', len(op) == 2
	return func(a, b Value) (bool, error) {
		switch {
		case a.Kind == Int && b.Kind == Int:
			return less && a.Int < b.Int || more && a.Int > b.Int || even && a.Int == b.Int, nil
		case a.IsNumber() && b.IsNumber():
			return less && a.Num < b.Num || more && a.Num > b.Num || even && a.Num == b.Num, nil
		case a.Kind == String && b.Kind == String:
			return less && a.Text < b.Text || more && a.Text > b.Text || even && a.Text == b.Text, nil
		}
		return false, wrong
	}
}

func calculation(op string, a, b fn) fn {
	wrong := &typeError{fmt.Sprintf("%s cannot take what it got", op)}
	return func(slots []Value) (Value, error) {
		x, err := a(slots)
		if err != nil {
			return x, err
		}
		y, err := b(slots)
		if err != nil {
			return y, err
		}
		if op == "+" && x.Kind == String && y.Kind == String {
			return text(x.Text + y.Text), nil
		}
		if !x.IsNumber() || !y.IsNumber() {
			return x, wrong
		}
		whole := x.Kind == Int && y.Kind == Int
		switch op {
		case "+":
			if whole {
				return integer(x.Int + y.Int), nil
			}
			return finite(x.Num + y.Num)
		case "-":
			if whole {
				return integer(x.Int - y.Int), nil
			}
			return finite(x.Num - y.Num)
		case "*":
			if whole {
				return integer(x.Int * y.Int), nil
			}
			return finite(x.Num * y.Num)
		case "/":
			if y.Num == 0 {
				return x, wrong
			}
			return finite(x.Num / y.Num)
		}
		return remainder(x, y, wrong)
	}
}

// finite leaves results that are not JSON numbers to Bloblang.
func finite(f float64) (Value, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return Value{}, errSlow
	}
	return float(f), nil
}

func remainder(x, y Value, wrong error) (Value, error) {
	i, ok1 := x.whole()
	j, ok2 := y.whole()
	switch {
	case !ok1 || !ok2:
		return x, errSlow
	case j == 0:
		return x, wrong
	}
	return integer(i % j), nil
}

// whole truncates a number to an integer; false if it is too large.
func (v Value) whole() (int64, bool) {
	if v.Kind == Int {
		return v.Int, true
	}
	return int64(v.Num), math.Abs(v.Num) < 1<<53
}
