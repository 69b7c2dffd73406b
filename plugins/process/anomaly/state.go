package anomaly

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

const shardCount = 64

// state has the devices of this process, bounded by the number of series. Lock a device's shard to
// use the device.
type state struct {
	seed   maphash.Seed
	shards [shardCount]shard
	series atomic.Int64
	limit  int64
	names  names
}

type shard struct {
	mu      sync.Mutex
	devices map[deviceKey]*device
}

func newState(limit int) *state {
	s := &state{seed: maphash.MakeSeed(), limit: int64(limit), names: names{list: map[string]string{}}}
	for i := range s.shards {
		s.shards[i].devices = map[deviceKey]*device{}
	}
	return s
}

func (s *state) shard(key deviceKey) *shard {
	return &s.shards[maphash.String(s.seed, key.device)%shardCount]
}

// put adds a device. Its shard must be locked.
func (s *state) put(sh *shard, d *device) { sh.devices[d.key] = d }

// grown counts n new series of a device. Beyond the limit it evicts other devices of its shard,
// which must be locked.
func (s *state) grown(sh *shard, d *device, n int) (evicted int) {
	if n == 0 {
		return 0
	}
	for s.series.Add(int64(n)) > s.limit {
		n = 0
		idlest := sh.idlest(d)
		if idlest == nil {
			break
		}
		s.remove(sh, idlest)
		evicted++
	}
	return evicted
}

func (s *state) remove(sh *shard, d *device) {
	delete(sh.devices, d.key)
	s.series.Add(-int64(len(d.series)))
}

// idlest returns the longest unused device of a few random ones, except but; nil if there is none.
func (sh *shard) idlest(but *device) (idlest *device) {
	n := 0
	for _, d := range sh.devices {
		if d != but && (idlest == nil || d.lastSeen < idlest.lastSeen) {
			idlest = d
		}
		if n++; n == 16 {
			break
		}
	}
	return idlest
}

// evict forgets the devices that were last seen before a time. An open alert stays open in the
// alert store, from which it is loaded again.
func (s *state) evict(before int64) (evicted int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, d := range sh.devices {
			if d.lastSeen < before {
				s.remove(sh, d)
				evicted++
			}
		}
		sh.mu.Unlock()
	}
	return evicted
}

// names shares the memory of equal metric names.
type names struct {
	mu   sync.RWMutex
	list map[string]string
}

func (n *names) intern(name string) string {
	n.mu.RLock()
	own, ok := n.list[name]
	n.mu.RUnlock()
	if ok {
		return own
	}
	own = strings.Clone(name)
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.list) < 10000 { // beyond that, there is little to share
		n.list[own] = own
	}
	return own
}
