// Package predicate compiles conditions and expressions over JSON documents: a
// subset of Bloblang becomes closures over slots, which one pass over the bytes
// fills for all expressions together. What is outside of the subset is legal
// all the same: Bloblang itself evaluates it, at the cost of decoding the
// document. The answers are Bloblang's in either way.
package predicate

import (
	"errors"
	"fmt"
)

// Kind is what a Value holds.
type Kind uint8

// The kinds. Missing is a null that is not there; Other is an array or an
// object, of which only the bytes are known.
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
	odd  bool // a zero that is not written "0", which Bloblang takes for true
	Num  float64
	Int  int64  // of Int; 1 of a Bool that is true
	Text string // of String; the JSON of Other. It shares the document's memory
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

// IsNumber tells whether the value is one; it is Num then.
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

// errSlow says that only Bloblang knows the answer.
var errSlow = errors.New("outside of the compiled subset")

// typeError is a static error: an expression that fails on every event costs no
// more than one that does not.
type typeError struct{ text string }

func (e *typeError) Error() string { return e.text }

// truth is how Bloblang takes a value for a boolean: a number is true when it
// is not 0.
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
