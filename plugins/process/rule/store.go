package rule

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// place is one partition of the log.
type place struct {
	topic  string
	number int32
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.topic, q.topic), cmp.Compare(p.number, q.number))
}

// tally is what became of the records of a partition before any rule saw them.
type tally struct {
	First       int64 `json:"first"` // the first offset of Read
	Read        int64 `json:"read"`
	Duplicate   int64 `json:"duplicate,omitempty"`   // the log has the event at other coordinates
	Erased      int64 `json:"erased,omitempty"`      // of a device or fleet that was erased
	Muted       int64 `json:"muted,omitempty"`       // published again, and not for rules
	Invalid     int64 `json:"invalid,omitempty"`     // no event
	Redelivered int64 `json:"redelivered,omitempty"` // had been applied; not part of Read
	Missed      int64 `json:"missed,omitempty"`      // were gone from the log before they were read

	Rules map[string]ruleTally `json:"rules"` // by name

	Drains []drained         `json:"drains,omitempty"`
	Turns  map[string][]turn `json:"turns,omitempty"` // by name, while something drains
	Some   *some             `json:"some,omitempty"`  // what is in force for some fleets

	Sides map[string]*side `json:"sides,omitempty"` // of two topics that are joined, by topic
}

// ruleTally is what became of them in one rule, since it counts as it does.
type ruleTally struct {
	Epoch  string `json:"epoch"`
	Since  int64  `json:"since"`  // the offset at which it began
	Before int64  `json:"before"` // how many records had come to rules before
	Counts Counts `json:"counts"`
	// GivenUp is how many partial matches of a pattern were, since there were too
	// many.
	GivenUp int64 `json:"given_up,omitempty"`
}

// position is where a partition stands in the store.
type position struct {
	log      string // which log its offsets are of
	upcoming int64  // the offset that comes next; -1: any
	moment   int64  // its time
	version  int64
	rules    string // version of the rules of the last commit
	toldAt   int64  // when it last told something, by the clock of who wrote it
	tally    tally
	unread   []byte // the tally as the store has it; nil once it was read
}

// held is a partition in memory, as of a version in the store.
type held struct {
	*partition
	position
	drains  []*partition // of what drains, or is in force for some fleets alone
	forSome *canary
	arrived time.Time           // when it was last given a record
	noted   map[[2]string]int64 // the counts that metrics have
	spare   map[[2]string]int64 // for the next ones
	begins  int64               // the offset from which it counts by its rules
	reading *Reading            // how it is read
	readAs  string              // how it was read last, as the store has it
	ahead   atomic.Bool         // of the store: it is written, or that has failed
	joined  bool                // a topic of its last batch is, with another, also of rules that drain
	journaled
}

// readPosition reads where a partition stands; nobody else changes it until the
// transaction ends. It is nil when nothing was read of it.
func readPosition(ctx context.Context, tx *sql.Tx, lock string, at place) (*position, error) {
	p, err := unreadPosition(ctx, tx, lock, at)
	if p != nil && err == nil {
		err = p.readTally(at)
	}
	return p, err
}

// unreadPosition is readPosition without the tally, which takes longer to read than all
// else where there are many rules, and which whoever has the partition in memory has.
func unreadPosition(ctx context.Context, tx *sql.Tx, lock string, at place) (*position, error) {
	p := &position{}
	err := tx.QueryRowContext(ctx,
		`SELECT log, next, time, version, rules, told_at, tally FROM rule_position WHERE topic = $1 AND part = $2`+lock,
		at.topic, at.number).Scan(&p.log, &p.upcoming, &p.moment, &p.version, &p.rules, &p.toldAt, &p.unread)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading where %s/%d stands: %w", at.topic, at.number, err)
	}
	return p, nil
}

// readTally reads the tally, of a position that has not.
func (p *position) readTally(at place) error {
	if p.unread == nil {
		return nil
	}
	if err := json.Unmarshal(p.unread, &p.tally); err != nil {
		return fmt.Errorf("reading where %s/%d stands: %w", at.topic, at.number, err)
	}
	p.unread = nil
	return nil
}

