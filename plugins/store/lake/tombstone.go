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

// erasedFolder holds the tombstones: one small object for each fleet or device
// whose rows were erased, so that nothing which is still on its way - in the
// log, in a replay, in a redrive - brings them back. All that a writer needs is
// in the keys: one listing reads them.
const erasedFolder = "_erased"

// EraseSettle is how long what writers had begun before they knew of a
// tombstone may take to appear: a list may be tombstoneAge old when an object is
// begun, and no object takes longer to write than that. An erasure is complete
// when it is done once more after that.
const EraseSettle = 2 * tombstoneAge

// tombstoneAge is how old a writer's list of tombstones may be.
const tombstoneAge = time.Minute

// errErased says that something was erased while an object was being made.
var errErased = errors.New("something was erased meanwhile: this is done again")

func stoneFolder(fleet string) string { return erasedFolder + "/fleet=" + url.PathEscape(fleet) }

// wholeFleet stands for the subject of a fleet's own tombstone.
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

// Bury writes a tombstone; earlier ones of the same subject go. Writers know of
// it within a minute.
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

// Buried tells whether something of a fleet that was received at a time or later was
// erased on request: a tombstone says so.
func (s *Store) Buried(ctx context.Context, fleet string, since time.Time) (is bool, err error) {
	err = s.List(ctx, stoneFolder(fleet), func(b Blob) error {
		t, ok := parseStone(b.Key)
		is = is || ok && !t.Until.Before(since)
		return nil
	})
	return is, err
}

// Tombstones reads what was erased on request.
func (s *Store) Tombstones(ctx context.Context) (*tombstone.Set, error) {
	keys, err := s.stones(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading what is erased: %w", err)
	}
	return setOf(keys), nil
}

// stones lists the keys of all tombstones, in order.
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

// graves is what a writer knows of tombstones.
type graves struct {
	set atomic.Pointer[tombstone.Set] // another one whenever there are others

	mu   sync.Mutex
	keys []string
	read time.Time
}

// refresh reads the tombstones when they were read too long ago. A writer that
// can't read them does not write: it could bring back what was erased.
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

// guard lets an object be written only while the tombstones are those that it
// was made by.
type guard struct {
	store *Store
	keys  []string
}

func (s *Store) newGuard(ctx context.Context) (*guard, error) {
	keys, err := s.stones(ctx)
	return &guard{s, keys}, err
}

// check comes last before an object is finished. The object then has so long to
// appear, or cancel is called.
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
