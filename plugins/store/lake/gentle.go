package lake

import (
	"errors"
	"os"
	"syscall"
)

// piece is how many bytes are written before waiting for the disk.
const piece = 512 << 10

// gentle writes a file in pieces, and waits until each is on the disk. It does not make them
// durable; that takes a sync.
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
		return n, err // an I/O error, which a later sync might not report again
	}
	g.settled = g.position
	return n, nil
}
