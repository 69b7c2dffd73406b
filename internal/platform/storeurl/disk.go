package storeurl

import (
	"path/filepath"
	"strings"
	"syscall"
)

// Disk returns the free and total bytes of the file system of a local store; ok is false for other stores. For a path
// that does not exist yet it uses the nearest existing folder above.
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
