package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/lifecycle/tombstone"
)

// erasedFolder has the tombstones: a small object for each fleet or device whose rows were erased.
// They keep events that are still in the log, in a replay or in a redrive from being stored again.
// The keys have all that a writer needs, so one listing is enough.
const erasedFolder = "_erased"

// EraseSettle is how long after a tombstone was buried a writer that does not know it may still
// write an object: its list of tombstones may be tombstoneAge old when it begins, and it takes at
// most tombstoneAge to write an object. An erasure is complete when it has run again after that
// time.
const EraseSettle = 2 * tombstoneAge

// tombstoneAge is how old a writer's list of tombstones may be.
const tombstoneAge = time.Minute

// errErased says that something was erased while an object was written.
var errErased = errors.New("something was erased meanwhile: this is done again")

func stoneFolder(fleet string) string { return erasedFolder + "/fleet=" + url.PathEscape(fleet) }

// wholeFleet is the subject, in keys, of the tombstone of a whole fleet.
const wholeFleet = "fleet"

func stoneKey(t tombstone.Stone) string {
	subject := t.Subject
	if subject == "" {
		subject = wholeFleet
	}
	return fmt.Sprintf("%s/%s_%d.json", stoneFolder(t.Fleet), subject, t.Until.UnixMicro())
}

func parseStone(key string) (t tombstone.Stone, ok bool) {
	folder, file := path.Split(key)
	name, ok := strings.CutPrefix(strings.TrimSuffix(folder, "/"), erasedFolder+"/fleet=")
	stem, ok2 := strings.CutSuffix(file, ".json")
	subject, at, ok3 := strings.Cut(stem, "_")
	fleet, err := url.PathUnescape(name)
	micros, err2 := strconv.ParseInt(at, 10, 64)
	if !ok || !ok2 || !ok3 || err != nil || err2 != nil {
		return t, false
	}
	if subject == wholeFleet {
		subject = ""
	}
	return tombstone.Stone{Fleet: fleet, Subject: subject, Until: time.UnixMicro(micros).UTC()}, true
}

// Bury writes a tombstone, and deletes earlier ones of the same subject. Writers know it within
// tombstoneAge.
func (s *Store) Bury(ctx context.Context, t tombstone.Stone) error {
	raw, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("writing a tombstone: %w", err)
	}
	if err := s.PutBytes(ctx, stoneKey(t), raw); err != nil {
		return err
	}
	var older []string
	if err := s.List(ctx, stoneFolder(t.Fleet), func(b Blob) error {
		if o, ok := parseStone(b.Key); ok && o.Subject == t.Subject && o.Until.Before(t.Until) {
			older = append(older, b.Key)
		}
		return nil
	}); err != nil {
		return err
	}
	return s.Remove(ctx, older...)
}

// Buried reports whether a tombstone covers events of the fleet that were received at a time or
// later.
func (s *Store) Buried(ctx context.Context, fleet string, since time.Time) (is bool, err error) {
	err = s.List(ctx, stoneFolder(fleet), func(b Blob) error {
		t, ok := parseStone(b.Key)
		is = is || ok && !t.Until.Before(since)
		return nil
	})
	return is, err
}

// Tombstones returns all tombstones.
func (s *Store) Tombstones(ctx context.Context) (*tombstone.Set, error) {
	keys, err := s.stones(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading what is erased: %w", err)
	}
	return setOf(keys), nil
}

// stones returns the keys of all tombstones, in order.
func (s *Store) stones(ctx context.Context) (keys []string, err error) {
	err = s.List(ctx, erasedFolder, func(b Blob) error {
		keys = append(keys, b.Key)
		return nil
	})
	return keys, err
}

func setOf(keys []string) *tombstone.Set {
	var list []tombstone.Stone
	for _, key := range keys {
		if t, ok := parseStone(key); ok {
			list = append(list, t)
		}
	}
	return tombstone.NewSet(list)
}

// graves has the tombstones that a writer knows.
type graves struct {
	set atomic.Pointer[tombstone.Set] // replaced when the tombstones have changed

	mu   sync.Mutex
	keys []string
	read time.Time
}

// refresh reads the tombstones again if they are older than tombstoneAge. A writer that cannot
// read them must not write: it could store again what was erased.
func (g *graves) refresh(ctx context.Context, s *Store, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.read) < tombstoneAge && !g.read.IsZero() {
		return nil
	}
	keys, err := s.stones(ctx)
	if err != nil {
		return fmt.Errorf("reading what is erased: %w", err)
	}
	if !slices.Equal(keys, g.keys) {
		g.keys = keys
		g.set.Store(setOf(keys))
	}
	g.read = now
	return nil
}

// guard lets an object be written only if the tombstones are still those when it was begun.
type guard struct {
	store *Store
	keys  []string
}

func (s *Store) newGuard(ctx context.Context) (*guard, error) {
	keys, err := s.stones(ctx)
	return &guard{s, keys}, err
}

// check is called right before an object is finished. cancel is called if the object is not
// finished within tombstoneAge.
func (g *guard) check(ctx context.Context, cancel func()) (*time.Timer, error) {
	keys, err := g.store.stones(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(keys, g.keys) {
		return nil, errErased
	}
	return time.AfterFunc(tombstoneAge, cancel), nil
}
