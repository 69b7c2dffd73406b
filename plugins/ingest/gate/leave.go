package gate

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// A gate stops in three steps.
//
// First it leaves: when the process is told to end, the engine waits for shutdown_delay
// (WEIR_DRAIN). Meanwhile the gate accepts everything, but tells load balancers that it is not
// ready, and ends each connection with its next answer, so that clients connect again elsewhere.
// This must come first, because the engine takes no batch from an input that it has told to stop.
//
// Then it drains: the engine stops reading, and new requests are refused with a status.
//
// At last it closes, when everything that it accepted is acknowledged or has failed.
//
// Without a delay, and when the config is reloaded, there are only the last two steps.

// watchSignals makes the gate leave at the first signal to end. Later signals are for the engine:
// one ends its delay.
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
