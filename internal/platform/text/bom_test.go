package text

import (
	"io"
	"strings"
	"testing"
)

func TestBOM_IsPassedOverWhereATextBegins(t *testing.T) {
	for text, without := range map[string]string{
		"": "", "{}": "{}", "\uFEFF": "", "\uFEFF{}": "{}", "{\uFEFF}": "{\uFEFF}", "\xef\xbb": "\xef\xbb",
	} {
		if got := string(WithoutBOM([]byte(text))); got != without {
			t.Errorf("WithoutBOM(%q) is %q", text, got)
		}
		if got, err := io.ReadAll(PassBOM(strings.NewReader(text))); err != nil || string(got) != without {
			t.Errorf("PassBOM(%q) reads %q: %v", text, got, err)
		}
	}
}
