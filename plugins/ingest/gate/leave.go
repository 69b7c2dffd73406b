package gate

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// A gate stops in three steps. Told to end, the process waits for the engine's
// shutdown_delay (WEIR_DRAIN), in which the gate is leaving: it takes everything,
// but load balancers hear that it is not ready, and each answer ends its
// connection, so that clients come again, to whoever listens then. The engine
// does not take a batch from an input that it has told to stop, so this has to
// come before. Then it stops reading, and the gate is draining: what comes in is
// refused, with a status. At last, when all that it took is acknowledged or has
// failed, it closes. Without a delay, and when a config is taken up anew, there
// are the last two alone.

// watchSignals makes the gate leave at the first signal to end. Later ones are
// the engine's alone: one ends its delay.
func (g *gate) watchSignals() {
	if g.signals != nil {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	done := context.AfterFunc(ctx, func() {
		stop()
		g.leave()
	})
	g.signals = func() {
		done()
		stop()
	}
}

func (g *gate) leave() {
	if g.leaving.CompareAndSwap(false, true) {
		g.log.Info("the gate is leaving: it is not ready any more, and takes events until the engine stops it")
	}
}

func (g *gate) isLeaving() bool { return g.leaving.Load() || g.isDraining() }

func (g *gate) isDraining() bool {
	select {
	case <-g.draining:
		return true
	default:
		return false
	}
}
