package gate

import (
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"weir/internal/event"
)

// devices bounds how many devices a fleet may have, because each costs rows, windows and memory
// downstream. It keeps hashes of the devices whose events this gate has accepted within
// deviceHours. A restart forgets them, and each gate counts for itself.
type devices struct {
	most int // 0: no bound, and nothing is kept
	seed maphash.Seed
	now  func() time.Time

	mu     sync.Mutex
	fleets map[string]*known
}

// known are the devices of a fleet, each with the hour in which it was last heard of.
type known struct {
	mu    sync.Mutex
	hours map[uint64]uint32
	swept uint32
}

// deviceHours is how long a silent device counts.
const deviceHours = 24

func newDevices(most int) *devices {
	return &devices{most: most, seed: maphash.MakeSeed(), now: time.Now, fleets: map[string]*known{}}
}

func (d *devices) of(fleet string) *known {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.fleets[fleet]
	if k == nil {
		k = &known{hours: map[uint64]uint32{}}
		d.fleets[fleet] = k
	}
	return k
}

// newcomer is a device that was new in a request, and the index of its first event.
type newcomer struct {
	hash  uint64
	index int
}

// admit rejects the events of new devices for which the fleet has no room, and returns the new
// devices that it has added. The caller must call settle with what became of their events.
func (d *devices) admit(r *request) (fresh []newcomer) {
	if d.most == 0 {
		return nil
	}
	k := d.of(r.fleet)
	hour := uint32(d.now().Unix() / 3600)
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range r.items {
		device := r.items[i].device()
		if device == nil || r.items[i].bad != nil {
			continue
		}
		hash := maphash.Bytes(d.seed, device)
		if _, there := k.hours[hash]; !there {
			if len(k.hours) >= d.most && !k.sweep(hour) {
				r.items[i].bad = event.Reject(event.CodeTooManyDevices, "/"+event.FieldDevice, fmt.Sprintf(
					"the fleet has %d devices, as many as it may have: a silent one gives its place up after %d hours; "+
						"limits.max_devices_per_fleet is the bound", d.most, deviceHours))
				continue
			}
			fresh = append(fresh, newcomer{hash, i})
		}
		k.hours[hash] = hour
	}
	return fresh
}

// sweep forgets silent devices, once an hour, and tells whether there is room.
func (k *known) sweep(hour uint32) (room bool) {
	if k.swept == hour {
		return false
	}
	k.swept = hour
	before := len(k.hours)
	for hash, heard := range k.hours {
		if hour-heard > deviceHours {
			delete(k.hours, hash)
		}
	}
	return len(k.hours) < before
}

// settle removes new devices whose first event was not accepted.
func (d *devices) settle(fleet string, fresh []newcomer, accepted func(index int) bool) {
	if len(fresh) == 0 {
		return
	}
	k := d.of(fleet)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, n := range fresh {
		if !accepted(n.index) {
			delete(k.hours, n.hash) // the next request with an event of it adds it again
		}
	}
}
