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

// Writing the row of every key that a batch changed costs several times what counting does. So a batch writes one entry
// into a journal instead: of each event the values that rules look at, in the order of the log, and the steps of the
// watermark that no event made. The rows are written later, by checkpoints (checkpoint.go).
//
// The rows and the entries after them yield the state that a partition has in memory. A process that takes the
// partition over reads the rows, and replays the entries with the rules and limits under which they were first counted:
// the first entry has the text of the rules, and each entry its limits. The results of a replay are dropped, since they
// were stored with the batch. A replay works with one rule set at one place. So while a rule drains or a version is
// active for some fleets only, and where two topics are joined, nothing is journaled: each batch writes its rows.

// journalMost is the size in bytes that the journals of a process's partitions have together when a checkpoint begins.
// That is a million events or less, which are replayed at a start in a few seconds. With more memory it is up to
// journalTimes as large, so that a key that changes all the time is written less often; a start takes that many times
// as long.
const (
	journalMost  = 64 << 20
	journalTimes = 8
)

// emptySeq is the seq of rows that are written together with the deletion of the journal.
const emptySeq = 0

// journaled is the journal of a partition, and its next entry.
type journaled struct {
	checkpoint
	enters  bool // the current batch is journaled
	entry   entryWriter
	lag     int       // the size in bytes of the entries that no checkpoint covers
	since   time.Time // since when there are such entries
	scratch []byte
}

// head returns the head of the next entry.
func (h *held) head(text string) head {
	return head{entryVersion, h.set.Version, text, h.time, h.delay, h.perFleet}
}

// open begins the entry of a batch, if the batch is journaled. The first entry of a journal, and the first after a
// checkpoint began, which will be the first of the journal, have the text of the rules.
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

// enter adds an event to the entry, with the rules that refused its key. If every rule filtered the event out (counted
// is false), it adds only the watermark.
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

// replay counts entries again, of one fleet or, if fleet is "", of all, for the keys whose rows do not count them yet.
// It emits no results, and leaves the tallies as they were. p.recount must have been set before the rows were read.
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

// resume replays the journal of a partition whose rows have been read. The error is errDamaged if the watermark is then
// not the stored one, moment.
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

// fold writes the state that a journal yields as rows, and deletes the journal. It counts with the rules of the
// journal's version: the set in known, or else the text in the journal.
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
	return emptyJournal(ctx, tx, at) // saveRows does not if the journal has only images
}

// journal is the journal of a partition as it was read.
type journal struct {
	of      head          // the head from which counting goes on
	text    string        // of the rules
	images  []journaledAt // written by an earlier version of weir: journal_before.go
	entries []journaledAt // those after the images
	old     bool          // an earlier version of weir wrote some of it
}

type journaledAt struct {
	seq   int64
	entry []byte
}

func (j *journal) empty() bool { return len(j.images) == 0 && len(j.entries) == 0 }

// before returns the number of the last deleted entry, MaxInt64 if there are no entries.
func (j *journal) before() int64 {
	if len(j.entries) == 0 {
		return math.MaxInt64
	}
	return j.entries[0].seq - 1
}

// recount returns the state for the replay of the entries, nil if there are none.
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

// saveEntry writes the entry of a batch, unless it is empty.
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

// journal writes an entry. Its number is the version that the partition gets with it.
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
