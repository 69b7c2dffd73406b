package storeurl

import (
	"path/filepath"
	"strings"
	"syscall"
)

// Disk is what the file system of a store on this machine has free and in all, in
// bytes; ok is false of any other. What is not made yet will be in the folder above.
func Disk(rawURL string) (free, total uint64, ok bool) {
	switch scheme, _, _ := strings.Cut(rawURL, "://"); scheme {
	case "file", "sqlite", "pebble":
	default:
		return 0, 0, false
	}
	path, err := Path(rawURL)
	if err != nil {
		return 0, 0, false
	}
	for {
		var fs syscall.Statfs_t
		if syscall.Statfs(path, &fs) == nil {
			return fs.Bavail * uint64(fs.Bsize), fs.Blocks * uint64(fs.Bsize), true
		}
		above := filepath.Dir(path)
		if above == path {
			return 0, 0, false
		}
		path = above
	}
}
