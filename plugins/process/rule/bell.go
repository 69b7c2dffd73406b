package rule

import (
	"slices"
	"sync"

	"weir/internal/platform/sqldb"
)

// bell tells rule_results that outputs of this process have committed new results, and lets readers of open windows
// find these outputs, which have them in memory. The components of a process that have the same store open share one
// bell. Results of other processes are found by polling.
type bell struct {
	rung chan struct{}

	mu      sync.Mutex
	ringers []*output // those of this process; the slice is never modified
}

type bellKey struct{}

func bellOf(db *sqldb.DB) *bell {
	return db.Beside(bellKey{}, func() any { return &bell{rung: make(chan struct{}, 1)} }).(*bell)
}

// ring wakes the input that waits for results; if none waits, the next wait ends at once. Call it after the commit.
func (b *bell) ring() {
	select {
	case b.rung <- struct{}{}:
	default:
	}
}

// with adds an output, or removes it if is is false.
func (b *bell) with(o *output, is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ringers = slices.DeleteFunc(slices.Clone(b.ringers), func(other *output) bool { return other == o })
	if is {
		b.ringers = append(b.ringers, o)
	}
}

// outputs returns the outputs of this process. The caller must not modify the slice.
func (b *bell) outputs() []*output {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ringers
}
