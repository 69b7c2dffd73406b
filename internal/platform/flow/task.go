package flow

import "context"

// Task is work that goes on beside a component, until it is told to stop.
type Task struct {
	stop context.CancelFunc
	done chan struct{}
}

// Start begins work. Its context ends when the task is told to.
func Start(work func(context.Context)) *Task {
	ctx, stop := context.WithCancel(context.Background())
	t := &Task{stop, make(chan struct{})}
	go func() {
		defer close(t.done)
		work(ctx)
	}()
	return t
}

// End tells the work to stop and waits until it has. It returns the context's
// error when the work went on for longer; End may be called again then.
func (t *Task) End(ctx context.Context) error {
	t.stop()
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
