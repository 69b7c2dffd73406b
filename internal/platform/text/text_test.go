package text

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
)

func TestText_TimesAreRFC3339(t *testing.T) {
	for s, want := range map[string]string{
		"2026-11-21T09:30:00Z":                "2026-11-21T09:30:00Z",
		"2026-11-21t09:30:00z":                "2026-11-21T09:30:00Z",
		"2026-11-21T09:30:00.123456789Z":      "2026-11-21T09:30:00.123456789Z",
		"2026-11-21T09:30:00.1234567899999Z":  "2026-11-21T09:30:00.123456789Z",
		"2026-11-21T09:30:00+05:30":           "2026-11-21T04:00:00Z",
		"2026-11-21T09:30:00.5-08:00":         "2026-11-21T17:30:00.5Z",
		"2026-11-21T00:10:00+00:20":           "2026-11-20T23:50:00Z",
		"2024-02-29T23:59:59Z":                "2024-02-29T23:59:59Z",
		"2000-02-29T00:00:00-00:00":           "2000-02-29T00:00:00Z",
		"0001-01-01T00:00:00Z":                "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999Z":            "9999-12-31T23:59:59.999Z",
		"2016-12-31T23:59:60Z":                "2017-01-01T00:00:00Z",
		"2017-01-01T00:59:60.25+01:00":        "2017-01-01T00:00:00.25Z",
		"1969-12-31T23:59:59.9Z":              "1969-12-31T23:59:59.9Z",
		"2026-11-21T23:59:59.000000000+23:59": "2026-11-21T00:00:59Z",
	} {
		got, ok := ParseTime(s)
		instant, ok2 := ParseInstant(s)
		if !ok || !ok2 || got.UTC().Format(time.RFC3339Nano) != want || !instant.Equal(got) ||
			instant.Location() != time.UTC {
			t.Errorf("%s: got %v (%v), %v (%v)", s, got, ok, instant, ok2)
		}
	}
	if got, _ := ParseTime("2026-11-21T09:30:00+05:30"); got.Format(time.RFC3339) != "2026-11-21T09:30:00+05:30" {
		t.Errorf("the zone is lost: %v", got)
	}
	for _, s := range []string{"", "2026-11-21", "2026-11-21T09:30:00", "2026-11-21 09:30:00Z", "2026-11-21T09:30Z",
		"2026-11-21T9:30:00Z",
		"2026-11-21T09:30:00,5Z", "2026-11-21T09:30:00.Z", "2026-11-21T09:30:00.5", "2026-11-21T24:00:00Z",
		"2026-11-21T23:60:00Z", "2026-11-21T23:59:61Z",
		"2026-11-21T12:00:60Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-11-31T00:00:00Z",
		"2026-11-00T00:00:00Z", "2026-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z", "0000-01-01T00:00:00Z", "2026-11-21T09:30:00+24:00", "2026-11-21T09:30:00+01:60",
		"2026-11-21T09:30:00+0100",
		"2026-11-21T09:30:00+01", "2026-11-21T09:30:00ZZ", "2026-11-21T09:30:00Z ", " 2026-11-21T09:30:00Z",
		"2026-11-21T09:30:00U", "2026-11-21T+9:30:00Z",
		"2026-1 -21T09:30:00Z", "-026-11-21T09:30:00Z", "20260-11-21T09:30:00Z", "２026-11-21T09:30:00Z",
		"2026-11-21T09:30:00−01:00"} {
		if got, ok := ParseTime(s); ok {
			t.Errorf("%q: accepted as %v", s, got)
		}
	}
}

var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$`)

// FuzzParseTime compares with the time package, which knows no leap second,
// no lower case and no comma that RFC 3339 would know.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2026-11-21T09:30:00Z", "2024-02-29T23:59:60.5-07:00", "2026-11-21t09:30:00.123+05:30",
		"0000-00-00T00:00:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseTime(s)
		if ok && !rfc3339.MatchString(s) {
			t.Fatalf("%q: accepted", s)
		}
		if len(s) > 18 && s[17:19] == "60" {
			return
		}
		want, err := time.Parse(time.RFC3339Nano, strings.ToUpper(s))
		if !rfc3339.MatchString(s) {
			return
		}
		if hour := s[len(s)-1]; hour != 'Z' && hour != 'z' && s[len(s)-5:len(s)-3] > "23" {
			return // the time package lets 24 pass
		}
		if ok != (err == nil && want.Year() >= 1) || ok && !got.Equal(want) {
			t.Fatalf("%q: got %v (%v), the time package says %v (%v)", s, got, ok, want, err)
		}
	})
}

func TestText_EveryDayOfTheCalendarIsRead(t *testing.T) {
	day := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	for day.Year() < 2600 {
		s := day.Format(time.RFC3339)
		if got, ok := ParseInstant(s); !ok || !got.Equal(day) {
			t.Fatalf("%s: got %v (%v)", s, got, ok)
		}
		if s[8:10] == "28" { // and no day that does not exist
			for _, d := range []string{"29", "30", "31", "32"} {
				s := s[:8] + d + s[10:]
				_, err := time.Parse(time.RFC3339, s)
				if _, ok := ParseInstant(s); ok != (err == nil) {
					t.Fatalf("%s: accepted is %v", s, ok)
				}
			}
		}
		day = day.AddDate(0, 0, 1)
	}
}

func TestText_UUIDsAreReadInAnyCase(t *testing.T) {
	for range 1000 {
		u := uuid.Must(uuid.NewV4())
		for _, s := range []string{u.String(), strings.ToUpper(u.String())} {
			if got, ok := ParseUUID(s); !ok || got != [16]byte(u) {
				t.Fatalf("%s: got %x (%v)", s, got, ok)
			}
		}
	}
	good := "6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b"
	for _, s := range []string{"", good[:35], good + "0", "{" + good[1:35] + "}", "6f1c2a349-b7d-4e21-8a55-0c1d2e3f4a5b",
		strings.ReplaceAll(good, "-", ""), "urn:uuid:" + good} {
		if _, ok := ParseUUID(s); ok {
			t.Errorf("%q: accepted", s)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 100_000 { // one byte changed to anything
		b := []byte(good)
		at, c := r.IntN(len(b)), byte(r.IntN(256))
		b[at] = c
		want := c == '-'
		if good[at] != '-' {
			want = strings.IndexByte("0123456789abcdefABCDEF", c) >= 0
		}
		if _, ok := ParseUUID(string(b)); ok != want {
			t.Fatalf("%q: accepted is %v", b, ok)
		}
	}
}

func BenchmarkParseTime(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := ParseTime("2026-11-21T09:30:00.123Z"); !ok {
			b.Fatal("refused")
		}
	}
}

func BenchmarkTimePackage(b *testing.B) {
	for b.Loop() {
		if _, err := time.Parse(time.RFC3339Nano, "2026-11-21T09:30:00.123Z"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseUUID(b *testing.B) {
	for b.Loop() {
		if _, ok := ParseUUID("6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b"); !ok {
			b.Fatal("refused")
		}
	}
}