// load reads what is kept of a partition's keys. What is kept for rules that
// are not in force, and do not drain, is deleted: gone says of how many keys.
func (h *held) load(ctx context.Context, tx *sql.Tx) (gone int64, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT epoch, fleet, key, state, seq FROM rule_state WHERE topic = $1 AND part = $2`,
		h.topic, h.number)
	if err != nil {
		return 0, fmt.Errorf("reading the state of %s/%d: %w", h.topic, h.number, err)
	}
	type at struct {
		*partition
		op *operator
	}
	ops := map[string]at{}
	for _, p := range h.all() {
		for _, op := range p.ops {
			ops[op.Epoch] = at{p, op}
		}
	}
	unknown := map[string]bool{}
	for rows.Next() {
		var epoch, fleet, key string
		var state []byte
		var seq int64
		if err = rows.Scan(&epoch, &fleet, &key, &state, &seq); err != nil {
			break
		}
		of, known := ops[epoch]
		if !known {
			unknown[epoch] = true
			continue
		}
		if len(state) == 0 {
			h.graves = append(h.graves, grave{of.op, fleet + "\x00" + key, seq})
		}
		if err = of.restore(of.op, fleet, key, state, seq); err != nil {
			break
		}
	}
	slices.SortFunc(h.graves, func(a, b grave) int { return cmp.Compare(a.seq, b.seq) })
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return 0, fmt.Errorf("reading the state of %s/%d: %w", h.topic, h.number, err)
	}
	for epoch := range unknown {
		n, err := deleted(tx.ExecContext(ctx, `DELETE FROM rule_state WHERE topic = $1 AND part = $2 AND epoch = $3`, h.topic,
			h.number, epoch))
		if gone += n; err != nil {
			return gone, fmt.Errorf("deleting the state of rules that changed: %w", err)
		}
	}
	return gone, nil
}

// restore takes in what is kept of a key, with the last entry of the journal that this
// counts.
func (p *partition) restore(op *operator, fleet, key string, state []byte, seq int64) error {
	name := fleet + "\x00" + key
	if len(state) == 0 {
		p.recount.gone(op, name, seq)
		return nil
	}
	k, err := decodeKey(name, state, op.Rule)
	if err != nil {
		return err
	}
	k.form, k.saved, k.asOf = op.as(fleet), true, seq
	p.admit(op, k)
	op.fleets[fleet]++
	if !p.recount.sleeps(op, k) {
		p.schedule(op, k)
	}
	return nil
}

// deleted is how many rows a statement deleted, or wrote.
func deleted(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// forgetPlace deletes what is kept of a partition whose log is another now.
func forgetPlace(ctx context.Context, tx *sql.Tx, at place) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM rule_state WHERE topic = $1 AND part = $2`, at.topic,
		at.number); err != nil {
		return fmt.Errorf("deleting the state of %s/%d of an earlier log: %w", at.topic, at.number, err)
	}
	return emptyJournal(ctx, tx, at)
}

// save writes what a batch changed of a partition - into its journal, or, where nothing
// goes there, as rows, with what that has - and what it told.
func (h *held) save(ctx context.Context, tx *sql.Tx, most int, now time.Time) error {
	err := h.settle(ctx, tx)
	switch {
	case err != nil:
	case h.enters:
		err = h.saveEntry(ctx, tx)
	default:
		err = h.saveRows(ctx, tx, most)
	}
	if err == nil {
		err = h.saveResults(ctx, tx, most, now)
	}
	if err != nil {
		return err
	}
	return h.savePosition(ctx, tx, now)
}

