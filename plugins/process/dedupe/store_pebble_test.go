package dedupe

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"weir/internal/platform/storeurl"
)

func TestDedupe_ClaimsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	var ids [][16]byte
	for run := range 2 * bucketsMost {
		s := newPebble(vfs.Default, dir, time.Hour, testLog{t})
		for i, id := range ids {
			if got := holder(t, ask(t, s, delivery{id: id, at: at(9, 9)})[0]); got != at(0, int64(i)) {
				t.Fatalf("run %d: event %d is held by %s", run, i, got)
			}
		}
		ids = append(ids, newID())
		if c := ask(t, s, delivery{id: ids[run], at: at(0, int64(run))}); c[0].held != nil {
			t.Fatalf("run %d: a new identity was held already", run)
		}
		if n := len(s.files.buckets); n > bucketsMost {
			t.Fatalf("%d restarts left %d buckets", run, n)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// More claims than a filter takes go into the next bucket, so that new identities
// cost no search.
func TestDedupe_AFullFilterBeginsABucket(t *testing.T) {
	s := newPebble(vfs.NewMem(), "claims", time.Hour, testLog{t})
	defer s.close()
	old := newID()
	ask(t, s, delivery{id: old, at: at(0, 1)})
	s.files.recent = newRecent(recentMost) // what was just claimed is remembered otherwise
	s.files.buckets[0].keys.parts = append(s.files.buckets[0].keys.parts, make([]filterPart, filterParts-1)...)
	if c := ask(t, s, delivery{id: newID(), at: at(0, 2)}); c[0].held != nil || len(s.files.buckets) != 2 {
		t.Fatalf("held %q, %d buckets", c[0].held, len(s.files.buckets))
	}
	s.files.buckets[1].keys.parts = s.files.buckets[1].keys.parts[:1] // without the parts that rule nothing out
	if c := ask(t, s, delivery{id: newID(), at: at(0, 3)}); c[0].held != nil || c[0].searched {
		t.Errorf("held %q, searched %v", c[0].held, c[0].searched)
	}
	if c := ask(t, s, delivery{id: old, at: at(0, 4)}); holder(t, c[0]) != at(0, 1) || !c[0].searched {
		t.Errorf("held by %s, searched %v", holder(t, c[0]), c[0].searched)
	}
}

func TestDedupe_ARestartLearnsWhatWasClaimed(t *testing.T) {
	dir := t.TempDir()
	s := newPebble(vfs.Default, dir, time.Hour, testLog{t})
	found := make([]delivery, 5000)
	for i := range found {
		found[i] = delivery{id: newID(), at: at(0, int64(i))}
	}
	ask(t, s, found...)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	s = newPebble(vfs.Default, dir, time.Hour, testLog{t})
	defer s.close()
	ask(t, s, delivery{id: newID(), at: at(1, 1)})
	s.files.background.Wait()
	ask(t, s, delivery{id: newID(), at: at(1, 2)}) // the owner takes it over before or after
	for range 100 {
		if ask(t, s, delivery{id: newID(), at: at(1, 3)}); len(s.learning) == 0 {
			break
		}
	}
	if b := s.files.buckets; len(b) != 2 || b[1].keys == nil {
		t.Fatalf("%d buckets, the old one without a filter", len(b))
	}
	for i := range found {
		found[i].at = at(1, int64(i))
	}
	for i, c := range ask(t, s, found...) {
		if holder(t, c) != at(0, int64(i)) {
			t.Fatalf("event %d is held by %s", i, holder(t, c))
		}
	}
}

// TestDedupe_AnsweredClaimsSurviveACrash keeps only what was synced, as a power cut
// would.
func TestDedupe_AnsweredClaimsSurviveACrash(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := newPebble(disk, "claims", time.Hour, testLog{t})
	defer s.close()
	var found []delivery
	for i := range 300 {
		found = append(found, delivery{id: newID(), at: at(0, int64(i))})
		if i%7 == 0 {
			ask(t, s, found[i/7*7:]...)
		}
	}
	ask(t, s, found...)
	after := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0, RNG: rand.New(rand.NewPCG(1, 2))})
	again := newPebble(after, "claims", time.Hour, testLog{t})
	defer again.close()
	for i, d := range found {
		d.at = at(1, 1)
		if got := holder(t, ask(t, again, d)[0]); got != at(0, int64(i)) {
			t.Fatalf("event %d is held by %s after the crash", i, got)
		}
	}
}

