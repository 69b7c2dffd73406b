package lake

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"

	"weir/internal/platform/storeurl"
)

// tempDir is the folder of objects that are being written. It is not a date folder, so no reader
// takes its files for data.
const tempDir = "_tmp"

// fileStore keeps objects in a directory. An object is written to a temporary file, which is
// synced and renamed, and then its folder is synced: a power loss leaves the whole object or none.
type fileStore struct {
	root string
	temp string // where temporary files are

	// named has the folders whose names are durable, and which folder each was then: from path to birth.
	// Views of the store share it.
	named *sync.Map
}

func openFile(rawURL string) (*fileStore, error) {
	f, err := fileAt(rawURL)
	if err != nil {
		return nil, err
	}
	if err := f.makeFolder(f.root, f.temp); err != nil {
		return nil, err
	}
	return f, f.sweep()
}

// fileAt returns the store of a directory, without creating anything.
func fileAt(rawURL string) (*fileStore, error) {
	dir, err := storeurl.Path(rawURL)
	if err != nil {
		return nil, err
	}
	return &fileStore{root: dir, temp: filepath.Join(dir, tempDir), named: &sync.Map{}}, nil
}

// FileURL returns the URL of the store in a directory.
func FileURL(dir string) string { return storeurl.New("file", dir) }

// sweep deletes the temporary files of writers that have died. A living writer holds a lock on its
// file, and notices if it was deleted before it was locked.
func (f *fileStore) sweep() error {
	entries, err := os.ReadDir(f.temp)
	if err != nil {
		return fmt.Errorf("sweeping temporary files: %w", err)
	}
	for _, e := range entries {
		name := filepath.Join(f.temp, e.Name())
		file, err := os.Open(name)
		if err != nil {
			continue // renamed by its writer meanwhile
		}
		if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			err = os.Remove(name)
		}
		_ = file.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweeping temporary files: %w", err)
		}
	}
	return nil
}

func (f *fileStore) path(key string) string { return filepath.Join(f.root, filepath.FromSlash(key)) }

func (f *fileStore) put(ctx context.Context, key string, write func(io.Writer) error) error {
	return f.place(ctx, key, write, os.Rename)
}

// putNew links the temporary file to its name, which fails if that exists.
func (f *fileStore) putNew(ctx context.Context, key string, body []byte) error {
	err := f.place(ctx, key, func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	}, func(temp, target string) error {
		if err := os.Link(temp, target); err != nil {
			return err
		}
		return os.Remove(temp)
	})
	if errors.Is(err, fs.ErrExist) {
		return ErrExists
	}
	return err
}

// place writes an object to a temporary file, and lets bring move it to its name.
func (f *fileStore) place(ctx context.Context, key string, write func(io.Writer) error,
	bring func(temp, target string) error) (err error) {
	file, err := f.temporary()
	if err != nil {
		return err
	}
	temp := file.Name()
	defer func() {
		if err != nil {
			_ = os.Remove(temp)
		}
		if cerr := file.Close(); err == nil {
			err = cerr
		}
	}()
	w := bufio.NewWriterSize(&gentle{file: file}, 256<<10)
	if err = write(w); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	if err = file.Sync(); err != nil {
		return err
	}
	if err = ctx.Err(); err != nil {
		return err
	}
	target := f.path(key)
	if err = f.makeFolder(filepath.Dir(f.temp), filepath.Dir(target)); err != nil {
		return err
	}
	if err = bring(temp, target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

// temporary creates a temporary file and locks it. If sweep has deleted the file before it was
// locked, it creates another.
func (f *fileStore) temporary() (*os.File, error) {
	for {
		var unique [12]byte
		_, _ = rand.Read(unique[:]) // never fails
		file, err := os.OpenFile(filepath.Join(f.temp, hex.EncodeToString(unique[:])),
			os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		if err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err == nil {
			if _, err = os.Stat(file.Name()); err == nil {
				return file, nil
			}
		}
		_ = file.Close()
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// makeFolder creates a folder of the store in top, and what is missing above it. When it returns
// nil, the names of all folders from top down to it are durable, whoever has made them: another
// process may have made one and not have synced its parent yet. Each is synced once by who has the
// store open, and again if it was deleted meanwhile and made anew.
func (f *fileStore) makeFolder(top, dir string) error {
	if len(dir) <= len(top) {
		return makeDirs(dir)
	}
	if b, known := birthOf(dir); known {
		if was, ok := f.named.Load(dir); ok && was == b {
			return nil
		}
	}
	parent := filepath.Dir(dir)
	if err := f.makeFolder(top, parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	b, known := birthOf(dir) // before the sync, which says nothing of a folder that is made after it
	if err := syncDir(parent); err != nil {
		return err
	}
	if known {
		f.named.Store(dir, b)
	}
	return nil
}

// makeDirs creates dir and its missing parents, and syncs the parent of each that was missing.
func makeDirs(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if err := makeDirs(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

func (f *fileStore) list(ctx context.Context, prefix string, each func(Blob) error) error {
	root := f.path(prefix)
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // deleted meanwhile
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.IsDir():
			if e.Name() == tempDir {
				return fs.SkipDir
			}
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		rel, err := filepath.Rel(f.root, name)
		if err != nil {
			return err
		}
		return each(Blob{Key: filepath.ToSlash(rel), Size: info.Size()})
	})
	return err
}

func (f *fileStore) folders(_ context.Context, prefix string) ([]string, error) {
	entries, err := os.ReadDir(f.path(prefix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != tempDir {
			names = append(names, e.Name())
		}
	}
	sort.Strings(names)
	return names, nil
}

type fileReader struct {
	*os.File
	size int64
}

func (r *fileReader) Size() int64 { return r.size }

func (f *fileStore) open(_ context.Context, key string, _ int64) (Reader, error) {
	file, err := os.Open(f.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	} else if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &fileReader{file, info.Size()}, nil
}

// remove also deletes date folders that become empty, so that they do not accumulate.
func (f *fileStore) remove(_ context.Context, key string) error {
	err := os.Remove(f.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	} else if err != nil {
		return err
	}
	for dir := path.Dir(key); dir != "." && strings.Contains(dir, "="); dir = path.Dir(dir) {
		if os.Remove(f.path(dir)) != nil {
			break // not empty
		}
		f.named.Delete(f.path(dir))
	}
	return nil
}

func (f *fileStore) close() error { return nil }

// below uses the same folder for temporary files, so opening the whole store sweeps them.
func (f *fileStore) below(folder string) backend {
	return &fileStore{root: f.path(folder), temp: f.temp, named: f.named}
}
