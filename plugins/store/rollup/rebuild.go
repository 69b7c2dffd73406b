package rollup

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// replaceChunk bounds the rows that one transaction of Replace writes, while
// other writers wait.
const replaceChunk = 1000

// Replaced says what a rebuild did.
type Replaced struct {
	Windows int
	// Behind lists windows that were left as they are, because they count
	// events that the rebuild did not see: those are still on their way into
	// the raw store. Rebuild them again later.
	Behind []Key
}

// Replace puts whole windows, each made of all the events that the raw store
// has for it, in the place of what was counted before, whatever that was. It
// corrects windows whose ledger was dropped, and backfills metrics. Windows
// that are not given stay as they are. Hours and days follow at the next roll.
//
// It is safe beside writers: they notice the new version, and merge anew.
// After an error some of the windows may be replaced; run it again.
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
			continue // erased, every one of them
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

// spanOf is a span that has all of some sorted keys.
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

// containsAll tells whether a sorted slice holds every element of another.
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
