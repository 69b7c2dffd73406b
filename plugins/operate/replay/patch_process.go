package replay

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// WorkerVerb is the argument with which this program is a PatchWorker.
const WorkerVerb = "patch-worker"

// startMost is how long a worker may take until it is ready.
const startMost = time.Minute

var errPatchStart = errors.New("starting the process that patches")

// patchProcess is a PatchWorker: this program once more, without its
// environment, and with limits of its own.
type patchProcess struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	say    *gob.Encoder
	hear   *gob.Decoder
	limits patchLimits
}

// startPatch returns when the worker has read the patch. It ends with ctx.
func startPatch(ctx context.Context, text string, limits patchLimits) (*patchProcess, error) {
	program := "/proc/self/exe" // what runs, even when a newer one lies in its place
	if _, err := os.Stat(program); err != nil {
		if program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("%w: %w", errPatchStart, err)
		}
	}
	cmd := exec.CommandContext(ctx, program, WorkerVerb)
	cmd.Env = []string{}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPatchStart, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPatchStart, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", errPatchStart, err)
	}
	p := &patchProcess{cmd: cmd, in: in, say: gob.NewEncoder(in), hear: gob.NewDecoder(out), limits: limits}
	ready, err := p.exchange(workerSetup{Patch: text, Limits: limits}, startMost)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPatchStart, err)
	}
	if ready.Problem != "" {
		p.close()
		return nil, fmt.Errorf("%w: %s", errPatch, ready.Problem)
	}
	return p, nil
}

// ask has one event patched. After an error the process is gone, and the error
// says why.
func (p *patchProcess) ask(original []byte) (workerAnswer, error) {
	answer, err := p.exchange(workerEvent{Original: original}, 2*p.limits.Time+10*time.Second)
	if err == nil {
		return answer, nil
	}
	if ended, is := errors.AsType[*exec.ExitError](err); is && ended.ExitCode() == exitSlow {
		return answer, fmt.Errorf("it takes longer than %s", p.limits.Time)
	}
	return answer, fmt.Errorf("it takes more than %d MiB of memory (%w)", p.limits.Memory>>20, err)
}

// exchange sends something and waits for its answer; the process itself keeps
// its limits, and most is for one that cannot any more.
func (p *patchProcess) exchange(send any, most time.Duration) (answer workerAnswer, err error) {
	late := time.AfterFunc(most, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err = p.say.Encode(send); err == nil {
		err = p.hear.Decode(&answer)
	}
	if err != nil {
		_ = p.in.Close() // its end tells more than the broken pipe
		_ = p.cmd.Process.Kill()
		if ended := p.cmd.Wait(); ended != nil {
			err = ended
		}
	}
	return answer, err
}

// close ends the process, which has nothing to do.
func (p *patchProcess) close() {
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // killed
}
