package rule

import (
	"fmt"
	"strings"
	"testing"
)

// Invalid patterns are refused with a text that says what to do. Valid ones, with the text "" here, are
// accepted.
func TestPattern_TextIsChecked(t *testing.T) {
	for pattern, want := range map[string]string{
		"a b)": "this bracket closes none", "(a b": "this bracket is not closed", "": "an opening bracket is missing",
		"a |": "an opening bracket is missing", "a*": "the pattern can match without any event",
		"a?? b*":  "the pattern can match without any event",
		"(a?)* b": "what is repeated can match without", "-> a": "begin with an event", "!a b": "begin with an event",
		"a? -> b": "begin with an event", "a ->": "nothing follows ->", "a -> b?": "what follows this can match without",
		"(a !b)+": "not brackets that are repeated", "a (b !c)": "", "(a !b) c": "not brackets that are repeated",
		"a -> !b c": "take one of the two out",
		"a{2":       "the quantifier is not valid", "a{}": "the quantifier is not valid", "a{3,2}": "the highest number, 2",
		"a{0}":    "the highest number, 0",
		"a{1001}": "more than 1000 times", "(a{100}){100}": "more than 500 states", "a**": "two quantifiers",
		"a+?+": "two quantifiers", "->+ a": "cannot be repeated",
		"^a": "no first and no last", "a $": "no first and no last", "a & b": "a variable is expected",
		"a{1,}? b": "", "(a|b)+ c": "",
		strings.Repeat("(", 60) + "a": "nested more than", "(((a -> b)))": "", "a (b !c)?": "", "a !b | c !d": "",
	} {
		_, _, err := readPattern(pattern)
		if got := fmt.Sprint(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", pattern, got, want)
		}
	}
}
