package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// manifestFile records the hash of each file as last written. A file with another hash was changed by somebody.
const manifestFile = ".weir-files.json"

// layout updates a folder to this version's files without touching changed files. After a crash each file is whole,
// and the next start does the rest.
type layout struct {
	dir   string
	laid  map[string]string // hashes as recorded by the last start
	next  map[string]string
	first bool            // the folder was made by a version without a manifest
	dirs  map[string]bool // folders in which files were written
	notes []string
}

// layOut writes the assets below dir. A changed file is kept, and its newer version is written beside it as NAME.new;
// a deleted file stays deleted; other files are replaced. Files that are no longer assets are deleted, or renamed to
// NAME.old if they were changed, so that no outdated stream runs beside its successor.
func layOut(assets fs.FS, dir string) (notes []string, err error) {
	l := &layout{dir: dir, next: map[string]string{}, dirs: map[string]bool{dir: true}}
	raw, err := os.ReadFile(filepath.Join(dir, manifestFile))
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &l.laid); err != nil {
			return nil, fmt.Errorf("reading %s: %w; delete it, and changed files are set aside as NAME.old", manifestFile, err)
		}
	case errors.Is(err, fs.ErrNotExist):
		_, err := os.Stat(dir)
		l.first = err == nil
	default:
		return nil, err
	}
	if l.first {
		if err := l.foreign(assets); err != nil {
			return nil, err
		}
	}
	err = fs.WalkDir(assets, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(assets, path)
		if err != nil {
			return err
		}
		return l.file(path, raw)
	})
	if err != nil {
		return nil, err
	}
	for path, hash := range l.laid {
		if _, still := l.next[path]; !still {
			if err := l.gone(path, hash); err != nil {
				return nil, err
			}
		}
	}
	raw, err = json.MarshalIndent(l.next, "", "  ")
	if err != nil {
		return nil, err
	}
	slices.Sort(l.notes)
	if err := l.sync(); err != nil {
		return nil, err
	}
	return l.notes, l.write(manifestFile, raw)
}

// sync makes the names of written files durable.
func (l *layout) sync() error {
	for dir := range l.dirs {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return fmt.Errorf("making the names in %s durable: %w", dir, err)
		}
	}
	return nil
}

// file updates one file to this version.
func (l *layout) file(path string, raw []byte) error {
	hash := hashOf(raw)
	l.next[path] = hash
	laid, known := l.laid[path]
	there, err := os.ReadFile(l.at(path))
	switch {
	case errors.Is(err, fs.ErrNotExist) && known:
		l.note("%s was deleted, and stays away", path)
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return l.write(path, raw)
	case err != nil:
		return err
	case hashOf(there) == hash:
		return l.settled(path)
	case known && hashOf(there) == laid:
		return l.write(path, raw)
	case !known && l.first:
		if err := os.Rename(l.at(path), l.at(path+".old")); err != nil {
			return err
		}
		l.note("%s was another: it is %s.old now", path, filepath.Base(path))
		return l.write(path, raw)
	case known && laid == hash:
		if _, err := os.Stat(l.at(path + ".new")); err == nil {
			l.note("%s was changed, and is kept; the version of this weir is beside it, in %s.new", path, filepath.Base(path))
			return nil
		}
		l.note("%s was changed, and is kept", path)
		return nil
	}
	l.note("%s was changed, and is kept; the version of this weir is beside it, in %s.new", path, filepath.Base(path))
	return l.write(path+".new", raw)
}

// settled removes NAME.new of a file that is now up to date.
func (l *layout) settled(path string) error {
	if err := os.Remove(l.at(path + ".new")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// gone removes a file that is no longer an asset.
func (l *layout) gone(path, laid string) error {
	there, err := os.ReadFile(l.at(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if hashOf(there) == laid {
		return os.Remove(l.at(path))
	}
	l.note("%s is no part of this weir any more: what was changed in it is in %s.old", path, filepath.Base(path))
	return os.Rename(l.at(path), l.at(path+".old"))
}

// foreign renames files that are not assets, in a folder made by a version without a manifest, which replaced the
// folder at every start.
func (l *layout) foreign(assets fs.FS) error {
	return filepath.WalkDir(l.dir, func(abs string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(abs, ".old") {
			return err
		}
		path, err := filepath.Rel(l.dir, abs)
		if err != nil {
			return err
		}
		if _, err := fs.Stat(assets, filepath.ToSlash(path)); err == nil {
			return nil
		}
		l.note("%s is no part of this weir: it is %s.old now", path, filepath.Base(path))
		return os.Rename(abs, abs+".old")
	})
}

func (l *layout) at(path string) string { return filepath.Join(l.dir, filepath.FromSlash(path)) }

func (l *layout) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

// write replaces a file atomically and makes its content durable.
func (l *layout) write(path string, raw []byte) error {
	at := l.at(path)
	for dir := filepath.Dir(at); len(dir) > len(l.dir); dir = filepath.Dir(dir) {
		l.dirs[dir] = true
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	return writePrivate(at, string(raw))
}

func hashOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
