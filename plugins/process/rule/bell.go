package rule

import (
	"slices"
	"sync"

	"weir/internal/platform/sqldb"
)

// bell tells who hands results on that there are new ones, and who asks what is open
// which outputs have it in memory. It is one for all components of a process that have
// the store open: what another process told is found by looking.
type bell struct {
	rung chan struct{}

	mu      sync.Mutex
	ringers []*output // of this process, which tell results
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

// with adds an output, or, when it goes, takes it out.
func (b *bell) with(o *output, is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ringers = slices.DeleteFunc(slices.Clone(b.ringers), func(other *output) bool { return other == o })
	if is {
		b.ringers = append(b.ringers, o)
	}
}

// outputs are those that there are; the list stays as it is.
func (b *bell) outputs() []*output {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ringers
}
