package rollup

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// replaceChunk is how many rows one transaction of Replace writes at most, because other writers
// wait for it.
const replaceChunk = 1000

// Replaced says what Replace did.
type Replaced struct {
	Windows int
	// Behind lists windows that were not changed, because they count events that the rebuild did
	// not see: these are still on their way to the raw store. They have to be rebuilt later.
	Behind []Key
}

// Replace replaces what windows count. Each given window must have all events that the raw store
// has for it. This corrects windows whose ledger was dropped, and fills in metrics. Windows that
// are not given are not changed. Hours and days are updated when they are rolled next.
//
// Other processes may write at the same time: they notice the new version of a row and merge
// again. After an error some of the windows may be replaced; Replace can be run again.
func (s *Store) Replace(ctx context.Context, windows []*Window, now time.Time) (out Replaced, err error) {
	oldest := s.oldest(now)
	windows = slices.DeleteFunc(slices.Clone(windows), func(w *Window) bool { return w.Bucket < oldest })
	slices.SortFunc(windows, func(a, b *Window) int { return a.compare(b.Key) })
	for chunk := range slices.Chunk(windows, replaceChunk) {
		var done Replaced
		keys := make([]Key, len(chunk))
		for i, w := range chunk {
			keys[i] = w.Key
		}
		for attempt := 1; ; attempt++ {
			early, err := s.readEarly(ctx, keys, byMinute.Width)
			if err != nil {
				return out, fmt.Errorf("replacing %d windows: %w", len(chunk), err)
			}
			err = s.alter(ctx, func(t tx) (err error) {
				t.old().early = early
				done, err = s.replaceChunk(ctx, t, chunk, keys, now)
				return err
			})
			if err == nil {
				break
			}
			if !isConflict(err) || attempt == maxAttempts || ctx.Err() != nil {
				return out, fmt.Errorf("replacing %d windows: %w", len(chunk), err)
			}
		}
		out.Windows += done.Windows
		out.Behind = append(out.Behind, done.Behind...)
	}
	return out, nil
}

func (s *Store) replaceChunk(ctx context.Context, t tx, windows []*Window, keys []Key, now time.Time) (out Replaced,
	err error) {
	erased, err := s.tombstones(ctx, t)
	if err != nil {
		return out, err
	}
	if s.parted {
		t = &pendingTx{tx: t, of: spanOf(keys)}
	}
	loaded, err := t.load(ctx, keys)
	if err != nil {
		return out, err
	}
	have := make(map[Key]*windowRow, len(loaded))
	for _, r := range loaded {
		have[r.Key] = r
	}
	var rows []*windowRow
	for _, w := range windows {
		row := &windowRow{Key: w.Key}
		for i := range w.events {
			if w.erased(i, erased) {
				continue
			}
			row.merge(&w.events[i], func(s string) string { return s })
		}
		if len(row.Ledger) == 0 {
			continue // all its events were erased
		}
		if old := have[w.Key]; old != nil {
			if !containsAll(row.Ledger, old.Ledger) {
				out.Behind = append(out.Behind, w.Key)
				continue
			}
			row.Version, row.rowid, row.stored, row.cold = old.Version, old.rowid, old.stored, old.cold
		}
		row.Version++
		rows = append(rows, row)
	}
	if out.Windows = len(rows); len(rows) == 0 {
		return out, nil
	}
	return out, s.store(ctx, t, rows, now)
}

// spanOf returns a span that contains all of some sorted keys.
func spanOf(keys []Key) span {
	s := span{Fleet: keys[0].Fleet, From: keys[0].Bucket, To: keys[0].Bucket + 1}
	for _, k := range keys {
		s.From, s.To = min(s.From, k.Bucket), max(s.To, k.Bucket+1)
		if s.Devices = append(s.Devices, k.Device); k.Fleet != s.Fleet {
			s.Fleet = ""
		}
	}
	if s.Devices = slices.Compact(s.Devices); s.Fleet == "" {
		s.Devices = nil
	}
	return s
}

// containsAll reports whether a sorted slice contains all elements of another.
func containsAll(all, some []uint64) bool {
	i := 0
	for _, id := range some {
		for i < len(all) && all[i] < id {
			i++
		}
		if i == len(all) || all[i] != id {
			return false
		}
	}
	return true
}
