package lake

import (
	"context"
	"fmt"
	"sync"
	"time"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
)

// Memory tells a writer which records its store has already, so that a record that the log
// delivers again, after a crash between upload and commit or after a rebalance, is not stored
// again. It reads them from the coverage of objects. It cannot exclude repeats: two processes that
// own a partition at the same time may both store a record, which readers show once. It is safe
// for concurrent use.
type Memory struct {
	store  *Store
	recall time.Duration // how long after it was written a record may be delivered again
	known  knownRecords
	graves graves

	mu       sync.Mutex
	read     map[string]time.Time    // when the objects in known were written, by key
	listed   time.Time               // when the store was last listed
	forgot   time.Time               // when known was last pruned
	seen     map[Partition]partition // the last offsets that this process has received
	doubt    bool                    // a write failed, but the object may exist
	historic map[string]*past        // by folder: days older than recall, for replayed records
}

type partition struct {
	last int64
	at   time.Time
}

// past is the coverage of the objects of one day.
type past struct {
	known knownRecords
	read  time.Time
}

const (
	listMargin  = 10 * time.Minute // how long after the time in its name an object may appear
	idleAfter   = 30 * time.Second // after this time without records a partition may have had another owner
	gapInterval = 5 * time.Second  // how often gaps in offsets cause a listing at most
	pastDays    = 8                // how many days of old coverage are kept
	pastAge     = 10 * time.Minute // how long they are kept
)

// NewMemory returns an empty memory for what was written to the store within recall.
func NewMemory(store *Store, recall time.Duration) *Memory {
	return &Memory{store: store, recall: recall, read: map[string]time.Time{},
		seen: map[Partition]partition{}, historic: map[string]*past{}}
}

// Load reads the tombstones, and the coverage of the objects that were written within recall.
func (m *Memory) Load(ctx context.Context, now time.Time) error {
	if err := m.graves.refresh(ctx, m.store, now); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refresh(ctx, now, now.Add(-m.recall))
}

// Tombstones returns the tombstones for a batch, after Prepare: a row that they cover must not be
// stored, but its record must be in the coverage, as erased.
func (m *Memory) Tombstones() *tombstone.Set { return m.graves.set.Load() }

// refresh reads the footers of the objects written since a time that were not read yet.
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

// Prepare updates what is known of the batch's partitions. It lists the store if another process
// may have stored records of them, which is when a partition is new to this process, was idle, or
// skips offsets; or if a write has failed, after which the object may exist.
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

// Has reports whether the store has the record, among those that were written within recall.
// received is when the record's event was received.
func (m *Memory) Has(c event.Coordinates, received time.Time) bool { return m.known.Has(c, received) }

// HadOn reports whether the store has a delivery that may be older than recall. It reads the
// coverage of the day's folder, and keeps it for pastAge.
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

// Put writes an object of the table, and remembers what it covers. After an error of the store the
// object may exist; the next Prepare finds out. honoured are the tombstones by which the rows were
// selected. If there are others now, Put writes nothing and returns an error: the batch must be
// prepared again.
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

// SpansOf returns the first and the last offset of each partition in a batch of n records. at
// returns the coordinates of record i; logged is false if it has none.
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
