package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// others are the permissions of everybody but a file's owner.
const others = 0o077

// keepPrivate makes all files that this process makes from now on its user's
// alone: events, keys and passwords are in them.
func keepPrivate() { syscall.Umask(others) }

// writePrivate makes the file, readable by its owner only, or replaces it. A
// crash leaves it as it was, or whole.
func writePrivate(file, text string) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(file), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name()) // what failed is said
		}
	}()
	_, err = temp.WriteString(text)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), file)
}

// close takes from everybody but the owner what an older weir, or a copy, has
// left open below the data directory. What belongs to another user cannot be
// closed by us and comes back, as long as we can use it.
func (d DataDir) close() (foreign []string, err error) {
	err = filepath.WalkDir(string(d), func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = closePath(path, entry)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // merged or expired meanwhile, by a command
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
		return nil // a link is not followed: what it leads to is not ours
	}
	info, err := entry.Info()
	if err != nil || info.Mode().Perm()&others == 0 {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()&^others)
}
