package event

import "testing"

func TestEvent_CoordinatesReadWhatTheyWrite(t *testing.T) {
	for _, c := range []Coordinates{{"raw-events", 0, 0}, {"a/b", 29, 1 << 60}, {"t", 1<<31 - 1, 1<<63 - 1}} {
		if got, err := ParseCoordinates(c.String()); err != nil || got != c {
			t.Errorf("%s: got %v (%v)", c, got, err)
		}
	}
	for _, s := range []string{"", "/", "//", "t/1", "t/1/", "t//1", "/1/1", "t/-1/1", "t/1/-1", "t/x/1", "t/1/x",
		"t/4294967296/1"} {
		if got, err := ParseCoordinates(s); err == nil {
			t.Errorf("%q: got %v", s, got)
		}
	}
}
