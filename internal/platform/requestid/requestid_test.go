package requestid

import (
	"strings"
	"testing"
	"time"
)

// A stamp is the time it was asked for, whatever its id says, and says that id.
func TestID_AStampIsOfItsIDAlone(t *testing.T) {
	seen, by := map[string]bool{}, permutation
	now := time.Date(2026, 11, 28, 3, 27, 39, 123456789, time.UTC)
	for i := range uint32(10_000) {
		since := []time.Duration{0, time.Microsecond, 734 * time.Microsecond, 25 * time.Second,
			99*time.Second + 999999*time.Microsecond}[i%5]
		id := made{now.Add(-since).UnixMicro(), i * 97 % numbers}.id(by).String()
		stamp, ok := Stamp(id, now)
		at, err := time.Parse(time.RFC3339, stamp)
		if !ok || err != nil || !at.Truncate(time.Microsecond).Equal(now.Truncate(time.Microsecond)) ||
			Stamped(stamp) != id || seen[stamp] {
			t.Fatalf("%s is of %q (%t, %v), which is of %q", id, stamp, ok, err, Stamped(stamp))
		}
		seen[stamp] = true
	}
	if id := New().String(); !isStamped(id, time.Now().Add(time.Second)) {
		t.Errorf("%s is in no stamp", id)
	}
}

func isStamped(id string, at time.Time) bool {
	stamp, ok := Stamp(id, at)
	return ok && Stamped(stamp) == id
}

func TestID_NoOtherIDHasAStamp(t *testing.T) {
	now, by := time.Now(), permutation
	micros := now.UnixMicro()
	for _, id := range []string{"", "x", "0af7651916cd43dd8448eb211c80319c", strings.Repeat("0", 32),
		strings.Repeat("g", 32), "8c1a2b3c-0af7-4919-96cd-43dd8448eb21", made{micros + 1, 1}.id(by).String(),
		made{micros - sinceMax, 1}.id(by).String(),
		made{micros, numbers}.id(by).String(), made{-micros, 1}.id(by).String(),
		strings.ToUpper(made{micros, 1}.id(by).String())} {
		if stamp, ok := Stamp(id, now); ok {
			t.Errorf("%q is in %q", id, stamp)
		}
	}
	for _, stamp := range []string{"", "2026-11-28T03:27:39.123456Z", "2026-11-28T03:27:39.123456789Z",
		"2026-11-28T03:27:39.123456000001+01:00", "2026-11-28T03:27:39.12345600000aZ", "2026-11-28T03:27:39.12345600000101Z",
		"2026-11-28T03:27:39.123456000001123456789Z", "2026-11-28T03:27:39.123456000001+1Z",
		"2026-11-28T03:27:39,123456000001Z"} {
		if id := Stamped(stamp); id != "" {
			t.Errorf("%q says %q", stamp, id)
		}
	}
}

func FuzzID_AnyTextIsAStampOrNone(f *testing.F) {
	f.Add("2026-11-28T03:27:39.1234560000011234Z")
	f.Add("0001-01-01T00:00:00.000000000001Z")
	f.Fuzz(func(t *testing.T, stamp string) {
		id := Stamped(stamp)
		if id == "" {
			return
		}
		at, err := time.Parse(time.RFC3339, stamp)
		if again, ok := Stamp(id, at); err != nil || !ok || again != stamp {
			t.Errorf("%q says %s, which is in %q: %v", stamp, id, again, err)
		}
	})
}

// The ids of one moment differ everywhere: samplers look at their last bytes.
func TestID_IDsOfAMomentAreFarApart(t *testing.T) {
	by, now, ones := permutation, time.Now().UnixMicro(), [128]int{}
	const n = 4000
	for i := range uint32(n) {
		id := made{now, i}.id(by)
		for i := range 128 {
			ones[i] += int(id[i/8]>>(i%8)) & 1
		}
	}
	for i, k := range ones {
		if k < n/2-n/10 || k > n/2+n/10 {
			t.Errorf("bit %d is set in %d of %d ids", i, k, n)
		}
	}
}

func BenchmarkID_Stamp(b *testing.B) {
	id := New().String()
	at := time.Now()
	for b.Loop() {
		if _, ok := Stamp(id, at); !ok {
			b.Fatal(id)
		}
	}
}
