// Package predicate compiles conditions and expressions over JSON documents. Expressions in a subset of Bloblang
// become closures over slots that one pass over the document fills for all expressions. Other expressions are
// evaluated by Bloblang itself, at the cost of decoding the document. The results are Bloblang's in both cases.
package predicate

import (
	"errors"
	"fmt"
)

// Kind is what a Value holds.
type Kind uint8

// The kinds. Missing is an absent field, which counts as null; Other is an array or an object, kept as bytes.
const (
	Missing Kind = iota
	Null
	Bool
	Int
	Float
	String
	Other
)

// Value is a scalar, or the bytes of an array or an object.
type Value struct {
	Kind Kind
	odd  bool // a zero not written as "0", which Bloblang treats as true
	Num  float64
	Int  int64  // the number of an Int; 1 for a Bool that is true
	Text string // the text of a String or the JSON of an Other; shares the document's memory
}

func boolean(b bool) Value {
	v := Value{Kind: Bool}
	if b {
		v.Int = 1
	}
	return v
}

func integer(i int64) Value  { return Value{Kind: Int, Int: i, Num: float64(i)} }
func float(f float64) Value  { return Value{Kind: Float, Num: f} }
func text(s string) Value    { return Value{Kind: String, Text: s} }
func (v Value) isNull() bool { return v.Kind <= Null }

// IsNumber tells whether the value is a number, which is then in Num.
func (v Value) IsNumber() bool { return v.Kind == Int || v.Kind == Float }

// True tells whether the value is the boolean true.
func (v Value) True() bool { return v.Kind == Bool && v.Int == 1 }

func (v Value) String() string {
	switch v.Kind {
	case Bool:
		return fmt.Sprint(v.Int == 1)
	case Int:
		return fmt.Sprint(v.Int)
	case Float:
		return fmt.Sprint(v.Num)
	case String, Other:
		return v.Text
	}
	return "null"
}

// errSlow says that Bloblang must evaluate the expression.
var errSlow = errors.New("outside of the compiled subset")

// typeError is an error without details, so that an expression that fails on every event costs no more than others.
type typeError struct{ text string }

func (e *typeError) Error() string { return e.text }

// truth converts a value to a boolean like Bloblang: a number is true when it is not 0.
func (v Value) truth(wrong error) (bool, error) {
	switch v.Kind {
	case Bool:
		return v.Int == 1, nil
	case Int, Float:
		if v.odd {
			return false, errSlow
		}
		return v.Num != 0, nil
	}
	return false, wrong
}
