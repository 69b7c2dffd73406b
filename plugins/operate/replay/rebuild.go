package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/plugins/operate/recount"
)

const (
	// about so many are collected before windows are replaced; what a second takes, beside live traffic
	rebuildEvents = 20_000
	rebuildTries  = 4      // for windows whose events are still on their way into the raw store
	leftMost      = 10_000 // windows that are tried again
	leftShown     = 20
)

// rebuild replaces the windows of a range by what the raw store has of them. A
// window that counts events which are not stored yet is left, tried again a few
// times, and then reported.
func (r *run) rebuild(ctx context.Context) (err error) {
	if r.schemas != nil { // today's: a metric that they have learned since is counted from here on
		if r.today, err = r.schemas(ctx); err != nil {
			return fmt.Errorf("rebuilding windows: %w", err)
		}
	}
	progress, after := r.flight.state()
	left := map[recount.Window]bool{}
	overflow := progress.Left // of a run before a restart
	err = r.replace(ctx, r.job.stored(), after, nil, func(p *parcel, replaced int, behind []recount.Window) {
		for _, w := range behind {
			if len(left) < leftMost {
				left[w] = true
			} else {
				overflow++
			}
		}
		r.flight.count(func(n *Progress) { n.Windows += int64(replaced); n.Left += int64(len(behind)) })
		r.flight.add(p)
	})
	for try := 1; err == nil && len(left) > 0 && try < rebuildTries; try++ {
		if err = sleep(ctx, r.settle); err != nil {
			break
		}
		err = r.again(ctx, left)
	}
	if err != nil {
		return fmt.Errorf("rebuilding windows: %w", err)
	}
	r.flight.count(func(n *Progress) { n.Left = int64(len(left)) + overflow })
	r.found(func(result *Result) {
		for w := range left {
			result.Left = append(result.Left, w)
		}
		slices.SortFunc(result.Left, func(a, b recount.Window) int { return a.Bucket.Compare(b.Bucket) })
		result.Left = result.Left[:min(len(result.Left), leftShown)]
	})
	return nil
}

// again tries the windows that were left, and takes those off the list that
// could be replaced.
func (r *run) again(ctx context.Context, left map[recount.Window]bool) error {
	var devices []string
	var first, last time.Time
	for w := range left {
		devices = append(devices, w.Device)
		if first.IsZero() || w.Bucket.Before(first) {
			first = w.Bucket
		}
		if w.Bucket.After(last) {
			last = w.Bucket
		}
	}
	slices.Sort(devices)
	q := recount.Range{From: first, To: last.Add(time.Minute), Fleet: r.job.Fleet, Devices: slices.Compact(devices)}
	still := map[recount.Window]bool{}
	err := r.replace(ctx, q, nil, left, func(_ *parcel, replaced int, behind []recount.Window) {
		for _, w := range behind {
			still[w] = true
		}
		r.flight.count(func(n *Progress) { n.Windows += int64(replaced) })
	})
	if err != nil {
		return err
	}
	for w := range left {
		if !still[w] {
			delete(left, w)
		}
	}
	return nil
}

// replace reads a range and replaces its windows, or only some of them. Events
// come by hour and device, so windows are whole wherever the device changes.
func (r *run) replace(ctx context.Context, q recount.Range, after []byte, only map[recount.Window]bool,
	done func(*parcel, int, []recount.Window)) error {
	windows := r.rollups.begin(r.today)
	next := &parcel{}
	var last recount.Event
	var at recount.Window
	flush := func() (err error) {
		if next.position, err = last.Position(); err != nil {
			return err
		}
		if err := r.pace.wait(ctx, int(next.read)); err != nil {
			return err
		}
		replaced, behind := 0, []recount.Window(nil)
		if !r.job.DryRun {
			if replaced, behind, err = windows.replace(ctx); err != nil {
				return err
			}
		}
		done(next, replaced, behind)
		windows, next = r.rollups.begin(r.today), &parcel{}
		return nil
	}
	err := r.events.Scan(ctx, q, after, func(e recount.Event) error {
		w := e.Window()
		if next.read >= int64(r.pace.second(rebuildEvents)) &&
			(w.Device != at.Device || !w.Bucket.Truncate(time.Hour).Equal(at.Bucket.Truncate(time.Hour))) {
			if err := flush(); err != nil {
				return err
			}
		}
		last, at = e, w
		next.read++
		if only != nil && !only[w] {
			return nil
		}
		canonical, err := e.Canonical(r.upcast)
		if err != nil {
			return err
		}
		return windows.Add(e, canonical)
	})
	if err == nil && next.read > 0 {
		err = flush()
	}
	return err
}

// sleep waits, or returns why it may not.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx))
	}
}
