package text

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/quick"
	"unicode/utf8"
)

func TestPrintable_EscapesWhatATerminalObeys(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"pump-1 über 泵\n\tok �":        "pump-1 über 泵\n\tok �",
		"\x1b[31mred\x1b]0;title\a":    `\u001b[31mred\u001b]0;title\u0007`,
		"good\rbad\b\x7f\x00":          `good\u000dbad\u0008\u007f\u0000`,
		"csi \u009b31m":                `csi \u009b31m`,
		"csi \x9b31m \xff":             `csi \x9b31m \xff`,
		"a\u202eb\u2066c\u200dd\ufeff": `a\u202eb\u2066c\u200dd\ufeff`,
		"tag \U000e0001":               `tag \udb40\udc01`,
		"line\u2028para\u2029":         `line\u2028para\u2029`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// However the bytes are cut, a Printer writes what Printable returns.
func TestPrinter_CutsDoNotMatter(t *testing.T) {
	same := func(raw []byte, s string, cut uint8) bool {
		all := string(raw) + s + "\x1bü\u202e泵" + string(raw)
		var got strings.Builder
		p := NewPrinter(&got)
		step := int(cut%5) + 1
		for i := 0; i < len(all); i += step {
			if n, err := p.Write([]byte(all[i:min(i+step, len(all))])); err != nil || n == 0 {
				return false
			}
		}
		return p.Close() == nil && got.String() == Printable(all)
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}

func TestPrintable_LeavesJSONTheSame(t *testing.T) {
	same := func(s string) bool {
		if !utf8.ValidString(s) {
			return true
		}
		raw, err := json.Marshal(map[string]string{"k": s + "\u202e\u009b\U000e0001\x7f"})
		var got map[string]string
		return err == nil && json.Unmarshal([]byte(Printable(string(raw))), &got) == nil &&
			got["k"] == s+"\u202e\u009b\U000e0001\x7f"
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}

func TestBar_FillsWithWhatIsDone(t *testing.T) {
	for done, full := range map[int64]int{-1: 0, 0: 0, 1: 2, 6: 14, 10: 24, 11: 24} {
		if got, want := Bar(done, 10), "["+strings.Repeat("#", full)+strings.Repeat(".", 24-full)+"]"; got != want {
			t.Errorf("%d of 10 is %s, want %s", done, got, want)
		}
	}
}
