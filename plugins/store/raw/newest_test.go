package raw

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Whatever is asked for, the newest come, the newest first, each as it was sent.
func TestReader_TheNewestEventsAreFound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	o, rows := history(t, random, "")
	for _, q := range []Query{{}, {Fleet: "other"}, {Devices: []string{"d01", "d07"}}} {
		q.From, q.To = noon.Add(-time.Hour), noon.Add(61*time.Hour)
		var want []*Row
		for _, r := range rows {
			if (q.Fleet == "" || r.Fleet == q.Fleet) && (q.Devices == nil || slices.Contains(q.Devices, r.Device)) {
				want = append(want, r)
			}
		}
		slices.SortStableFunc(want, func(a, b *Row) int { return int(b.At - a.At) })
		for _, most := range []int{1, 7, 50, len(want), len(want) + 10} {
			got, whole, err := NewReader(o.Store).Newest(t.Context(), q, most)
			if err != nil || !whole || len(got) != min(most, len(want)) {
				t.Fatalf("%d of %d: %d events, whole %v, %v", most, len(want), len(got), whole, err)
			}
			for i, e := range got {
				if !e.At.Equal(time.UnixMicro(want[i].At)) {
					t.Fatalf("%d of %d: the %d. is of %s, want %s", most, len(want), i, e.At, time.UnixMicro(want[i].At))
				}
			}
			sent, err := want[0].AppendJSON(nil)
			if err != nil || got[0].Fleet != want[0].Fleet || !sameJSON(t, got[0].JSON, sent) {
				t.Fatalf("the newest is %s, want %s: %v", got[0].JSON, sent, err)
			}
		}
	}
}

// A time that is over is no error: what was found until then is a smaller sample.
func TestReader_TheNewestEventsAreReadWithinATime(t *testing.T) {
	o, _ := history(t, rand.New(rand.NewPCG(1, 2)), "")
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	got, whole, err := NewReader(o.Store).Newest(ctx, Query{From: noon, To: noon.Add(61 * time.Hour)}, 10)
	if err != nil || whole || len(got) > 10 {
		t.Fatal(len(got), whole, err)
	}
}

// Large events are fewer.
func TestReader_TheNewestEventsHaveABoundOnBytes(t *testing.T) {
	n := &newest{most: 1 << 20}
	size := 0
	for i := range 60 {
		r := &Row{Fleet: "f", At: int64(i+1) * 1e6, Device: fmt.Sprintf("%01048576d", i)} // a MiB
		if err := n.add(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range n.events {
		size += len(e.JSON)
		if e.At.Before(time.Unix(25, 0)) {
			t.Errorf("an event of %s was kept, and newer ones were not", e.At)
		}
	}
	if size > newestBytes || len(n.events) < 25 || !n.cut {
		t.Errorf("%d events of %d bytes are kept", len(n.events), size)
	}
}
