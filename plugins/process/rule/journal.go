package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"weir/internal/platform/sqldb"
)

// Writing the row of every key that a batch touched costs several times what
// counting does. So a batch is an entry of a journal: what rules look at of each
// event, in the order of the log, and where time went on without one. Rows are
// written some with each batch, when it is time (checkpoint.go).
//
// Rows with the journal after them are what a partition has in memory: who takes
// it over reads the rows, and counts the entries again by the rules and bounds
// that they were counted by, as its first entry has them. What they told is told
// already. So nothing is journaled while a rule drains or while only some fleets
// have it, nor where two topics are joined: rows are written with each batch then.

// journalMost is how many bytes the journals of a process's partitions have together
// before a checkpoint begins: a million events or less, which a start counts again in
// a few seconds. With more memory it is up to journalTimes as many: a key that changes all
// the time is a row so many times less often, and a start takes so many times as long.
const (
	journalMost  = 64 << 20
	journalTimes = 8
)

// emptySeq is what rows count of an empty journal.
const emptySeq = 0

// journaled is the journal of a partition, and its next entry.
type journaled struct {
	checkpoint
	enters  bool // what is applied goes there
	entry   entryWriter
	lag     int       // bytes of the entries that no checkpoint covers
	since   time.Time // when it had none
	scratch []byte
}

// head is that of what goes into the journal next.
func (h *held) head(text string) head {
	return head{entryVersion, h.set.Version, text, h.time, h.delay, h.perFleet}
}

// open begins the entry of a batch, if it is journaled. The first entry of a journal, and the first after a checkpoint
// began, have the text of the rules.
func (h *held) open() {
	h.enters = len(h.drains) == 0 && len(h.tally.Turns) == 0 && h.forSome == nil && h.sides == nil
	if !h.enters {
		return
	}
	text := ""
	if h.lag == 0 {
		text = h.set.text
	}
	h.entry.begin(h.head(text))
}

