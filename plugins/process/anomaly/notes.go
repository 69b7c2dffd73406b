package anomaly

import (
	"context"
	"sync"
)

// maxNotes bounds the notes that wait for a store that is down. A note that is lost is made again
// when the device is next loaded.
const maxNotes = 100_000

// notes are the devices whose learning or firmware has to be stored. A crash loses them; the next
// process makes them again, from the same event or from the first that it judges.
type notes struct {
	mu   sync.Mutex
	list map[deviceKey]learn
}

func (n *notes) add(key deviceKey, l learn) {
	if key.replay {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if before, ok := n.list[key]; ok {
		l.void = l.void || before.void
	} else if len(n.list) >= maxNotes {
		return
	}
	n.list[key] = l
}

// flush stores the notes; those that it cannot store are kept for the next call.
func (n *notes) flush(ctx context.Context, m memory) error {
	n.mu.Lock()
	list := n.list
	n.list = map[deviceKey]learn{}
	n.mu.Unlock()
	chunk := map[deviceKey]learn{}
	for key, l := range list {
		chunk[key] = l
		delete(list, key)
		if len(chunk) < loadChunk && len(list) > 0 {
			continue
		}
		if err := m.save(ctx, chunk); err != nil {
			n.restore(chunk)
			n.restore(list)
			return err
		}
		clear(chunk)
	}
	return nil
}

// restore puts notes back. Newer ones take precedence.
func (n *notes) restore(list map[deviceKey]learn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, l := range list {
		if newer, ok := n.list[key]; ok {
			newer.void = newer.void || l.void
			n.list[key] = newer
		} else if len(n.list) < maxNotes {
			n.list[key] = l
		}
	}
}
