package event

import (
	"strings"
	"testing"

	"weir/internal/platform/rawjson"
)

// all reads all fields, and keeps nothing.
func all(raw []byte) rawjson.Field {
	return func(_ []byte, _ bool, i int) (int, error) { return rawjson.Value(raw, i, 1) }
}

// What is skimmed is an event, and what it is known by is what Parse says.
func FuzzSkim(f *testing.F) {
	for _, raw := range []string{sample, ` ` + sample + ` `, strings.ReplaceAll(sample, `":`, `" : `),
		strings.ReplaceAll(sample, ",", "\n,\t"), strings.Replace(sample, "Z", "+05:30", 1),
		strings.Replace(sample, `{"cpu_temp":61.25,`, `{ `, 1), strings.Replace(sample, "61.25", "-6.1e2", 1),
		strings.Replace(sample, "61.25", "{}", 1), strings.Replace(sample, "61.25", "null", 1),
		strings.Replace(sample, "61.25", `"61"`, 1), strings.Replace(sample, "61.25", "1e999", 1),
		strings.Replace(sample, `"2.4.1"`, `""`, 1), strings.Replace(sample, `"2.4.1"`, `2`, 1),
		strings.Replace(sample, "device-0042", `device\u002d0042`, 1), strings.Replace(sample, "event_id", `event\u005fid`, 1),
		strings.Replace(sample, "metrics", "metric", 1), strings.Replace(sample, `{"uptime_s":86400,"rssi":-61}`, "null", 1),
		sample[:40], sample + "x", `[]`, `{}`, ``} {
		f.Add([]byte(raw))
	}
	var e, want Event
	f.Fuzz(func(t *testing.T, raw []byte) {
		skimmed, err := Skim(raw, &e, all(raw)), Parse(raw, &want)
		if !skimmed {
			return
		}
		if err != nil {
			t.Fatalf("%q: skimmed, and refused: %v", raw, err)
		}
		if e.ID != want.ID || e.UUID != want.UUID || e.Device != want.Device || e.Firmware != want.Firmware ||
			e.TimeText != want.TimeText || !e.Time.Equal(want.Time) {
			t.Fatalf("%q: %+v, not %+v", raw, e, want)
		}
	})
}

// What devices send is skimmed, and nothing is allocated for it.
func TestSkim_IsTrueOfWhatDevicesSend(t *testing.T) {
	var e Event
	for _, raw := range []string{sample, strings.ReplaceAll(sample, `":`, `": `), strings.Replace(sample, "Z", "+05:30", 1),
		strings.Replace(sample, `{`, `{"site":{"a":[1,"\n"]},`, 1)} {
		b := []byte(raw)
		read := all(b)
		if n := testing.AllocsPerRun(10, func() {
			if !Skim(b, &e, read) {
				t.Fatalf("%s is not skimmed", raw)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkSkim(b *testing.B) {
	raw := []byte(sample)
	var e Event
	read := all(raw)
	b.ReportAllocs()
	for b.Loop() {
		if !Skim(raw, &e, read) {
			b.Fatal("it is an event")
		}
	}
}
