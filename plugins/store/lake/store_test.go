package lake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
)

func opened(t testing.TB, rawURL string) *Store {
	t.Helper()
	s, err := Open(context.Background(), rawURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// suite tests the contract of every kind of store.
func suite(t *testing.T, s *Store) {
	ctx := context.Background()
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	if err := s.PutBytes(ctx, "date=2026-11-20/a.parquet", []byte("small")); err != nil {
		t.Fatal(err)
	}
	if err := s.PutBytes(ctx, "date=2026-11-21/stage=raw/b.parquet", big); err != nil {
		t.Fatal(err)
	}
	if err := s.PutBytes(ctx, "date=2026-11-21/stage=raw/b.parquet", big[:3<<20]); err != nil { // replaced
		t.Fatal(err)
	}
	failure := errors.New("encoding failed")
	err := s.put(ctx, "date=2026-11-20/broken.parquet", func(w io.Writer) error {
		_, _ = w.Write(big)
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatalf("got %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	if err := s.put(cancelled, "date=2026-11-20/late.parquet", func(w io.Writer) error {
		cancel()
		return nil
	}); err == nil {
		t.Fatal("a cancelled write reported success")
	}
	var keys []string
	var sizes []int64
	if err := s.List(ctx, "", func(b Blob) error {
		keys, sizes = append(keys, b.Key), append(sizes, b.Size)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(keys, []string{"date=2026-11-20/a.parquet", "date=2026-11-21/stage=raw/b.parquet"}) ||
		sizes[1] != 3<<20 {
		t.Fatalf("got %v, %v", keys, sizes)
	}
	folders, err := s.Folders(ctx, "")
	if err != nil || !slices.Equal(folders, []string{"date=2026-11-20", "date=2026-11-21"}) {
		t.Fatalf("got %v, %v", folders, err)
	}
	if folders, err = s.Folders(ctx, "date=2026-11-21"); err != nil || !slices.Equal(folders, []string{"stage=raw"}) {
		t.Fatalf("got %v, %v", folders, err)
	}
	r, err := s.Open(ctx, Blob{"date=2026-11-21/stage=raw/b.parquet", 3 << 20})
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 100)
	if n, err := r.ReadAt(part, 1<<20+3); n != 100 || err != nil || !bytes.Equal(part, big[1<<20+3:][:100]) {
		t.Fatalf("got %d, %v", n, err)
	}
	if n, err := r.ReadAt(part, 3<<20-10); n != 10 || !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: got %d, %v", n, err)
	}
	_ = r.Close()
	for range 2 { // the second time there is nothing to delete
		if err := s.Remove(ctx, "date=2026-11-20/a.parquet"); err != nil {
			t.Fatal(err)
		}
	}
	gone, err := s.Open(ctx, Blob{"date=2026-11-20/a.parquet", 5})
	if err == nil {
		_, err = gone.ReadAt(part[:1], 0)
	}
	if !errors.Is(err, ErrNotFound) {
		t.Fatalf("reading what is gone: %v", err)
	}
	one := make(chan string, 8) // of concurrent PutNew of one key exactly one succeeds, and its content is stored
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			body := fmt.Sprintf("writer %d", i)
			switch err := s.PutNew(ctx, "_new/a.json", []byte(body)); {
			case err == nil:
				one <- body
			case !errors.Is(err, ErrExists):
				t.Error(err)
			}
		})
	}
	all.Wait()
	close(one)
	won := <-one
	if r, err = s.Open(ctx, Blob{"_new/a.json", int64(len(won))}); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if _, second := <-one; err != nil || won == "" || string(raw) != won || second {
		t.Fatalf("%q succeeded, and %q is stored; another succeeded as well: %t, %v", won, raw, second, err)
	}
	_ = r.Close()
	// A body of more than one part: a server may refuse it by closing the connection before all is sent.
	if err := s.PutNew(ctx, "_new/a.json", make([]byte, 17<<20)); err == nil {
		t.Fatal("PutNew replaced an object")
	}
	if err := s.Remove(ctx, "_new/a.json"); err != nil {
		t.Fatal(err)
	}
	if objects, err := s.Objects(ctx, Select{}); err != nil || len(objects) != 0 {
		t.Fatalf("files with foreign names were listed as objects: %v, %v", objects, err)
	}
}

