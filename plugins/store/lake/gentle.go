package lake

import (
	"errors"
	"os"
	"syscall"
)

// piece is how much of an object is on its way to the disk at a time.
const piece = 512 << 10

// gentle writes a file in pieces, and waits for each to reach the disk. It
// promises nothing: durable is what is synced afterwards.
type gentle struct {
	file     *os.File
	settled  int64
	position int64
}

func (g *gentle) Write(p []byte) (int, error) {
	n, err := g.file.Write(p)
	g.position += int64(n)
	if err != nil || g.position-g.settled < piece {
		return n, err
	}
	if err := settle(g.file, g.settled, g.position); err != nil && !errors.Is(err, syscall.ENOSYS) &&
		!errors.Is(err, syscall.EINVAL) {
		return n, err // the disk failed: the sync would have said so too
	}
	g.settled = g.position
	return n, nil
}
