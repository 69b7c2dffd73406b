package flow

import (
	"context"
	"time"
)

// Aside makes work that nobody waits for, such as merging small objects, let requests of the same process pass. Its
// nil does not.
type Aside struct {
	ctx  context.Context // ends waits
	line *Line
}

// asideRows is how many rows a second such work goes over while requests wait for a core: it never ends altogether.
const asideRows = 5_000

type asideKey struct{}

// WithAside returns a context for work that is to let the requests of a line pass. What does the work asks for it by
// AsideOf.
func WithAside(ctx context.Context, line *Line) context.Context {
	return context.WithValue(ctx, asideKey{}, line)
}

// AsideOf returns what WithAside has put into a context, nil if it has not.
func AsideOf(ctx context.Context) *Aside {
	line, _ := ctx.Value(asideKey{}).(*Line)
	if line == nil {
		return nil
	}
	return &Aside{ctx, line}
}

// Step notes that the work has gone over some rows. While requests wait for a core it blocks, for at most as long as
// asideRows allows for these rows, or until the context ends.
func (a *Aside) Step(rows int) {
	if a != nil {
		a.line.LetPass(a.ctx, time.Duration(rows)*time.Second/asideRows)
	}
}
