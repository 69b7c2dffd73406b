package conf

import (
	"errors"
	"strings"
	"testing"
)

func TestYAML_AFileHasOneDocument(t *testing.T) {
	for text, want := range map[string]string{"a: 1\n": "", "---\na: 1\n": "", "a: 1\n---\n": "",
		"a: 1\n--- # over\n...\n": "",
		"a: 1\n---\na: 2\n":       "line 3: a second YAML document",
		"a: 1\n---\n---\nb: 2\n":  "line 4: a second YAML document",
		"a: 1\n---\n[":            "line", "b: 1": "field b not found", "": ErrEmpty.Error()} {
		var into struct{ A int }
		err := YAML([]byte(text), &into)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err == nil && into.A != 1 || errors.Is(err, ErrEmpty) != (text == "") {
			t.Errorf("%q: %+v %v", text, into, err)
		}
	}
}