// enter notes an event that rules were given, and what they missed of it; of one that all
// of them have passed over the time alone is enough.
func (h *held) enter(raw []byte, e *record, device string, counted bool, missed []Miss) {
	if !h.enters {
		return
	}
	if !counted {
		h.entry.time(h.time)
		return
	}
	for i := range missed {
		if missed[i].beyond() {
			h.entry.refused(missed[i].Rule)
		}
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

// replay counts entries again, those of one fleet or, if it is "", of all, for the keys
// whose rows do not count them yet. Nothing of it is told, and nothing noted. p.recount is
// from before the rows were read.
func (p *partition) replay(entries []journaledAt, fleet string) error {
	type noted struct {
		tally   Counts
		givenUp int64
	}
	before := make([]noted, len(p.ops))
	for i, op := range p.ops {
		before[i] = noted{op.tally, op.givenUp}
	}
	delay, perFleet := p.delay, p.perFleet
	for _, one := range entries {
		d := &decoder{b: one.entry}
		h := d.head()
		p.delay, p.perFleet = h.delay, h.perFleet
		p.recount.comes(p, one.seq, h.version)
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
			p.recount.refused = e.refused
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
	p.recount.wake(p, never)
	p.recount = nil
	return nil
}

// resume counts the entries of a partition's journal again, whose rows are in memory, as
// they were counted by the same rules and bounds.
func (h *held) resume(j journal, moment int64) (err error) {
	if err := h.overlay(j, ""); err != nil {
		return err
	}
	if err := h.replay(j.entries, ""); err != nil {
		return err
	}
	if h.time != moment {
		return fmt.Errorf("reading the journal of %s/%d: it ends at the time %d, and the partition stands at %d: %w", h.topic,
			h.number, h.time, moment, errDamaged)
	}
	h.since, h.trimmed = time.Now(), j.before()
	for _, e := range j.entries {
		h.lag += len(e.entry)
	}
	return nil
}

// fold writes a journal as rows, and empties it, by the rules by which it was counted: a known set of that version, or
// their text in the journal.
func fold(ctx context.Context, tx *sql.Tx, dialect sqldb.Dialect, known map[string]*Set, at place, pos *position,
	j journal) error {
	set := known[j.of.rules]
	if set == nil {
		var err error
		if set, err = j.set(); err != nil {
			return err
		}
	}
	set = set.at(at.topic)
	h := &held{partition: newPartition(set, at.topic, at.number, j.of.delay, j.of.perFleet), position: *pos}
	h.time, h.origin, h.recount = j.of.time, pos.log, j.recount()
	if _, err := h.load(ctx, tx); err != nil {
		return err
	}
	if err := h.resume(j, pos.moment); err != nil {
		return err
	}
	if err := h.saveRows(ctx, tx, rowsMost(dialect)); err != nil {
		return err
	}
	return emptyJournal(ctx, tx, at) // also where it has nothing but images
}

// journal is the journal of a partition as it was read.
type journal struct {
	of      head          // of the first entry: where counting goes on from
	text    string        // of the rules
	images  []journaledAt // of an earlier weir: journal_before.go
	entries []journaledAt
	old     bool // an earlier weir wrote some of it
}

type journaledAt struct {
	seq   int64
	entry []byte
}

func (j *journal) empty() bool { return len(j.images) == 0 && len(j.entries) == 0 }

// before is the last entry that is gone.
func (j *journal) before() int64 {
	if len(j.entries) == 0 {
		return math.MaxInt64
	}
	return j.entries[0].seq - 1
}

// recount is how its entries are counted again; nil: there are none.
func (j *journal) recount() *recount {
	if len(j.entries) == 0 {
		return nil
	}
	return &recount{first: j.entries[0].seq, graves: map[*operator]map[string]int64{}}
}

// set parses the rule set by which the journal was counted.
func (j *journal) set() (*Set, error) {
	set, err := parseKept([]byte(j.text))
	if err != nil {
		return nil, fmt.Errorf("reading the rules of a journal: %w", err)
	}
	return set, nil
}

// readJournal reads the journal of a partition.
func readJournal(ctx context.Context, tx *sql.Tx, at place) (j journal, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT seq, entry FROM rule_journal WHERE topic = $1 AND part = $2 ORDER BY seq`,
		at.topic, at.number)
	if err != nil {
		return j, fmt.Errorf("reading the journal of %s/%d: %w", at.topic, at.number, err)
	}
	for rows.Next() {
		var one journaledAt
		if err = rows.Scan(&one.seq, &one.entry); err != nil {
			break
		}
		j.old = j.old || len(one.entry) > 0 && one.entry[0] != entryVersion
		if isImage(one.entry) {
			j.images, j.entries = append(j.images, one), nil
		} else {
			j.entries = append(j.entries, one)
		}
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return j, fmt.Errorf("reading the journal of %s/%d: %w", at.topic, at.number, err)
	}
	return j, j.begin()
}

// begin reads the head from which counting goes on.
func (j *journal) begin() (err error) {
	switch {
	case len(j.images) > 0:
		j.of, err = headOf(j.images[len(j.images)-1].entry)
	case len(j.entries) > 0:
		j.of, err = headOf(j.entries[0].entry)
	}
	j.text = j.of.text
	return err
}

// saveEntry writes the entry of a batch.
func (h *held) saveEntry(ctx context.Context, tx *sql.Tx) error {
	if h.entry.empty() {
		return nil
	}
	if err := h.journal(ctx, tx, h.entry.bytes()); err != nil {
		return err
	}
	h.entered(len(h.entry.b))
	return nil
}

// entered adds the size of an entry to lag.
func (h *held) entered(bytes int) {
	if h.lag == 0 {
		h.since = time.Now()
	}
	h.lag += bytes
}

// journal writes an entry. It is numbered by the version that the partition has with it.
func (h *held) journal(ctx context.Context, tx *sql.Tx, entry []byte) error {
	return writeEntry(ctx, tx, place{h.topic, h.number}, h.version+1, entry)
}

func writeEntry(ctx context.Context, tx *sql.Tx, at place, seq int64, entry []byte) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO rule_journal (topic, part, seq, entry) VALUES ($1, $2, $3, $4)`, at.topic,
		at.number, seq, entry); err != nil {
		return fmt.Errorf("writing the journal of %s/%d: %w", at.topic, at.number, err)
	}
	return nil
}

// emptyJournal deletes the journal of a partition.
func emptyJournal(ctx context.Context, tx *sql.Tx, at place) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM rule_journal WHERE topic = $1 AND part = $2`, at.topic,
		at.number); err != nil {
		return fmt.Errorf("emptying the journal of %s/%d: %w", at.topic, at.number, err)
	}
	return nil
}
