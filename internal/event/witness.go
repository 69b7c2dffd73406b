package event

import (
	"sync/atomic"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Witness knows whether an output of this process notes what it writes, with
// RecordWritten. Then an event that nobody has noted is not written: a processor
// dropped it.
type Witness struct{ there atomic.Bool }

type witnessKey struct{}

// WitnessOf returns that of the engine's process.
func WitnessOf(res *service.Resources) *Witness {
	w, _ := res.GetOrSetGeneric(witnessKey{}, &Witness{})
	return w.(*Witness)
}

// Announce says that there is one. An output does it when it is made, which is
// before its stream takes anything in.
func (w *Witness) Announce() { w.there.Store(true) }

// There tells whether one was announced.
func (w *Witness) There() bool { return w.there.Load() }
