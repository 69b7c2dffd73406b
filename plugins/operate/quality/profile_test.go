package quality

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"weir/internal/event"
)

// some are events of many fields, some odd.
func some(n int, r *rand.Rand) []sample {
	events := make([]sample, n)
	for i := range events {
		e := sample{Firmware: fmt.Sprintf("2.%d.0", r.IntN(3))}
		for m := range 3 {
			e.Metrics = append(e.Metrics, event.Metric{Name: fmt.Sprintf("m%d", m), Value: math.Round(r.NormFloat64() * 100)})
		}
		if r.IntN(10) == 0 {
			e.Flags = event.FlagLate
		}
		if r.IntN(7) == 0 {
			e.Unknown = "m9"
		}
		e.Diagnostics = fmt.Appendf(nil, `{"k%d":%s,"user":"user-%d@example.com","n":%d}`, r.IntN(1000),
			[]string{"null", "true", `"x"`, "{}", "[]", "1.5"}[r.IntN(6)], r.IntN(50), i)
		events[i] = e
	}
	return events
}

func profileOf(t *testing.T, hidden func(string) bool, events ...sample) *Profile {
	t.Helper()
	l, err := newLook(newProfile(), hidden)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		l.Add(&e)
	}
	return l.into
}

func encoded(t *testing.T, p *Profile) string {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// In whatever order events come, and however they are split and merged, the profile
// is the same, also where there are more fields and shapes than are kept.
func TestProfile_NoOrderAndNoSplitShows(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		events := some(1500, r)
		want := encoded(t, profileOf(t, nil, events...))
		r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		whole := newProfile()
		for len(events) > 0 {
			n := 1 + r.IntN(len(events))
			whole.Merge(profileOf(t, nil, events[:n]...))
			events = events[n:]
		}
		if got := encoded(t, whole); got != want {
			t.Fatalf("seed %d: the profiles differ", seed)
		}
		var back Profile
		if err := json.Unmarshal([]byte(want), &back); err != nil {
			t.Fatal(err)
		}
		if got := encoded(t, &back); got != want {
			t.Fatalf("seed %d: a stored profile is another", seed)
		}
	}
}

// No text of an event is in a profile, and nothing of a field that is hidden but how
// often it is there; memory is bounded.
func TestProfile_KeepsNoTextAndIsBounded(t *testing.T) {
	events := append(some(5000, rand.New(rand.NewPCG(1, 1))),
		sample{Extra: fmt.Appendf(nil, `{%q:1}`, strings.Repeat("x", 300))})
	p := profileOf(t, func(pointer string) bool { return pointer == "/metrics/m1" || pointer == "/diagnostics/n" },
		events...)
	raw := encoded(t, p)
	if strings.Contains(raw, "user-") || strings.Contains(raw, "example") {
		t.Error("the profile has texts")
	}
	if len(p.Fields) > fieldsMost || !p.More || len(raw) > 1<<20 {
		t.Errorf("%d fields, %d bytes", len(p.Fields), len(raw))
	}
	for _, path := range []string{"/metrics/m1", "/diagnostics/n"} {
		if f := p.Fields[path]; f != nil && (f.Numbers != 5000 || f.Of.Sketch != nil || f.Min != 0 || f.Max != 0) {
			t.Errorf("%s is hidden, and has %+v", path, f)
		}
	}
	for text, want := range map[string]string{"user-12@example.com": "a-9@a.a", "Ada Lovelace": "A A", "": "",
		"2.1.0": "9.9.9", "DE89 3704": "A9 9", "\x00\x1b": "  ", "été": "a",
		strings.Repeat("a-", 40): strings.Repeat("a-", 12) + "…"} {
		if got := shapeOf(text); got != want {
			t.Errorf("%q has the shape %q, want %q", text, got, want)
		}
	}
}

// Members of members are fields, too, to a depth; a name that is personal data itself
// is kept nowhere, and neither are values below it.
func TestProfile_NamesWithinNamesButNoPersonalOnes(t *testing.T) {
	deep := strings.Repeat(`{"d":`, 30) + "1" + strings.Repeat("}", 30)
	p := profileOf(t, func(pointer string) bool { return pointer == "/user/name" },
		sample{Extra: []byte(`{"user":{"name":"Ada","plan":"Gold 7","geo":{"lat":1.5}},"a/b":{"c~d":null}}`)},
		sample{Extra: []byte(`{"by":{"ada@example.com":{"n":4},"+49 30 901820":7,"4111111111111111":[1]},"deep":` + deep + `}`)},
		sample{Metrics: []event.Metric{{Name: "ada@example.com", Value: 3}}})
	raw := encoded(t, p)
	for _, gone := range []string{"ada", "Ada", "Gold", "901820", "4111"} {
		if strings.Contains(raw, gone) {
			t.Errorf("the profile has %s: %s", gone, raw)
		}
	}
	for path, want := range map[string]Field{"/user": {Objects: 1}, "/user/name": {Texts: 1}, "/user/geo": {Objects: 1},
		"/a~1b": {Objects: 1}, "/a~1b/c~0d": {Nulls: 1}, "/by": {Objects: 1}, "/by/*": {Objects: 1, Numbers: 1, Lists: 1},
		"/by/*/n": {Numbers: 1}, "/metrics/*": {Numbers: 1}, "/deep/d/d/d/d": {Objects: 1}} {
		if f := p.Fields[path]; f == nil || !reflect.DeepEqual(*f, want) {
			t.Errorf("%s is %+v, want %+v", path, f, want)
		}
	}
	if f := p.Fields["/user/plan"]; f == nil || f.As["A 9"] != 1 || !p.More || p.Fields["/deep/d/d/d/d/d"] != nil {
		t.Errorf("%+v, more %v: %s", f, p.More, raw)
	}
	if f := p.Fields["/user/geo/lat"]; f == nil || f.Min != 1.5 || f.Max != 1.5 {
		t.Errorf("%+v", f)
	}
}

