package schemadoc

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// recordedPatterns is what testdata/patterns.js wrote.
type recordedPatterns struct {
	Of       string
	Texts    []string
	Patterns []struct {
		Pattern string
		U       bool  // it is one with the flag u
		Matches []int // the texts that it matches; nil: it is refused by ECMA-262
	}
}

// TestPattern_SaysWhatECMASays holds every pattern that is taken to the recorded
// answers of an ECMA-262 engine, and every one that is refused to its reason.
func TestPattern_SaysWhatECMASays(t *testing.T) {
	raw, err := os.ReadFile("testdata/patterns.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded recordedPatterns
	if err := json.Unmarshal(raw, &recorded); err != nil {
		t.Fatal(err)
	}
	taken := 0
	for _, p := range recorded.Patterns {
		re, err := Pattern(p.Pattern)
		switch {
		case err != nil && p.U && !slices.ContainsFunc([]string{"lookahead", "lookbehind", "back reference"},
			func(s string) bool {
				return strings.Contains(err.Error(), s)
			}):
			t.Errorf("%s is of ECMA-262 and can be matched: %v", p.Pattern, err)
		case err == nil && p.Matches == nil:
			t.Errorf("%s is refused by %s, and was read as %s", p.Pattern, recorded.Of, re)
		case err == nil:
			taken++
			for i, text := range recorded.Texts {
				if got := re.MatchString(text); got != slices.Contains(p.Matches, i) {
					t.Errorf("%s matches %.40q: %v, and %s says %v (read as %.200s)", p.Pattern, text, got, recorded.Of, !got, re)
				}
			}
		}
	}
	if taken < 70 {
		t.Errorf("only %d patterns were compared", taken)
	}
}

func TestPattern_RefusalsNameWhatCannotBeRead(t *testing.T) {
	for pattern, want := range map[string]string{
		`^(?!x)`: "negative lookahead", `(?=x)`: "lookahead", `(?<=x)`: "lookbehind", `(?<!x)`: "negative lookbehind",
		`(a)\1`: "back reference", `^(?:a{0,100}){0,90}$`: "4000 where one is within another", `\k<a>`: "back reference",
		`(?i)a`: "flags", `\Aa`: `\A is no escape`, `\ud83d`: "half a character",
		`\p{Alphabetic}`:            `\p{Alphabetic} is not supported`,
		`^([a-z]{0,2000}){0,2000}$`: "20000 steps", `a{99999999999999999999}`: "20000 steps",
		strings.Repeat("(", 300) + strings.Repeat(")", 300): "200 groups",
	} {
		if _, err := Pattern(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v does not say %q", pattern, err, want)
		}
	}
}

// TestPattern_LargeCountsAreMatchedInLinearTime matches the longest strings that
// an event may hold, and an eighth of them: what is linear takes eight times as
// long, what is quadratic 64 times.
func TestPattern_LargeCountsAreMatchedInLinearTime(t *testing.T) {
	long := strings.Repeat("a", 8<<10)
	for _, pattern := range []string{`^[a-z]{0,9000}$`, `(?:a{0,50}){0,4}b$`, `a{0,200}a{0,200}b$`} {
		re, err := Pattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		quickest := func(text string) time.Duration {
			best := time.Duration(math.MaxInt64)
			for range 3 {
				start := time.Now()
				re.MatchString(text)
				best = min(best, time.Since(start))
			}
			return best
		}
		part, whole := quickest(long[:1<<10]), quickest(long)
		t.Logf("%s: %s, an eighth %s", pattern, whole, part)
		if whole > 24*part+10*time.Millisecond {
			t.Errorf("%s: %s, and an eighth of it takes %s", pattern, whole, part)
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, p := range []string{`^[a-z]{0,2000}$`, `[\w-.]`, `\p{Letter}`, `(?<a>b)|c*?`, `\cA\u{41}`} {
		f.Add(p, "abc")
	}
	f.Fuzz(func(_ *testing.T, pattern, text string) {
		if re, err := Pattern(pattern); err == nil {
			re.MatchString(text)
		}
	})
}

// What would hold whoever registers a schema, or its process, is refused before
// anything is compiled.
func TestCheck_RefusesWhatCostsTooMuch(t *testing.T) {
	wide := make([]string, 500)
	for i := range wide {
		wide[i] = fmt.Sprintf("a{0,900}b%d", i)
	}
	var many, deep strings.Builder
	for i := range 200 {
		fmt.Fprintf(&many, `"p%d": {"pattern": "a{0,900}"},`, i)
	}
	tree := `{}`
	for range 12 {
		tree = `{"oneOf":[` + tree + `,{"anyOf":[` + tree + `,{"type":"string"}]}]}`
	}
	deep.WriteString(tree)
	for name, schema := range map[string]string{
		"alternatives": `{"pattern": "` + strings.Join(wide, "|") + `"}`,
		"patterns":     `{"properties": {` + many.String() + `"q": {}}}`,
		"names":        `{"patternProperties": {"` + strings.Join(wide, `": {}, "`) + `": {}}}`,
		"objects":      deep.String(),
	} {
		began := time.Now()
		err := Check([]byte(schema))
		if err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%s: refused after %s", name, took)
		}
	}
}
