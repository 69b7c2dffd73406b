package lake

import "golang.org/x/sys/unix"

// birth tells a folder from one that is made in its place later, which may have the same inode.
type birth struct {
	major, minor uint32
	inode        uint64
	sec          int64
	nsec         uint32
}

// birthOf returns the birth of what is at a path. known is false if there is nothing, or if the
// file system does not tell when a folder was made.
func birthOf(dir string) (b birth, known bool) {
	var s unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_INO|unix.STATX_BTIME, &s)
	if err != nil || s.Mask&unix.STATX_BTIME == 0 {
		return b, false
	}
	return birth{s.Dev_major, s.Dev_minor, s.Ino, s.Btime.Sec, s.Btime.Nsec}, true
}
