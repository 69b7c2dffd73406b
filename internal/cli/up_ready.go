package cli

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

const (
	readyEvery = 100 * time.Millisecond
	readySlow  = 15 * time.Second // interval of messages about what is missing
)

type startedKey struct{}

// started returns what the engine calls when it has created all streams; it calls the function given to whenStarted.
func started(ctx context.Context) func(*service.RunningStreamSummary) error {
	return func(*service.RunningStreamSummary) error {
		if tell, is := ctx.Value(startedKey{}).(func()); is {
			tell()
		}
		return nil
	}
}

func whenStarted(ctx context.Context, tell func()) context.Context {
	if before, is := ctx.Value(startedKey{}).(func()); is {
		after := tell
		tell = func() { before(); after() }
	}
	return context.WithValue(ctx, startedKey{}, tell)
}

// serve runs the streams, and greets when all of them are connected. The first keys are created only then, so that a
// failed start shows none.
func (u *upRun) serve(ctx context.Context, home string) error {
	console := os.Stdout
	flush, err := quietStart()
	if err != nil {
		return err
	}
	defer flush()
	fresh, err := u.keyless(ctx)
	if err != nil {
		return fmt.Errorf("looking for keys: %w", err)
	}
	fmt.Fprintf(console, "weir starts on %s, with the configs of %s\n", u.data, home)
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	made := make(chan struct{})
	watch.Go(func() { u.welcome(watching, home, fresh, console, made) })
	err = u.runStreams(whenStarted(ctx, sync.OnceFunc(func() { close(made) })), home)
	stop()
	watch.Wait()
	return err
}

// welcome waits until the engine has created all streams and reports them connected, and then greets.
func (u *upRun) welcome(ctx context.Context, home string, fresh bool, console *os.File, made <-chan struct{}) {
	said := time.Now()
	for {
		missing, ready := u.ready(ctx)
		if ready {
			select {
			case <-made:
				u.greetFirst(ctx, home, fresh, console)
				return
			default: // the engine reports only the streams that it has created
				missing = "streams are being made"
			}
		}
		if time.Since(said) > readySlow {
			said = time.Now()
			fmt.Fprintf(console, "weir still starts: %s\n", missing)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(readyEvery):
		}
	}
}

// greetFirst creates the first keys of a new data directory, and greets.
func (u *upRun) greetFirst(ctx context.Context, home string, fresh bool, console *os.File) {
	ctx = context.WithoutCancel(ctx) // keys that were created must be shown
	var shown shownKeys
	var err error
	if fresh {
		shown, err = u.showFirst(ctx, console)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "making the first keys: %v; make them with 'weir keys create --data %s'\n", err, u.data)
	}
	u.greet(home, shown, console)
}

func (u *upRun) showFirst(ctx context.Context, console *os.File) (shownKeys, error) {
	fleet, admin, err := u.firstKeys(ctx)
	if err != nil {
		return shownKeys{}, err
	}
	return u.showKeys(fleet, admin, console)
}

// ready asks the engine whether all streams are connected, and what is missing.
func (u *upRun) ready(ctx context.Context) (missing string, ready bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	missing, ready, err := ask(ctx, reachable(u.addresses.Ops), "/ready")
	if err != nil {
		return err.Error(), false
	}
	return missing, ready
}
