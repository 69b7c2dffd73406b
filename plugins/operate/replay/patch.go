package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
)

// patchLimits bound what a patch may take for one event, and what it may make
// of it. Bloblang cannot be interrupted, so a process of its own runs it.
type patchLimits struct {
	Time   time.Duration
	Memory uint64 // bytes, beside what the process has when it begins
	Size   int    // bytes of the repaired event
}

// shippedLimits are far from what repairing takes: milliseconds, and a few times
// the event's size.
func shippedLimits() patchLimits {
	return patchLimits{Time: 5 * time.Second, Memory: 512 << 20, Size: 8 << 20}
}

// breachesMost is after how many events that break the limits a job fails: each
// costs the limit's time.
const breachesMost = 3

// errPatch is of a patch that no other attempt makes better.
var errPatch = errors.New("patch")

// patchLanguage is what a patch is written in: it sees the event, neither files
// nor the environment, and has no functions that make much out of nothing, some
// of them while they are only parsed.
func patchLanguage() *bloblang.Environment {
	return bloblang.GlobalEnvironment().OnlyPure().WithDisabledImports().
		WithoutFunctions("range", "bytes", "nanoid", "counter").
		WithoutMethods("repeat", "bloblang", "json_schema", "compress", "decompress", "encrypt_aes", "decrypt_aes")
}

func parsePatch(text string) (*bloblang.Executor, error) {
	mapping, err := patchLanguage().Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: it is no Bloblang mapping of an event: %w", errPatch, err)
	}
	return mapping, nil
}

// checkPatch parses a patch, and runs nothing.
func checkPatch(text string) error {
	if len(text) > maxPatch {
		return fmt.Errorf("patch: at most %d bytes", maxPatch)
	}
	if text == "" {
		return nil
	}
	_, err := parsePatch(text)
	return err
}

// patcher repairs what a dead letter holds, before it goes back. It is used by
// one goroutine.
type patcher struct {
	ctx      context.Context // of the work; its end ends the process
	text     string
	limits   patchLimits
	process  *patchProcess // nil until there is work, and after a breach
	breaches int
}

func newPatcher(ctx context.Context, text string, limits patchLimits) *patcher {
	return &patcher{ctx: ctx, text: text, limits: limits}
}

// apply returns the repaired bytes: the event, with what the patch assigns
// changed. One that deletes the event says that it is not to be redriven: ok is
// false. An error is this event's, unless it is errPatch, or the work has ended.
func (p *patcher) apply(original []byte) (repaired []byte, ok bool, err error) {
	if p.text == "" {
		return original, true, nil
	}
	if p.process == nil {
		if p.process, err = startPatch(p.ctx, p.text, p.limits); err != nil {
			return nil, false, err
		}
	}
	answer, err := p.process.ask(original)
	if err != nil { // it is gone
		p.process = nil
		if p.ctx.Err() != nil {
			return nil, false, context.Cause(p.ctx)
		}
		if p.breaches++; p.breaches >= breachesMost {
			return nil, false, fmt.Errorf("%w: %d events were too much for it, the last because %w; make it simpler, or "+
				"choose fewer dead letters",
				errPatch, p.breaches, err)
		}
		return nil, false, fmt.Errorf("patching: %w", err)
	}
	if answer.Problem != "" {
		return nil, false, fmt.Errorf("patching: %s", answer.Problem)
	}
	return answer.Repaired, !answer.Deleted, nil
}

// fatal tells whether an error of apply ends more than its event.
func (p *patcher) fatal(err error) bool {
	return err != nil && (errors.Is(err, errPatch) || errors.Is(err, errPatchStart) || p.ctx.Err() != nil)
}

func (p *patcher) close() {
	if p.process != nil {
		p.process.close()
		p.process = nil
	}
}
