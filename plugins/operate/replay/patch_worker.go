package replay

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"
)

// What a worker is told, once and for each event, and what it says.
type (
	workerSetup struct {
		Patch  string
		Limits patchLimits
	}
	workerEvent  struct{ Original []byte }
	workerAnswer struct {
		Repaired []byte
		Deleted  bool
		Problem  string
	}
)

// exitSlow is how a worker ends whose event takes too long.
const exitSlow = 3

// PatchWorker patches events that it reads until there are no more. It is for a
// process of its own: it limits that process, and an event that breaks the
// limits ends it.
func PatchWorker(in io.Reader, out io.Writer) error {
	hear, say := gob.NewDecoder(in), gob.NewEncoder(out)
	var setup workerSetup
	if err := hear.Decode(&setup); err != nil {
		return fmt.Errorf("reading the patch: %w", err)
	}
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(100)
	if err := limitMemory(setup.Limits.Memory); err != nil {
		return err
	}
	var ready workerAnswer
	mapping, err := parsePatch(setup.Patch)
	if err != nil {
		ready.Problem = err.Error()
	}
	if err := say.Encode(ready); err != nil || mapping == nil {
		return err
	}
	for {
		var e workerEvent
		if err := hear.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading an event to patch: %w", err)
		}
		late := time.AfterFunc(setup.Limits.Time, func() { os.Exit(exitSlow) })
		answer := patch(mapping, e.Original, setup.Limits.Size)
		late.Stop()
		if err := say.Encode(answer); err != nil {
			return fmt.Errorf("answering with a patched event: %w", err)
		}
	}
}

func patch(mapping *bloblang.Executor, original []byte, size int) (a workerAnswer) {
	msg, err := service.NewMessage(original).BloblangMutate(mapping)
	if err == nil && msg == nil {
		return workerAnswer{Deleted: true}
	}
	if err == nil {
		a.Repaired, err = msg.AsBytes()
	}
	if err != nil {
		return workerAnswer{Problem: err.Error()}
	}
	if len(a.Repaired) > size {
		return workerAnswer{Problem: fmt.Sprintf("it makes %d bytes of an event of %d: at most %d", len(a.Repaired),
			len(original), size)}
	}
	return a
}

// limitMemory lets this process have that much more of the address space than it
// has now, and makes it the first that the kernel ends when memory is short.
// Where the system does not tell how much that is, the time alone is
// limited.
func limitMemory(more uint64) error {
	raw, err := os.ReadFile("/proc/self/statm")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // where it cannot be said, the limit stands
	var pages uint64
	if err == nil {
		_, err = fmt.Sscan(string(raw), &pages)
	}
	if err == nil {
		limit := pages*uint64(os.Getpagesize()) + more
		err = syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit})
	}
	if err != nil {
		return fmt.Errorf("limiting the memory of a patch: %w", err)
	}
	return nil
}
