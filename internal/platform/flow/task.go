package flow

import "context"

// Task is a background goroutine of a component.
type Task struct {
	stop context.CancelFunc
	done chan struct{}
}

// Start runs work in a goroutine. Its context ends when End is called.
func Start(work func(context.Context)) *Task {
	ctx, stop := context.WithCancel(context.Background())
	t := &Task{stop, make(chan struct{})}
	go func() {
		defer close(t.done)
		work(ctx)
	}()
	return t
}

// End cancels the work and waits for it to finish. If ctx ends first, it returns ctx's error; End may then be called
// again.
func (t *Task) End(ctx context.Context) error {
	t.stop()
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
