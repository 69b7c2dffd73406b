// Package letgo finds out whether a component lets go of what was read of the log. All records
// of a fetch lie in one piece of memory, of up to a megabyte a partition: a text that was cut out
// of one of them, and is kept, keeps all of it.
package letgo

import (
	"runtime"
	"testing"
	"weak"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// least is the size of a fetch: large enough to share its memory with nothing else.
const least = 64 << 10

// After lays the bytes of messages into one piece of memory, as a fetch has them, has them used, and fails if that
// memory is still in use afterwards. The messages must be nowhere else than in the batch that read returns.
func After(t testing.TB, read func() service.MessageBatch, use func(service.MessageBatch)) {
	t.Helper()
	var fetch weak.Pointer[byte]
	used, over := false, make(chan struct{})
	go func() { // on a stack that is gone when it is looked
		defer close(over)
		batch := read()
		fetch = lay(t, batch)
		use(batch)
		used = true
	}()
	if <-over; !used {
		t.Fatal("the messages were not used to the end")
	}
	runtime.GC() // once: what lies in a sync.Pool outlives it
	if fetch.Value() != nil {
		t.Error("what was read of the log is kept after its messages were used")
	}
}

// lay moves the bytes of messages into one piece of memory.
func lay(t testing.TB, batch service.MessageBatch) weak.Pointer[byte] {
	size := least
	for _, msg := range batch {
		raw, err := msg.AsBytes()
		if err != nil {
			t.Error(err)
		}
		size += len(raw)
	}
	fetch := make([]byte, 0, size)
	for _, msg := range batch {
		raw, _ := msg.AsBytes() // as before
		from := len(fetch)
		fetch = append(fetch, raw...)
		msg.SetBytes(fetch[from:len(fetch):len(fetch)])
	}
	return weak.Make(&fetch[:1][0])
}