// saveRows writes all that changed, and empties the journal: no row says how much of it
// it counts.
func (h *held) saveRows(ctx context.Context, tx *sql.Tx, most int) error {
	emptied := h.lag+h.covered == 0 && h.until == 0
	w := rowsOf(h.partition)
	for _, g := range h.graves {
		w.drop(g.op, g.name, g.seq)
	}
	for _, list := range h.lists {
		for _, k := range list.keys {
			h.write(w, list.op, k, emptySeq, false)
		}
	}
	for _, op := range h.operators() {
		keys := op.takeChanged()
		slices.SortFunc(keys, func(a, b *keyState) int { return strings.Compare(a.name, b.name) })
		for _, k := range keys {
			h.write(w, op, k, emptySeq, false)
		}
	}
	h.checkpoint, h.lag = checkpoint{trimmed: h.version}, 0
	if err := w.flush(ctx, tx, most); err != nil || emptied {
		return err
	}
	return emptyJournal(ctx, tx, place{h.topic, h.number})
}

// rowWriter writes rows of keys together.
type rowWriter struct {
	topic, part any // made once, and not for each row
	of          *operator
	epoch       any
	puts, drops [][]any
	states      []byte    // of all of them, one behind the other
	last        *keyState // whose row was put last
	n           int
}

func rowsOf(p *partition) *rowWriter { return &rowWriter{topic: p.topic, part: p.number} }

// put adds the row of a key, which counts the journal up to an entry.
func (w *rowWriter) put(op *operator, name, device string, state []byte, seq int64) {
	fleet, key := w.next(op, name)
	w.puts = append(w.puts, []any{w.topic, w.part, w.epoch, fleet, key, device, state, seq})
}

// drop adds that a key has no row, unless it has one that counts more than an entry.
func (w *rowWriter) drop(op *operator, name string, seq int64) {
	fleet, key := w.next(op, name)
	w.drops = append(w.drops, []any{w.topic, w.part, w.epoch, fleet, key, seq})
}

func (w *rowWriter) next(op *operator, name string) (fleet, key string) {
	if op != w.of {
		w.of, w.epoch = op, op.Epoch
	}
	w.n++
	fleet, key, _ = strings.Cut(name, "\x00")
	return fleet, key
}

func (w *rowWriter) flush(ctx context.Context, tx *sql.Tx, most int) error {
	for _, d := range w.drops {
		if _, err := tx.ExecContext(ctx, `DELETE FROM rule_state WHERE topic = $1 AND part = $2 AND epoch = $3 AND fleet = $4
			AND key = $5 AND seq <= $6`, d...); err != nil {
			return fmt.Errorf("deleting the state of a key: %w", err)
		}
	}
	if err := insert(ctx, tx, most, `rule_state (topic, part, epoch, fleet, key, device_id, state, seq)`,
		`ON CONFLICT (topic, part, epoch, fleet, key) DO UPDATE SET state = excluded.state, seq = excluded.seq`,
		w.puts); err != nil {
		return fmt.Errorf("writing the state of keys: %w", err)
	}
	return nil
}

// clockMost is by how much a clock may be behind what was written by another, or
// by itself before, without results going out of order.
const clockMost = time.Hour

// following is the time, and no less than was written before: revisions are
// handed on in its order. A time that is far ahead was a wrong clock's.
func following(before, now int64) int64 {
	if before-now > clockMost.Microseconds() {
		return now
	}
	return max(before, now)
}

// operators are those of the rules in force, and those that drain.
func (h *held) operators() (all []*operator) {
	for _, p := range h.all() {
		all = append(all, p.ops...)
	}
	return all
}

func (h *held) savePosition(ctx context.Context, tx *sql.Tx, now time.Time) error {
	rules := naming(h.set.Version, h.forSome)
	row, err := h.standing(rules, now)
	if err == nil {
		err = writeStanding(ctx, tx, row)
	}
	if err == nil {
		err = h.saveSwitch(ctx, tx, rules, now)
	}
	if err != nil {
		return err
	}
	h.rules = rules
	h.version++
	return nil
}

// standing is the row of where a partition stands, of its next version.
func (h *held) standing(rules string, now time.Time) ([]any, error) {
	h.tally.Rules = map[string]ruleTally{}
	for _, op := range h.ops {
		h.tally.Rules[op.Name] = ruleTally{op.Epoch, op.since, op.before, op.tally, op.givenUp}
	}
	counts, err := json.Marshal(h.tally)
	if err != nil {
		return nil, fmt.Errorf("writing where %s/%d stands: %w", h.topic, h.number, err)
	}
	return []any{h.topic, h.number, h.log, h.upcoming, h.time, h.version + 1, rules, string(counts), now.UnixMicro(),
		h.toldAt}, nil
}