func TestScore_SaysWhatIsWrong(t *testing.T) {
	number := func(n int64) *Field { return &Field{Numbers: n} }
	good := &Profile{Events: 100, Fields: map[string]*Field{"/metrics/a": number(100), "/metrics/rare": number(3)}}
	for name, c := range map[string]struct {
		p, before *Profile
		a         account
		want      [5]float64 // complete, valid, timely, unique, consistent; -1 is null
	}{
		"all is well":   {p: good, want: [5]float64{1, 1, 1, 1, 1}},
		"refused":       {p: good, a: account{Refused: 100}, want: [5]float64{1, 0.5, 1, 1, 1}},
		"repeated":      {p: good, a: account{Repeats: 300}, want: [5]float64{1, 1, 1, 0.25, 1}},
		"nobody counts": {p: good, a: account{Repeats: -1}, want: [5]float64{1, 1, 1, -1, 1}},
		"late": {p: &Profile{Events: 10, Late: 2, Ahead: 3, Fields: map[string]*Field{"/a": number(10)}},
			want: [5]float64{1, 1, 0.5, 1, 1}},
		"a field went": {p: &Profile{Events: 100, Fields: map[string]*Field{"/metrics/b": number(100)}}, before: good,
			want: [5]float64{0, 1, 1, 1, 1}},
		"half is null": {p: &Profile{Events: 100, Fields: map[string]*Field{"/metrics/a": {Numbers: 50, Nulls: 50}}},
			before: good, want: [5]float64{0.5, 1, 1, 1, 1}},
		"other kinds": {p: &Profile{Events: 4, Fields: map[string]*Field{"/a": {Numbers: 3, Texts: 1}}},
			want: [5]float64{1, 1, 1, 1, 0.75}},
		"unknown metrics": {p: &Profile{Events: 4, Unknown: 1, Fields: map[string]*Field{"/a": number(4)}},
			want: [5]float64{1, 1, 1, 1, 0.75}},
		"nothing stored": {p: newProfile(), a: account{Refused: 3}, want: [5]float64{-1, 0, -1, -1, -1}},
	} {
		s := scoreOf(c.p, c.before, c.a)
		sum, n := 0.0, 0
		for i, part := range []*float64{s.Complete, s.Valid, s.Timely, s.Unique, s.Consistent} {
			got := -1.0
			if part != nil {
				got = *part
				sum += got
				n++
			}
			if math.Abs(got-c.want[i]) > 1e-9 {
				t.Errorf("%s: part %d is %v, want %v", name, i, got, c.want[i])
			}
		}
		if s.Score == nil || math.Abs(*s.Score-sum/float64(n)) > 1e-9 {
			t.Errorf("%s: the score is %v", name, s.Score)
		}
	}
	if s := scoreOf(newProfile(), nil, account{}); !reflect.DeepEqual(s, score{}) {
		t.Errorf("of nothing: %+v", s)
	}
}

func TestView_TellsOfDrift(t *testing.T) {
	of := func(center float64, with bool) *Profile {
		var events []sample
		for i := range 200 {
			e := sample{Firmware: "2.1.0", Metrics: []event.Metric{{Name: "t", Value: center + float64(i%20)}}}
			if with {
				e.Metrics = append(e.Metrics, event.Metric{Name: "u", Value: 1})
			}
			events = append(events, e)
		}
		return profileOf(t, nil, events...)
	}
	list := viewOf(of(100, true), of(60, false))
	by := map[string]fieldView{}
	for _, v := range list {
		by[v.Pointer] = v
	}
	if d := by["/metrics/t"].Drift; d == nil || d.Median == nil || *d.Median < 1.5 || *d.Median > 3 || d.New ||
		d.NullRate != 0 {
		t.Errorf("a median that moved by two widths: %+v", d)
	}
	if d := by["/metrics/u"].Drift; d == nil || !d.New || d.NullRate != -1 {
		t.Errorf("a new field: %+v", d)
	}
	if v := by["/device_firmware_version"]; v.Kind != "text" || len(v.Shapes) != 1 ||
		v.Shapes[0] != (shapeCount{"9.9.9", 200}) {
		t.Errorf("the firmware: %+v", v)
	}
	if v := by["/metrics/t"]; *v.Min != 100 || *v.Max != 119 || math.Abs(*v.Mean-109.5) > 1e-9 ||
		*v.P50 < 107 || *v.P50 > 112 {
		t.Errorf("the numbers: %+v", v)
	}
}
