package overview

import (
	"context"
	"slices"
	"strings"
	"time"

	"weir/plugins/operate/reconcile"
)

// wholeEvery is how often duplicates are compared with their originals, as `weir reconcile` does; other runs are
// quicker glances.
const wholeEvery = 5 * time.Minute

// balance computes the equation. It must not be used concurrently.
type balance struct {
	reconciler *reconcile.Reconciler
	whole      time.Time // start of the last complete run
}

// weigh runs the reconciler, which keeps what it has read, so that only the first run is expensive.
func (b *balance) weigh(ctx context.Context) (*reconcile.Report, error) {
	began := time.Now()
	glance := began.Sub(b.whole) < wholeEvery
	report, err := b.reconciler.Run(ctx, reconcile.Options{Glance: glance})
	if err == nil && !glance {
		b.whole = began
	}
	return report, err
}

func equationOf(r *reconcile.Report, now time.Time) *Equation {
	e := &Equation{Stamp: stamp(r.At, now), Counts: r.Total, Balanced: !r.Loss(),
		Problems: append([]string{}, r.Problems...), Topics: []Topic{}}
	for _, p := range r.Partitions {
		i := slices.IndexFunc(e.Topics, func(t Topic) bool { return t.Topic == p.Topic })
		if i < 0 {
			i = len(e.Topics)
			e.Topics = append(e.Topics, Topic{Topic: p.Topic})
		}
		e.Topics[i].Add(p.Counts)
	}
	slices.SortFunc(e.Topics, func(a, b Topic) int { return strings.Compare(a.Topic, b.Topic) })
	return e
}
