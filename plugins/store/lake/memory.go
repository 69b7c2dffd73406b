package lake

import (
	"context"
	"fmt"
	"sync"
	"time"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
)

// Memory tells a writer which records its store holds already, so that a
// record that the log delivers again - after a crash between upload and commit,
// after a rebalance - is not stored twice. What it knows it reads from the
// objects themselves. It is a help, not the guarantee: two owners of a
// partition can still store a record each, which readers see as one.
type Memory struct {
	store  *Store
	recall time.Duration // how far back records can be delivered again
	known  knownRecords
	graves graves

	mu       sync.Mutex
	read     map[string]time.Time    // objects whose footers are in known, by key
	listed   time.Time               // when the store was last listed
	forgot   time.Time               // when known was last pruned
	seen     map[Partition]partition // what this process has been given
	doubt    bool                    // a write failed: it may be there all the same
	historic map[string]*past        // days older than recall, for what is published again
}

type partition struct {
	last int64
	at   time.Time
}

// past is what the objects of one day cover.
type past struct {
	known knownRecords
	read  time.Time
}

const (
	listMargin  = 10 * time.Minute // an object may appear this long after the time in its name
	idleAfter   = 30 * time.Second // a partition not seen for this long may have had another owner
	gapInterval = 5 * time.Second  // gaps in offsets cause a listing this often at most
	pastDays    = 8                // days of old coverage that are held
	pastAge     = 10 * time.Minute // and for how long
)

// NewMemory makes a memory of what was written to the store within recall.
func NewMemory(store *Store, recall time.Duration) *Memory {
	return &Memory{store: store, recall: recall, read: map[string]time.Time{},
		seen: map[Partition]partition{}, historic: map[string]*past{}}
}

// Load reads the coverage of the objects written within recall.
func (m *Memory) Load(ctx context.Context, now time.Time) error {
	if err := m.graves.refresh(ctx, m.store, now); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refresh(ctx, now, now.Add(-m.recall))
}

// Tombstones are those that a batch is to honour, to be asked for after Prepare:
// a row that they hold is not to be stored, but its record is accounted for.
func (m *Memory) Tombstones() *tombstone.Set { return m.graves.set.Load() }

// refresh reads the objects written since a time that are not known yet.
func (m *Memory) refresh(ctx context.Context, now, since time.Time) error {
	err := m.store.eachFooter(ctx, func(ctx context.Context) ([]Object, error) {
		return m.store.Objects(ctx, Select{WrittenSince: since, Duplicates: true})
	}, m.read, func(f Footer) error {
		m.known.Add(f.Coverage, f.Written)
		return nil
	})
	if err == nil {
		m.listed, m.doubt = now, false
	}
	return err
}

// Prepare makes sure that what is known of the batch's partitions is fresh. It
// lists the store when it must: a partition is new to this process, or comes
// back, or jumps ahead, which all mean that another process may have stored
// records of it; or a write has failed without saying whether it took place.
func (m *Memory) Prepare(ctx context.Context, now time.Time, batch map[Partition]Span) error {
	if err := m.graves.refresh(ctx, m.store, now); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	stale := m.doubt
	for p, span := range batch {
		seen, ok := m.seen[p]
		switch {
		case !ok, now.Sub(seen.at) > idleAfter:
			stale = true
		case span.First > seen.last+1 && now.Sub(m.listed) > gapInterval:
			stale = true
		}
	}
	if stale {
		if err := m.refresh(ctx, now, m.listed.Add(-listMargin)); err != nil {
			return fmt.Errorf("reading which records are stored: %w", err)
		}
	}
	for p, span := range batch {
		m.seen[p] = partition{last: max(m.seen[p].last, span.Last), at: now}
	}
	m.prune(now)
	return nil
}

func (m *Memory) prune(now time.Time) {
	if now.Sub(m.forgot) < time.Minute {
		return
	}
	m.forgot = now
	limit := now.Add(-m.recall)
	m.known.Forget(limit)
	for key, written := range m.read {
		if written.Before(limit) {
			delete(m.read, key)
		}
	}
	for day, p := range m.historic {
		if now.Sub(p.read) > pastAge {
			delete(m.historic, day)
		}
	}
}

// Has tells whether the store holds the record, among what was written within
// recall. received is when the record's event was received.
func (m *Memory) Has(c event.Coordinates, received time.Time) bool { return m.known.Has(c, received) }

// HadOn tells whether the store holds a delivery that may be older than
// recall, by the coverage of the day's folder, which it reads on first use.
func (m *Memory) HadOn(ctx context.Context, now, day time.Time, c event.Coordinates, received time.Time) (bool, error) {
	if m.known.Has(c, received) {
		return true, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	folder := DateFolder(day)
	p := m.historic[folder]
	if p == nil || now.Sub(p.read) > pastAge {
		if len(m.historic) >= pastDays {
			clear(m.historic)
		}
		p = &past{read: now}
		err := m.store.eachFooter(ctx, func(ctx context.Context) ([]Object, error) {
			return m.store.Folder(ctx, folder)
		}, map[string]time.Time{}, func(f Footer) error {
			p.known.Add(f.Coverage, f.Written)
			return nil
		})
		if err != nil {
			return false, fmt.Errorf("reading which records of %s are stored: %w", folder, err)
		}
		m.historic[folder] = p
	}
	return p.known.Has(c, received), nil
}

// Put writes an object of the table and remembers what it covers. After an
// error the next Prepare looks whether the object is there all the same. It is
// an error when there are other tombstones than those that the rows were chosen
// by: the batch is to be prepared again.
func (m *Memory) Put(ctx context.Context, honoured *tombstone.Set, name Name, t *Table, n int, opt Options,
	coverage *Coverage, columns Columns) (size int64, err error) {
	body, err := t.Encode(n, opt, coverage, columns)
	if err != nil {
		return 0, err
	}
	if err := m.graves.refresh(ctx, m.store, time.Now()); err != nil {
		return 0, err
	}
	if m.graves.set.Load() != honoured {
		return 0, errErased
	}
	key := name.Path()
	ctx, cancel := context.WithTimeout(ctx, tombstoneAge) // see EraseSettle
	defer cancel()
	if err := m.store.PutBytes(ctx, key, body); err != nil {
		m.mu.Lock()
		m.doubt = true
		m.mu.Unlock()
		return 0, err
	}
	m.known.Add(*coverage, name.Written)
	m.mu.Lock()
	m.read[key] = name.Written
	m.mu.Unlock()
	return int64(len(body)), nil
}

// SpansOf returns the offsets of each partition in a batch of n records.
func SpansOf(n int, at func(i int) (c event.Coordinates, logged bool)) map[Partition]Span {
	spans := map[Partition]Span{}
	var last Partition
	var span Span
	open := false
	for i := range n {
		c, ok := at(i)
		if !ok {
			continue
		}
		if p := PartitionOf(c); !open || p != last {
			if open {
				spans[last] = span
			}
			last, open = p, true
			if span, ok = spans[p]; !ok {
				span = Span{First: c.Offset, Last: c.Offset}
			}
		}
		span.First, span.Last = min(span.First, c.Offset), max(span.Last, c.Offset)
	}
	if open {
		spans[last] = span
	}
	return spans
}
