package reconcile

import (
	"context"
	"fmt"
	"io"

	"weir/plugins/store/raw"
)

// enrichedMost bounds the rows of events that a run reads, unless it is deep, to compare
// what was found out about them later. What is left is for the next run.
const enrichedMost = 1_000_000

// addEnriched compares what was found out later with its events. A row that is of none is
// a problem.
func (r *Report) addEnriched(ctx context.Context, check *raw.LaterCheck, deep bool) (err error) {
	most := int64(enrichedMost)
	if deep {
		most = 0
	}
	if r.Enriched, err = check.Run(ctx, most); err != nil || r.Enriched == nil {
		return err
	}
	for _, d := range r.Enriched.Differences {
		r.Problems = append(r.Problems, d.String())
	}
	if more := r.Enriched.Differing - int64(len(r.Enriched.Differences)); more > 0 {
		r.Problems = append(r.Problems, fmt.Sprintf("so it is with %d rows more of what look-ups said later", more))
	}
	return nil
}

// writeEnriched writes what became of these rows.
func (r *Report) writeEnriched(w io.Writer) error {
	e := r.Enriched
	if e == nil {
		return nil
	}
	text := fmt.Appendf(nil, "%d rows of what look-ups said later compared with their events: %d right", e.Rows, e.Right)
	for _, part := range []struct {
		n    int64
		what string
	}{{e.Repeated, "repeated"}, {e.Erased, "of events that were erased"}, {e.Expired, "of events whose time is over"},
		{e.Unknown, "of events that are lost or whose time is over (--deep finds out)"}} {
		if part.n > 0 {
			text = fmt.Appendf(text, ", %d %s", part.n, part.what)
		}
	}
	text = fmt.Appendf(text, ", %d differing", e.Differing)
	if e.Unread > 0 {
		text = fmt.Appendf(text, "; %d objects were not read: --deep reads all", e.Unread)
	}
	_, err := w.Write(append(text, '\n'))
	return err
}
