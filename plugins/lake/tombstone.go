package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"
)

// erasedFolder holds the tombstones: one small object for each fleet or device
// whose rows were erased, so that nothing which is still on its way - in the
// log, in a replay, in a redrive - brings them back.
const erasedFolder = "_erased"

// EraseSettle is how long writers may take to learn of a tombstone. An erasure
// is complete when it is done once more after that.
const EraseSettle = 2 * tombstoneAge

// tombstoneAge is how old a writer's list of tombstones may be.
const tombstoneAge = time.Minute

// Tombstone says that rows of a fleet, or of one device of it, received up to a
// time are erased. Later ones are welcome: the name may be given again.
type Tombstone struct {
	Fleet  string    `json:"fleet"`
	Device string    `json:"device_id,omitempty"` // "" is the whole fleet
	At     time.Time `json:"at"`
}

func (t Tombstone) key() string {
	name := "fleet"
	if t.Device != "" {
		name = "device=" + url.PathEscape(t.Device)
	}
	return erasedFolder + "/fleet=" + url.PathEscape(t.Fleet) + "/" + name + ".json"
}

// Bury writes a tombstone, replacing an earlier one of the same rows.
func (s *Store) Bury(ctx context.Context, t Tombstone) error {
	raw, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("writing a tombstone: %w", err)
	}
	return s.PutBytes(ctx, t.key(), raw)
}

// Tombstones reads all tombstones.
func (s *Store) Tombstones(ctx context.Context) ([]Tombstone, error) {
	var blobs []Blob
	if err := s.List(ctx, erasedFolder, func(b Blob) error {
		blobs = append(blobs, b)
		return nil
	}); err != nil {
		return nil, err
	}
	out := make([]Tombstone, 0, len(blobs))
	for _, b := range blobs {
		t, err := s.tombstone(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("reading tombstone %s: %w", b.Key, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func (s *Store) tombstone(ctx context.Context, b Blob) (t Tombstone, err error) {
	r, err := s.Open(ctx, b)
	if err != nil {
		return t, err
	}
	defer r.Close()
	raw := make([]byte, r.Size())
	if n, err := r.ReadAt(raw, 0); n < len(raw) || err != nil && !errors.Is(err, io.EOF) {
		return t, err
	}
	return t, json.Unmarshal(raw, &t)
}

// graves is what a writer knows of tombstones.
type graves struct {
	mu   sync.RWMutex
	by   map[[2]string]time.Time // fleet and device, "" for all devices
	read time.Time
}

// refresh reads the tombstones when they were read too long ago. A writer that
// can't read them does not write: it could bring back what was erased.
func (g *graves) refresh(ctx context.Context, s *Store, now time.Time) error {
	g.mu.RLock()
	fresh := now.Sub(g.read) < tombstoneAge && !g.read.IsZero()
	g.mu.RUnlock()
	if fresh {
		return nil
	}
	list, err := s.Tombstones(ctx)
	if err != nil {
		return err
	}
	by := make(map[[2]string]time.Time, len(list))
	for _, t := range list {
		by[[2]string{t.Fleet, t.Device}] = t.At
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.by, g.read = by, now
	return nil
}

// holds tells whether a row received at a time is erased; the zero time is
// before all others.
func (g *graves) holds(fleet, device string, received time.Time) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if len(g.by) == 0 {
		return false
	}
	for _, d := range []string{"", device} {
		if at, ok := g.by[[2]string{fleet, d}]; ok && !received.After(at) {
			return true
		}
	}
	return false
}
