package event

import (
	"sync/atomic"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Witness knows whether an output of this process calls RecordWritten. If one does, an event that was not recorded
// was dropped by a processor.
type Witness struct{ there atomic.Bool }

type witnessKey struct{}

// WitnessOf returns the Witness of the process.
func WitnessOf(res *service.Resources) *Witness {
	w, _ := res.GetOrSetGeneric(witnessKey{}, &Witness{})
	return w.(*Witness)
}

// Announce declares such an output. An output calls it in its constructor, before its stream receives anything.
func (w *Witness) Announce() { w.there.Store(true) }

// There tells whether Announce was called.
func (w *Witness) There() bool { return w.there.Load() }
