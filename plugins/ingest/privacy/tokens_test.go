package privacy

import (
	"slices"
	"strings"
	"testing"
)

// A value's token is the one that events have, under each key that wrote some.
func TestTokens_AreThoseThatEventsHave(t *testing.T) {
	w := walkerOf(t, "{ action: hash, fields: { /user/id: hash }, keys: '"+testKeys+"' }") // of plant-1
	for value, kindName := range map[string]string{"u-77": "field", "Ann@Example.com": "email", "９７": "field"} {
		event := `{"email":"` + value + `"}`
		if kindName == "field" {
			event = `{"user":{"id":"` + value + `"}}`
		}
		tokens, err := Tokens(testKeys, "plant-1", kindName, value)
		if err != nil || len(tokens) != len(strings.Fields(testKeys)) {
			t.Fatal(tokens, err)
		}
		if got := masked(t, w, event); !strings.Contains(got, `"`+tokens[0]+`"`) {
			t.Errorf("the event is %s, and the tokens are %v", got, tokens)
		}
		if other, err := Tokens(testKeys, "plant-2", kindName, value); err != nil || slices.Contains(other, tokens[0]) {
			t.Errorf("another fleet has the same: %v %v", other, err)
		}
	}
	if _, err := Tokens(testKeys, "plant-1", "bogus", "x"); err == nil {
		t.Error("a type that is none has tokens")
	}
	if _, err := Tokens("k1", "plant-1", "field", "x"); err == nil {
		t.Error("a key that is none makes tokens")
	}
}
