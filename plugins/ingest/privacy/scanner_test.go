package privacy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"weir/internal/platform/rawjson"
)

func scanned(t testing.TB, s *Scanner, name, value string) (found []string) {
	t.Helper()
	s.Value(name, []byte(value), func(pointer, kind string) { found = append(found, pointer+" "+kind) })
	slices.Sort(found)
	return found
}

func scannerOf(t testing.TB) *Scanner {
	t.Helper()
	s, err := NewScanner([]string{"US", "DE"}, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScanner_TellsTypesAndPlaces(t *testing.T) {
	s := scannerOf(t)
	utf := func(text string) string {
		var b strings.Builder
		for _, u := range utf16.Encode([]rune(text)) {
			b.Write([]byte{byte(u), byte(u >> 8)})
		}
		return b.String()
	}
	deep := strings.Repeat(`{"a":`, 40) + `"ann@example.com"` + strings.Repeat("}", 40)
	for _, c := range []struct{ name, value, want string }{
		{"", `{"user":{"mail":"x","list":[1,{"t":"ann@example.com and 203.0.113.7"}]}}`,
			"/user/list/*/t email,/user/list/*/t ip,/user/mail email"},
		{"", `{"a":[["ann@example.com"],"+49 151 12345678"],"b":4111111111111111}`, "/a/* phone,/a/*/* email,/b card"},
		{"", `{"s":"{\"x\":[{\"y\":\"ann@example.com\"}]}","t":"ann@example.com"}`, "/s/x/*/y email,/t email"},
		{"", `{"a":{"ann@example.com":{"phone":"1"}}}`, "/a/* email,/a/[email]/phone phone"},
		{"", `{"a~b/c":"ann@example.com"}`, "/a~0b~1c email"},
		{"", deep, strings.Repeat("/a", mostParts) + "/… email"},
		{"", `{"broken":{"mail":"x"},"t":"ann@example.com"`, "/broken/mail email,/t email"},
		{"", `no JSON, ann@example.com`, " email"},
		{"", "203.0.113.7", " ip"}, {"", "4111111111111111", " card"}, {"firmware", "203.0.113.7", ""},
		{"device_id", "4111111111111111", " card"}, {"alert_id", "4111111111111111", ""},
		{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-4111111111111111-01", ""},
		{"peer", "203.0.113.7:4195", " ip"}, {"peer", "127.0.0.1:4195", ""},
		{"x-forwarded-for", "a proxy", " ip"}, {"x-forwarded-for", "[ip]", ""}, {"email", "  ", ""},
		{"", "\x01\x80ann@example.com\x00\xff203.0.113.7\x03\x04", " email, ip"},
		{"", "\x00a@b.c\x00", ""},
		{"", utf(`{"t":"ann@example.com"}`), "/t email"}, {"", utf("to ann@example.com"), " email"},
		{"", `{"t":"[email]","mail":"pii-email-k1-abcdefghijklmnopabcdefghijklmnop","ip":null}`, ""},
		{"", "", ""},
	} {
		if got := strings.Join(scanned(t, s, c.name, c.value), ","); got != c.want {
			t.Errorf("%s %q:\n%q, want\n%q", c.name, c.value, got, c.want)
		}
	}
	if _, err := NewScanner([]string{"XX"}, true); err == nil {
		t.Error("a region that is none is taken")
	}
	bare, err := NewScanner(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := scanned(t, bare, "email", `{"mail":"x","t":"ann@example.com"}`); fmt.Sprint(got) != "[/t email]" {
		t.Errorf("without names: %v", got)
	}
}

// What the processor leaves, the scanner takes for clean, and where the processor
// changes something, the scanner finds something: they cannot come apart.
func TestScanner_FindsWhatTheProcessorTakesOut(t *testing.T) {
	s := scannerOf(t)
	for _, conf := range []string{"phone_regions: [ US, DE ]", "{ phone_regions: [ US, DE ], action: drop }",
		"{ phone_regions: [ US, DE ], action: hash, keys: '" + testKeys + "' }"} {
		w := walkerOf(t, conf)
		for _, raw := range []string{
			`{"a":"ann@example.com"}`, `{"phone":"1","ip":["203.0.113.7",null]}`, `{"n":4111111111111111}`, `{"ok":1}`,
			`{"device_id":"203.0.113.7"}`, `{"s":"{\"mail\":\"x\"}"}`, `text +49 151 12345678`, `{"ann@example.com":1}`,
		} {
			masked := string(w.bytes([]byte(raw)))
			if found := scanned(t, s, "", raw); (masked != raw) != (len(found) > 0) {
				t.Errorf("%s: %s becomes %s, and the scan says %v", conf, raw, masked, found)
			}
			if found := scanned(t, s, "", masked); len(found) > 0 {
				t.Errorf("%s: the scan finds %v in %s", conf, found, masked)
			}
		}
	}
}

// The scanner stands anything, and says nothing of the values.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{`{"a":[{"b":"ann@example.com"}]}`, "\xff\xfe{\x00", `[[[["a","b"`, `{"ann@example.com":{}}`} {
		f.Add([]byte(seed))
	}
	s, other := scannerOf(f), scannerOf(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		for range 2 {
			s.Value("", raw, func(pointer, _ string) {
				if rawjson.Document(rawjson.AppendString(nil, pointer)) != nil {
					t.Fatalf("pointer %q", pointer)
				}
				for _, part := range strings.Split(pointer, "/") {
					if again := scanned(t, other, "", part); len(again) > 0 && part[0] != '{' && part[0] != '"' {
						t.Fatalf("%q of pointer %q holds %v", part, pointer, again)
					}
				}
			})
		}
	})
}
