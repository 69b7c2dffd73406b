package flow

import (
	"context"
	"sync/atomic"
	"time"
)

// Aside makes work that nobody waits for, such as merging small objects, let requests of the same process pass. Its
// nil does not.
type Aside struct {
	ctx context.Context // ends waits
	*aside
}

// aside is what all steps of a piece of work share.
type aside struct {
	line   *Line
	waited atomic.Int64 // time.Duration
}

// While requests wait for a core, such work goes over asideRows a second. When it has waited for asideMost, it goes
// over asideFaster: a peak that lasts for hours brings less than that to two cores, so the work does not fall behind.
const (
	asideRows   = 5_000
	asideFaster = 25_000
	asideMost   = 5 * time.Minute
)

type asideKey struct{}

// WithAside returns a context for work that is to let the requests of a line pass. What does the work asks for it by
// AsideOf.
func WithAside(ctx context.Context, line *Line) context.Context {
	return context.WithValue(ctx, asideKey{}, &aside{line: line})
}

// AsideOf returns what WithAside has put into a context, nil if it has not.
func AsideOf(ctx context.Context) *Aside {
	a, _ := ctx.Value(asideKey{}).(*aside)
	if a == nil {
		return nil
	}
	return &Aside{ctx, a}
}

// Waiting reports whether requests wait for a core now: what can be done another time is not begun then.
func (a *Aside) Waiting() bool { return a != nil && a.line.long() }

// Step notes that the work has gone over some rows. While requests wait for a core it blocks, for at most as long as
// asideRows or asideFaster allows for these rows, or until the context ends.
func (a *Aside) Step(rows int) {
	if a == nil {
		return
	}
	rate := asideRows
	if time.Duration(a.waited.Load()) >= asideMost {
		rate = asideFaster
	}
	a.waited.Add(int64(a.line.LetPass(a.ctx, time.Duration(rows)*time.Second/time.Duration(rate))))
}
