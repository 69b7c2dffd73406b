package raw

import (
	"context"
	"fmt"
	"slices"
	"time"

	"weir/plugins/store/lake"
)

// reduce makes sure that the hour does not have too many objects to open at once: it merges
// them into a temporary store, which it returns. release deletes that.
func (r *Reader) reduce(ctx context.Context, h *hour, w *wanted, stats *Stats) (store *lake.Store, release func(),
	err error) {
	if len(h.objects) > r.fanIn {
		if h.objects, err = r.relevant(ctx, h.objects, w, stats); err != nil {
			return nil, nil, err
		}
	}
	part := lake.Part{From: time.UnixMicro(h.from), To: time.UnixMicro(h.to), Keep: w.ref}
	store, h.objects, release, err = r.store.Reduce(ctx, Table(), h.objects, part, r.fanIn)
	return store, release, err
}

// relevant returns the objects that statistics and bloom filters do not rule out.
func (r *Reader) relevant(ctx context.Context, objects []lake.Object, w *wanted, stats *Stats) ([]lake.Object, error) {
	var out []lake.Object
	for _, o := range objects {
		var unread Stats
		c, err := openCursor(ctx, r.store, o, w, 1, &unread)
		if err != nil {
			return nil, err
		}
		if c == nil {
			unread.Objects++
			stats.add(unread)
			continue
		}
		if err := c.close(); err != nil {
			return nil, fmt.Errorf("closing %s: %w", o.Key, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// ref reports by its columns whether an undecoded row may be wanted. It checks only the
// fleet and the device; row checks the rest once the row is decoded.
func (w *wanted) ref(r lake.Ref) bool {
	if w.fleet != "" && textOf(r.Value(colFleet)) != w.fleet {
		return false
	}
	if w.devices == nil {
		return true
	}
	_, ok := slices.BinarySearch(w.devices, textOf(r.Value(colDevice)))
	return ok
}
