package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
)

// Writing the row of every key that a batch touched costs several times what
// counting does. So a batch is an entry of a journal: what rules look at of each
// event, in the order of the log, and where time went on without one. Rows are
// written now and then, of one partition at a time, and its journal goes with it.
//
// Rows with the journal after them are what a partition has in memory: who takes
// it over reads the rows, and counts the entries again by the rules and bounds
// that they were counted by, as its first entry has them. What they told is told
// already. So nothing is journaled while a rule drains or while only some fleets
// have it, nor where two topics are joined: rows are written with each batch then.
const (
	// journalMost is how many bytes the journals of a process's partitions may
	// have together: a million events or less, which a start counts again in a
	// second or two.
	journalMost = 32 << 20
	// rowsEvery is how long an entry waits at most for the next batch to write its
	// rows.
	rowsEvery = 30 * time.Second
)

// journaled is what a partition has in its journal, and what goes there next.
type journaled struct {
	enters  bool // what is applied goes there
	entry   entryWriter
	lag     int       // bytes that rows lack
	since   time.Time // when it had none
	scratch []byte
}

// open begins the entry of a batch.
func (h *held) open() {
	h.enters = len(h.drains) == 0 && len(h.tally.Turns) == 0 && h.forSome == nil && h.sides == nil
	if !h.enters {
		return
	}
	of := head{h.set.Version, "", h.time, h.delay, h.perFleet}
	if h.lag == 0 {
		of.text = h.set.text
	}
	h.entry.begin(of)
}

// enter notes an event that rules were given; of one that all of them have passed over
// the time alone is enough.
func (h *held) enter(raw []byte, e *record, device string, counted bool) {
	if !h.enters {
		return
	}
	if !counted {
		h.entry.time(h.time)
		return
	}
	if !h.whole {
		var all bool
		if h.scratch, all = h.reader.Append(h.scratch[:0]); all {
			h.entry.event(tagEvent, e, device, h.scratch)
			return
		}
	}
	h.entry.event(tagWhole, e, device, raw)
}

// replay counts entries again, those of one fleet or, if it is "", of all. Nothing of
// it is told, and nothing noted.
func (p *partition) replay(entries [][]byte, fleet string) error {
	type noted struct {
		tally   Counts
		givenUp int64
	}
	before := make([]noted, len(p.ops))
	for i, op := range p.ops {
		before[i] = noted{op.tally, op.givenUp}
	}
	delay, perFleet := p.delay, p.perFleet
	for _, entry := range entries {
		d := &decoder{b: entry}
		h := d.head()
		p.delay, p.perFleet = h.delay, h.perFleet
		err := d.each(func(e *entered) (err error) {
			switch {
			case e.tag == tagTime:
				p.advance(e.to)
				return nil
			case fleet != "" && e.Fleet != fleet:
				p.advance(e.At - h.delay)
				return nil
			case e.tag == tagWhole:
				err = p.reader.Read(e.payload)
			default:
				err = p.reader.Take(e.payload)
			}
			if err != nil {
				return fmt.Errorf("reading the journal of rules: %w", err)
			}
			p.take(&e.record)
			p.out, p.misses = p.out[:0], p.misses[:0]
			return nil
		})
		if err != nil {
			return err
		}
	}
	p.delay, p.perFleet = delay, perFleet
	p.out, p.misses = p.out[:0], p.misses[:0]
	for i, op := range p.ops {
		op.tally, op.givenUp = before[i].tally, before[i].givenUp
	}
	return nil
}

// resume counts the journal of a partition again, whose rows are in memory, as
// they were before it. The entries are those of the rules that it is of.
func (h *held) resume(entries [][]byte, moment int64) error {
	if err := h.replay(entries, ""); err != nil {
		return err
	}
	if h.time != moment {
		return fmt.Errorf("reading the journal of %s/%d: it ends at the time %d, and the partition stands at %d: %w", h.topic,
			h.number, h.time, moment, errDamaged)
	}
	h.since = time.Now()
	for _, e := range entries {
		h.lag += len(e)
	}
	return nil
}

// fold writes what a journal has as rows, by the rules that it was counted by: those
// of a set that is known, or of its text.
func fold(ctx context.Context, tx *sql.Tx, dialect sqldb.Dialect, known map[string]*Set, at place, pos *position,
	entries [][]byte) error {
	of, err := headOf(entries[0])
	if err != nil {
		return err
	}
	set := known[of.rules]
	if set == nil {
		if set, err = Parse([]byte(of.text)); err != nil {
			return fmt.Errorf("reading the rules of a journal: %w", err)
		}
	}
	set = set.at(at.topic)
	h := &held{partition: newPartition(set, at.topic, at.number, of.delay, of.perFleet), position: *pos}
	h.time, h.origin = of.time, pos.log
	if _, err := h.load(ctx, tx); err != nil {
		return err
	}
	if err := h.resume(entries, pos.moment); err != nil {
		return err
	}
	return h.saveRows(ctx, tx, rowsMost(dialect))
}

// readJournal reads the entries of a partition, in order.
func readJournal(ctx context.Context, tx *sql.Tx, at place) (entries [][]byte, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT entry FROM rule_journal WHERE topic = $1 AND part = $2 ORDER BY seq`, at.topic,
		at.number)
	if err != nil {
		return nil, fmt.Errorf("reading the journal of %s/%d: %w", at.topic, at.number, err)
	}
	for rows.Next() {
		var entry []byte
		if err = rows.Scan(&entry); err != nil {
			break
		}
		entries = append(entries, entry)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("reading the journal of %s/%d: %w", at.topic, at.number, err)
	}
	return entries, nil
}

// saveEntry writes the entry of a batch. It is numbered by the version that the
// partition has with it.
func (h *held) saveEntry(ctx context.Context, tx *sql.Tx) error {
	if h.entry.empty() {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO rule_journal (topic, part, seq, entry) VALUES ($1, $2, $3, $4)`, h.topic,
		h.number, h.version+1, h.entry.bytes()); err != nil {
		return fmt.Errorf("writing the journal of %s/%d: %w", h.topic, h.number, err)
	}
	if h.lag == 0 {
		h.since = time.Now()
	}
	h.lag += len(h.entry.b)
	return nil
}

// emptyJournal deletes the entries of a partition.
func emptyJournal(ctx context.Context, tx *sql.Tx, at place) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM rule_journal WHERE topic = $1 AND part = $2`, at.topic,
		at.number); err != nil {
		return fmt.Errorf("emptying the journal of %s/%d: %w", at.topic, at.number, err)
	}
	return nil
}

// duly is which of the partitions of a batch writes its rows with it: one at a
// time, so that no batch waits for many. A partition that had nothing for long may
// be another process's by now.
func (o *output) duly(changed []*held) (due *held) {
	all := 0
	for _, h := range o.places {
		if time.Since(h.arrived) < 2*rowsEvery {
			all += h.lag
		}
	}
	for _, h := range changed {
		if h.lag > 0 && (all >= o.journalMost || time.Since(h.since) >= rowsEvery) && (due == nil || h.lag > due.lag) {
			due = h
		}
	}
	return due
}
