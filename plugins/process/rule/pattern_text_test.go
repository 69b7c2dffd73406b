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
		"a b)": "a bracket closes", "(a b": "the bracket does not close", "": "a variable or a bracket is missing",
		"a |": "a variable or a bracket is missing", "a*": "it can match no event", "a?? b*": "it can match no event",
		"(a?)* b": "what is repeated can be nothing", "-> a": "begins with an event", "!a b": "begins with an event",
		"a? -> b": "begins with an event", "a ->": "something must follow", "a -> b?": "what follows it can be nothing",
		"(a !b)+": "something must follow it", "a (b !c)": "", "(a !b) c": "something must follow it",
		"a -> !b c": "take one of them out",
		"a{2":       "a quantifier is one of", "a{}": "a quantifier is one of", "a{3,2}": "at most 2 is fewer",
		"a{0}":    "at most 0 is fewer",
		"a{1001}": "too often", "(a{100}){100}": "more than 500 states", "a**": "one quantifier",
		"a+?+": "one quantifier", "->+ a": "not repeated",
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