func TestLake_FileStore(t *testing.T)   { suite(t, opened(t, FileURL(t.TempDir()))) }
func TestLake_MemoryStore(t *testing.T) { suite(t, opened(t, "mem://")) }

func TestLake_UnfinishedObjectsOfDeadWritersAreRemovedAndThoseOfLiveOnesKept(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, FileURL(dir))
	dead := filepath.Join(dir, tempDir, "dead")
	if err := os.WriteFile(dead, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.put(context.Background(), "date=2026-11-20/x.parquet", func(w io.Writer) error {
		opened(t, FileURL(dir)) // another process opens the store meanwhile
		_, err := w.Write([]byte("whole"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the dead writer's file: %v", err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, tempDir))
	if err != nil || len(entries) != 0 {
		t.Fatalf("left behind: %v, %v", entries, err)
	}
}

func TestLake_AFullDiskLeavesNoObject(t *testing.T) {
	s := opened(t, FileURL(t.TempDir()))
	err := s.put(context.Background(), "date=2026-11-20/x.parquet", func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		return syscall.ENOSPC
	})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if err := s.List(context.Background(), "", func(b Blob) error { return errors.New(b.Key) }); err != nil {
		t.Fatalf("left behind: %v", err)
	}
}

func TestLake_AnEmptiedDayLeavesNoFolder(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, FileURL(dir))
	key := "date=2026-11-20/stage=raw/x.parquet"
	if err := s.PutBytes(context.Background(), key, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(context.Background(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "date=2026-11-20")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func TestLake_AStoreURLThatIsWrongIsRefusedWithoutItsSecrets(t *testing.T) {
	for _, rawURL := range []string{"ftp://x", "file://", "file:///a%", "file:///a?b=c", "file:///a#b",
		"s3://bkt?region=x&kmskeyid=secret&nonsense=1", "s3://u:secret@%zz", "s3://u:secret/x@bkt", "s3://bkt/%secret",
		"s3://u:secret@bkt", "s3:///folder", "s3://b",
		"s3://bkt?endpoint=secret", "s3://bkt?endpoint=https://h/secret", "s3://bkt?use_path_style=secret",
		"s3://bkt?ssetype=secret", "s3://bkt?ssetype=AES256&kmskeyid=secret"} {
		_, opening := Open(context.Background(), rawURL)
		var url string
		for _, err := range []error{opening, read(t, rawURL, URL(&url)), read(t, rawURL, MaybeURL(&url))} {
			if err == nil {
				t.Errorf("%s was accepted", rawURL)
			} else if strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: the error contains the secret: %v", rawURL, err)
			}
		}
	}
	var url string
	if err := read(t, "", MaybeURL(&url)); err != nil {
		t.Errorf("an optional URL that is empty: %v", err)
	}
}

// read reads the field url of a config in which it has the given text.
func read(t *testing.T, text string, field any) error {
	t.Helper()
	raw, err := json.Marshal(map[string]string{"url": text})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := service.NewConfigSpec().Field(service.NewStringField("url")).ParseYAML(string(raw), nil)
	if err != nil {
		t.Fatal(err)
	}
	return conf.Read(parsed, "url", field)
}

// Opening a store removes the temporary files of dead writers, and none of live ones.
func TestStore_OpeningDisturbsNoWriter(t *testing.T) {
	url := "file://" + t.TempDir()
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			for i := range 50 {
				s, err := Open(t.Context(), url)
				if err == nil {
					err = s.PutNew(t.Context(), fmt.Sprintf("%d/%d", n, i), nil)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}