// diskUse adds up the tables. The write-ahead logs beside them are recycled:
// a constant of three memtables.
func diskUse(t *testing.T, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // deleted while we look
			return nil
		}
		if err != nil || filepath.Ext(d.Name()) != ".sst" {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDedupe_ExpiredClaimsLeaveTheDisk(t *testing.T) {
	const ttl = time.Hour
	dir := t.TempDir()
	s := newPebble(vfs.Default, dir, ttl, testLog{t})
	defer s.close()
	now := time.Now()
	s.now = func() time.Time { return now }
	s.sweep = ttl // the test sweeps, between two questions: else the owner may at any time
	fill := func() {
		for range 40 {
			found := make([]delivery, 5000)
			for i := range found {
				found[i] = delivery{id: newID(), fleet: "fleet", at: at(1, rand.Int64())}
			}
			ask(t, s, found...)
		}
	}
	settle := func(most int64) { // deletion and compaction run in the background
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for diskUse(t, dir) > most {
			if time.Now().After(deadline) {
				t.Fatalf("%d bytes are left, expected %d at most", diskUse(t, dir), most)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	for hour := range 8 {
		fill() // 200,000 claims, 8 MB as they are
		now = now.Add(ttl)
		kept := delivery{id: newID(), at: at(1, int64(hour))}
		ask(t, s, kept)
		s.files.expire(now)
		s.files.background.Wait()
		if holder(t, ask(t, s, delivery{id: kept.id, at: at(2, 2)})[0]) != kept.at {
			t.Fatal("a live claim was deleted with the expired ones")
		}
	}
	settle(16 << 20) // of 64 MB written
	now = now.Add(3 * ttl)
	s.files.expire(now)
	settle(1 << 10)
}

func TestDedupe_TheClockMayGoBack(t *testing.T) {
	s := newPebble(vfs.NewMem(), "claims", time.Hour, testLog{t})
	defer s.close()
	now := time.Now()
	s.now = func() time.Time { return now }
	id := newID()
	ask(t, s, delivery{id: id, at: at(1, 1)})
	for _, step := range []time.Duration{-time.Hour, 10 * time.Minute, -3 * time.Hour, 4 * time.Hour} {
		now = now.Add(step)
		if got := holder(t, ask(t, s, delivery{id: id, at: at(1, 2)})[0]); got != at(1, 1) {
			t.Fatalf("after a step of %s: held by %s", step, got)
		}
	}
}

// fullDisk refuses writes while it is full.
type fullDisk struct {
	vfs.FS
	full atomic.Bool
}

type fullFile struct {
	vfs.File
	disk *fullDisk
}

func (d *fullDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if d.full.Load() {
		return vfs.DiskUsage{}, nil
	}
	return vfs.DiskUsage{AvailBytes: 1 << 40}, nil
}

func (d *fullDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return fullFile{f, d}, err
}

func (f fullFile) Write(b []byte) (int, error) {
	if f.disk.full.Load() {
		return 0, &os.PathError{Op: "write", Path: "claims", Err: syscall.ENOSPC}
	}
	return f.File.Write(b)
}

func TestDedupe_AFullDiskIsWaitedFor(t *testing.T) {
	disk := &fullDisk{FS: vfs.NewMem()}
	s := newPebble(disk, "claims", time.Hour, testLog{t})
	ask(t, s, delivery{id: newID(), at: at(1, 1)})
	disk.full.Store(true)
	during := delivery{id: newID(), at: at(1, 2)}
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		if err := s.claim(ctx, newClaims([]delivery{during}, nil)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a claim on a full disk ended with %v", err)
		}
		cancel()
	}
	disk.full.Store(false)
	if got := holder(t, ask(t, s, during)[0]); got != during.at {
		t.Fatalf("held by %s", got)
	}
	if c := ask(t, s, delivery{id: newID(), at: at(1, 3)}); c[0].held != nil {
		t.Fatal("a new identity was held already")
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

func TestDedupe_AStoreThatCannotOpenSaysWhatToDo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newPebble(vfs.Default, filepath.Join(file, "claims"), time.Hour, testLog{t})
	for range 2 {
		if err := s.claim(context.Background(), newClaims([]delivery{{id: newID(), at: at(1, 1)}}, nil)); err == nil {
			t.Fatal("claimed in a folder that cannot be")
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	ask(t, s, delivery{id: newID(), at: at(1, 1)}) // it recovers without a hand
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

func TestDedupe_AFilterForgetsNothing(t *testing.T) {
	var f filter
	hashes := make([]uint64, 600_000) // three parts
	for i := range hashes {
		if f.has(hashes[i]); i%1000 == 0 && i > 0 && !f.has(hashes[i-1]) {
			t.Fatal("forgot")
		}
		hashes[i] = rand.Uint64()
		f.add(hashes[i])
	}
	for i, h := range hashes {
		if !f.has(h) {
			t.Fatalf("forgot key %d", i)
		}
	}
	strangers := 0
	for range 100_000 {
		if f.has(rand.Uint64()) {
			strangers++
		}
	}
	t.Logf("%d of 100000 strangers pass", strangers)
	if strangers > 1000 {
		t.Errorf("%d of 100000 strangers pass", strangers)
	}
	var none *filter
	if none.add(1); !none.has(2) {
		t.Error("no filter ruled a key out")
	}
}

// The claims lie at exactly the path that their URL was made of: beside another
// weir's, they are not its.
func TestPebble_LiesAtItsPath(t *testing.T) {
	for _, name := range []string{"line#1", "a b", "a%20b", "100%", "what?", "a\nb", "tür", ":x:", "[1]*", `back\slash`,
		"\xff"} {
		root := t.TempDir()
		s, err := newStore(storeurl.New("pebble", filepath.Join(root, name, "claims")+"/"), time.Hour, time.Second,
			testLog{t})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if err := errors.Join(s.open(t.Context()), s.close()); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		entries, err := os.ReadDir(root)
		if err != nil || len(entries) != 1 || entries[0].Name() != name {
			t.Errorf("%q made %q, %v", name, entries, err)
		}
	}
}
