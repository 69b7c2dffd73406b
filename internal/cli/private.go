package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// others are the permission bits of group and others.
const others = 0o077

// keepPrivate sets the umask so that new files of this process are accessible only to its user: they may contain
// events, keys and passwords.
func keepPrivate() { syscall.Umask(others) }

// writePrivate creates or replaces a file atomically, readable only by its owner. Its content is durable when it
// returns nil.
func writePrivate(file, text string) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(file), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name()) // the first error is returned
		}
	}()
	_, err = temp.WriteString(text)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), file)
}

// close removes all access of group and others from the data directory, which an older weir or a copy may have left.
// It returns the files of other users, whose permissions cannot be changed.
func (d DataDir) close() (foreign []string, err error) {
	err = filepath.WalkDir(string(d), func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = closePath(path, entry)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // merged or expired meanwhile by a command
			return nil
		case errors.Is(err, syscall.EPERM):
			foreign = append(foreign, path)
			return nil
		}
		return err
	})
	if err != nil {
		return foreign, fmt.Errorf("closing the data directory to other users: %w", err)
	}
	return foreign, nil
}

func closePath(path string, entry fs.DirEntry) error {
	if !entry.IsDir() && !entry.Type().IsRegular() {
		return nil // do not follow links out of the directory
	}
	info, err := entry.Info()
	if err != nil || info.Mode().Perm()&others == 0 {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()&^others)
}
