package erasure

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestErasure_ALineEndsBetweenCharacters(t *testing.T) {
	for n := range 200 {
		line := (&Erasure{State: Running, Error: strings.Repeat("x", n) + strings.Repeat("ü…", 100)}).Line()
		if !utf8.ValidString(line) || utf8.RuneCountInString(line) != 120 || !strings.HasSuffix(line, "…") {
			t.Fatalf("%d characters: %q", utf8.RuneCountInString(line), line)
		}
	}
	if line := (&Erasure{State: Done}).Line(); line != "done" {
		t.Errorf("a short one: %q", line)
	}
}
