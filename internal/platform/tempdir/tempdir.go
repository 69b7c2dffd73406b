// Package tempdir makes temporary folders. Making one also deletes the folders of processes that were killed, because
// events must not remain in files that no store knows.
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

// held is the prefix of folders that their process keeps locked. Folders with other names are never deleted.
const held = "weir-held-"

// Make makes an empty folder that only this user can read, in the system's temporary folder, or else in the first of
// others where that works. name is part of the folder's name, for people. remove deletes the folder and its content.
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
	// Lock it before it gets the name that sweep looks for.
	dir = filepath.Join(parent, held+name+strings.TrimPrefix(filepath.Base(made), "weir-new"))
	if err := os.Rename(made, dir); err != nil {
		return "", nil, errors.Join(err, lock.Close(), os.Remove(made))
	}
	return dir, func() { _ = os.RemoveAll(dir); _ = lock.Close() }, nil // what cannot be removed is swept later
}

// locked locks a folder, or fails when another process has locked it.
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

// sweep deletes folders that processes of this user have left. What cannot be deleted is retried by the next call.
func sweep(parent string) {
	entries, _ := os.ReadDir(parent) // creating the folder reports such an error
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
