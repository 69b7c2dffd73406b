package privacy

import (
	"math/rand/v2"
	"strings"
	"testing"

	"weir/internal/platform/rawjson"
)

// pieces are what personal data, and what is like it, is made of.
var pieces = []string{"a", "b@", "@c.de", ".", "1", "23", "456", "7890", "4111", "1111", " ", "-", "+49", "(0)", ":",
	"::", "db8", "DE89",
	"3704", "0044", "0532", "0130", "00", "%40", "%", "&#64;", "&", "=", "?", "email=", "password=", "\u200b", "＠", "４",
	"é", "1.2.3.4",
	"078-05-1120", "ann@x.io", "[email]", "[", "]", "pii-email-k1-", "ab", "{", "}", ",", "/", "x", "'", "order", "\\\"",
	"\\u0040", "\\\\",
	"\\n", "{\\\"a\\\":\\\"", "\\\"}", "2026-11-27T09:15", "tok-ip-k2-abab", "202-555-0143"}

var memberNames = []string{"a", "b", "ip", "email", "password", "ann@x.io", "bob@x.io", "[email]", "x", "y", "z",
	"order_id", "phone",
	"device_id", "metrics", "\\u0061", "[email]:2", "1.2.3.4"}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(9) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func randomValue(r *rand.Rand, depth int) string {
	switch n := r.IntN(9); {
	case n < 4 || depth > 3:
		return `"` + randomText(r) + `"`
	case n == 4:
		return []string{"1", "-0.0", "1e5", "4111111111111111", "491511234567", "true", "null", "12345"}[r.IntN(8)]
	case n == 5:
		var parts []string
		for range r.IntN(4) {
			parts = append(parts, randomValue(r, depth+1))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	var parts []string
	for _, k := range r.Perm(len(memberNames))[:r.IntN(5)] {
		parts = append(parts, ` "`+memberNames[k]+`" :`+randomValue(r, depth+1))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// Whatever comes in: JSON stays JSON, a second pass changes nothing, and clean
// walkers agree with used ones. FuzzPrivacy looks further.
func TestPrivacy_ASecondPassChangesNothing(t *testing.T) {
	configs := []string{"{}", `
actions: { ip: drop, secret: drop, email: hash, card: tokenise, phone: drop }
fields: { /x: drop, /y/*: hash, /z: keep, /a/b: email }
keys: ` + testKeys, "{ action: drop }"}
	var walkers []*walker
	for _, c := range configs {
		walkers = append(walkers, walkerOf(t, c))
	}
	r := rand.New(rand.NewPCG(1, 2))
	valid := 0
	for range 20_000 {
		raw := randomValue(r, 0)
		if r.IntN(5) == 0 && len(raw) > 2 { // cut off, or with something in it
			at := r.IntN(len(raw))
			raw = raw[:at] + randomText(r) + raw[min(len(raw), at+r.IntN(3)):]
		}
		is := rawjson.Document([]byte(raw)) == nil
		if is {
			valid++
		}
		for n, w := range walkers {
			once := string(w.bytes([]byte(raw)))
			if twice := string(w.bytes([]byte(once))); twice != once {
				t.Fatalf("config %d: %q\nonce  %q\ntwice %q", n, raw, once, twice)
			}
			if err := rawjson.Document([]byte(once)); is && err != nil {
				t.Fatalf("config %d: %q\nbecame %q: %v", n, raw, once, err)
			}
			anew := &walker{p: w.p, root: w.root, keys: w.keys, known: map[string]named{}}
			if fresh := string(anew.bytes([]byte(raw))); fresh != once {
				t.Fatalf("config %d: %q\nis %q once, %q for a new walker", n, raw, once, fresh)
			}
		}
	}
	if valid < 10_000 {
		t.Fatalf("only %d of the texts were JSON", valid)
	}
}