var errElsewhere = errors.New("another process has written it; it is read again")

// writeStanding fails with errElsewhere when the store has another version than the one
// before.
func writeStanding(ctx context.Context, tx *sql.Tx, row []any) error {
	n, err := deleted(tx.ExecContext(ctx, `INSERT INTO rule_position (topic, part, log, next, time, version, rules, tally, updated_at,
		told_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (topic, part) DO UPDATE SET log = excluded.log, next = excluded.next,
		time = excluded.time, version = excluded.version, rules = excluded.rules, tally = excluded.tally,
		updated_at = excluded.updated_at, told_at = excluded.told_at WHERE rule_position.version = excluded.version - 1`,
		row...))
	if err == nil && n != 1 {
		err = errElsewhere
	}
	if err != nil {
		return fmt.Errorf("writing where %s/%d stands: %w", row[0], row[1], err)
	}
	return nil
}

// rowsMost bounds the rows of one statement. A statement costs a round trip to
// PostgreSQL; SQLite's driver binds many values in a time that grows with their
// square.
func rowsMost(dialect sqldb.Dialect) int {
	if dialect == sqldb.Postgres {
		return 500
	}
	return 1
}

// unbroken is the context of statements of which each takes so many rows, and which are
// many: one row in a file takes microseconds, and its driver makes a goroutine for each
// statement that may be told to stop. Who writes them asks the context between them.
func unbroken(ctx context.Context, most int) context.Context {
	if most == 1 {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// insert writes rows of equal length, as many with each statement as it may.
func insert(ctx context.Context, tx *sql.Tx, most int, into, conflict string, rows [][]any) error {
	return inserting(ctx, tx, most, into, conflict, rows,
		func(ctx context.Context, stmt *sql.Stmt, args []any) error {
			_, err := stmt.ExecContext(ctx, args...)
			return err
		})
}

// inserting is insert, where do runs each statement.
func inserting(ctx context.Context, tx *sql.Tx, most int, into, conflict string, rows [][]any,
	do func(ctx context.Context, stmt *sql.Stmt, args []any) error) error {
	each := unbroken(ctx, most)
	for len(rows) > 0 {
		n := min(most, len(rows))
		stmt, err := tx.PrepareContext(ctx, "INSERT INTO "+into+" VALUES "+values(n, len(rows[0]))+" "+conflict)
		if err != nil {
			return err
		}
		for ; err == nil && len(rows) >= n && n > 0; rows = rows[n:] {
			args := rows[0]
			if n > 1 {
				args = slices.Concat(rows[:n]...)
			}
			if err = ctx.Err(); err == nil {
				err = do(each, stmt, args)
			}
		}
		if err = errors.Join(err, stmt.Close()); err != nil {
			return err
		}
	}
	return nil
}

// values are the parameters of so many rows.
func values(rows, columns int) string {
	var b strings.Builder
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%columns == 0:
			b.WriteString("),(")
		default:
			b.WriteString(",")
		}
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	return b.String() + ")"
}

// begin starts a transaction that knows what was erased.
func begin(ctx context.Context, db *sqldb.DB) (*sql.Tx, *tombstone.Set, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("beginning to write: %w", err)
	}
	erased, err := tombstone.Begin(ctx, tx, db.Dialect)
	if err != nil {
		return nil, nil, errors.Join(err, tx.Rollback())
	}
	return tx, erased, nil
}

// migrate makes the tables.
func migrate(ctx context.Context, db *sqldb.DB) error {
	if err := errors.Join(db.Migrate(ctx, "rule", migrations()), tombstone.Migrate(ctx, db)); err != nil {
		return fmt.Errorf("making the tables of rules: %w", err)
	}
	return nil
}
