// Package tempdir makes folders for what one process needs for a while. What
// processes that were killed have left there goes with the next folder that is
// made: events must not stay in files that no store knows of.
package tempdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// held begins the names of folders whose process holds a lock on them, for as
// long as it lives. Others are left alone.
const held = "weir-held-"

// Make makes an empty folder, which only this user reads, in the system's folder
// for temporary files, or else in the first of others where one can be made. Name
// tells people what it is for. Remove deletes it with all that is in it.
func Make(name string, others ...string) (dir string, remove func(), err error) {
	for _, parent := range append([]string{os.TempDir()}, others...) {
		sweep(parent)
		made, drop, failed := within(parent, name)
		if failed == nil {
			return made, drop, nil
		}
		err = errors.Join(err, failed)
	}
	return "", nil, fmt.Errorf("making a folder for %s: %w; TMPDIR may name another place", name, err)
}

func within(parent, name string) (dir string, remove func(), err error) {
	made, err := os.MkdirTemp(parent, "weir-new-")
	if err != nil {
		return "", nil, err
	}
	lock, err := locked(made)
	if err != nil { // not every file system has locks: then a kill leaves the folder
		return made, func() { _ = os.RemoveAll(made) }, nil
	}
	// It is locked before it has the name by which others look for what is left.
	dir = filepath.Join(parent, held+name+strings.TrimPrefix(filepath.Base(made), "weir-new"))
	if err := os.Rename(made, dir); err != nil {
		return "", nil, errors.Join(err, lock.Close(), os.Remove(made))
	}
	return dir, func() { _ = os.RemoveAll(dir); _ = lock.Close() }, nil // what stays is swept
}

// locked takes a folder, or returns an error where another process has it.
func locked(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweep deletes what processes of this user have left. What cannot be deleted is
// tried again by the next.
func sweep(parent string) {
	entries, _ := os.ReadDir(parent) // making a folder there says what is wrong
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), held) || !entry.IsDir() || !ours(entry) {
			continue
		}
		dir := filepath.Join(parent, entry.Name())
		if lock, err := locked(dir); err == nil {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
}

func ours(entry fs.DirEntry) bool {
	info, err := entry.Info()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}
