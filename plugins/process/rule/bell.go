package rule

import (
	"sync/atomic"

	"weir/internal/platform/sqldb"
)

// bell tells who hands results on that there are new ones. It is one for all
// components of a process that have the store open: what another process told is
// found by looking.
type bell struct {
	rung    chan struct{}
	ringers atomic.Int64 // outputs of this process that tell results
}

type bellKey struct{}

func bellOf(db *sqldb.DB) *bell {
	return db.Beside(bellKey{}, func() any { return &bell{rung: make(chan struct{}, 1)} }).(*bell)
}

// ring wakes who waits for results, or lets who comes next not wait. It is for after
// the commit.
func (b *bell) ring() {
	select {
	case b.rung <- struct{}{}:
	default:
	}
}
