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

// tally counts what became of the records of a partition, before and in the rules. It is stored as JSON with the
// position.
type tally struct {
	First       int64 `json:"first"`                 // the first offset that was read
	Read        int64 `json:"read"`                  // includes Duplicate, Erased, Muted and Invalid
	Duplicate   int64 `json:"duplicate,omitempty"`   // the log has the event at other coordinates too
	Erased      int64 `json:"erased,omitempty"`      // of a device or fleet that was erased
	Muted       int64 `json:"muted,omitempty"`       // published again for others than rules
	Invalid     int64 `json:"invalid,omitempty"`     // not an event, or a processor failed on it
	Redelivered int64 `json:"redelivered,omitempty"` // applied before; not part of Read
	Missed      int64 `json:"missed,omitempty"`      // skipped offsets: aborted, or gone from the log before

	Rules map[string]ruleTally `json:"rules"` // by name

	Drains []drained         `json:"drains,omitempty"`
	Turns  map[string][]turn `json:"turns,omitempty"` // by name of the rule, while more than one epoch emits
	Some   *some             `json:"some,omitempty"`  // the canary; nil: none

	Sides map[string]*side `json:"sides,omitempty"` // of two topics that are joined, by topic
}

// ruleTally counts the outcomes of events in one epoch of a rule.
type ruleTally struct {
	Epoch  string `json:"epoch"`
	Since  int64  `json:"since"`  // the offset at which it began
	Before int64  `json:"before"` // how many records had reached the rules of the partition before that
	Counts Counts `json:"counts"`
	// GivenUp is the number of partial matches of a pattern that were dropped because there were too many.
	GivenUp int64 `json:"given_up,omitempty"`
}

// position is the row rule_position of a partition.
type position struct {
	log      string // the id of the log that its offsets belong to; "": not known
	upcoming int64  // the offset to read next; -1: any
	moment   int64  // the watermark at the last commit
	version  int64  // grows by 1 with every commit
	rules    string // what naming returned for the rules of the last commit
	toldAt   int64  // recorded_at of the newest results, by the clock of the process that wrote them
	tally    tally
	unread   []byte // the JSON of the tally; nil once readTally has parsed it
}

// held is a partition in memory: the state at a version in the store, and what the current batch changed.
type held struct {
	*partition
	position
	drains  []*partition        // the rules that drain or are active for some fleets only
	forSome *canary             // the canary when it was loaded
	arrived time.Time           // when it was last given a batch, or loaded
	noted   map[[2]string]int64 // the counts that were reported to the metrics
	spare   map[[2]string]int64 // a map for the next counts, to reuse
	begins  int64               // the offset from which it uses its rules
	reading *Reading            // how it is read now
	readAs  string              // the id of the Reading that the store has last
	ahead   atomic.Bool         // memory is ahead of the store: the write is in progress, or has failed
	joined  bool                // its last batch also changed a join of topics
	journaled
}

// readPosition reads the position of a partition, nil when it has none. With a lock clause, nobody else changes it
// until the transaction ends.
func readPosition(ctx context.Context, tx *sql.Tx, lock string, at place) (*position, error) {
	p, err := unreadPosition(ctx, tx, lock, at)
	if p != nil && err == nil {
		err = p.readTally(at)
	}
	return p, err
}

// unreadPosition is readPosition without parsing the tally: with many rules that takes longer than everything else,
// and it is not needed when the partition is in memory.
func unreadPosition(ctx context.Context, tx *sql.Tx, lock string, at place) (*position, error) {
	p := &position{}
	err := tx.QueryRowContext(ctx,
		`SELECT log, next, time, version, rules, told_at, tally FROM rule_position WHERE topic = $1 AND part = $2`+lock,
		at.topic, at.number).Scan(&p.log, &p.upcoming, &p.moment, &p.version, &p.rules, &p.toldAt, &p.unread)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the position of %s/%d: %w", at.topic, at.number, err)
	}
	return p, nil
}

// readTally parses the tally, unless that is done.
func (p *position) readTally(at place) error {
	if p.unread == nil {
		return nil
	}
	if err := json.Unmarshal(p.unread, &p.tally); err != nil {
		return fmt.Errorf("reading the position of %s/%d: %w", at.topic, at.number, err)
	}
	p.unread = nil
	return nil
}

// load reads the state of a partition's keys. It deletes the state of rules that are neither active nor being drained;
// gone is the number of keys deleted.
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
		n, err := dropState(ctx, tx, ` WHERE topic = $1 AND part = $2 AND epoch = $3`, h.topic, h.number, epoch)
		if gone += n; err != nil {
			return gone, fmt.Errorf("deleting the state of rules that changed: %w", err)
		}
	}
	return gone, nil
}

// restore adds a key with its stored state, which counts the journal up to the entry seq. An empty state is a grave.
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

// deleted returns how many rows a statement deleted or wrote.
func deleted(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// dropState deletes rows of rule_state, and returns of how many keys that was the state: graves are rows, but no keys.
func dropState(ctx context.Context, tx *sql.Tx, where string, args ...any) (keys int64, err error) {
	if _, err := tx.ExecContext(ctx, `DELETE FROM rule_state`+where+` AND length(state) = 0`, args...); err != nil {
		return 0, err
	}
	return deleted(tx.ExecContext(ctx, `DELETE FROM rule_state`+where, args...))
}

// forgetPlace deletes the state of a partition whose topic was deleted and created again.
func forgetPlace(ctx context.Context, tx *sql.Tx, at place) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM rule_state WHERE topic = $1 AND part = $2`, at.topic,
		at.number); err != nil {
		return fmt.Errorf("deleting the state of %s/%d of an earlier log: %w", at.topic, at.number, err)
	}
	return emptyJournal(ctx, tx, at)
}

// save writes what a batch changed of a partition: an entry of its journal, or, if the batch is not journaled, the rows
// of all changed keys; its results; and the position. They are durable when the transaction is committed.
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

// saveRows writes the rows of all keys that changed and were not written, and deletes the journal, all of which the
// rows then count.
func (h *held) saveRows(ctx context.Context, tx *sql.Tx, most int) error {
	emptied := h.lag+h.covered == 0 && h.until == 0 // the journal has no entries
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

// clockMost is how far a clock may be behind the recorded_at of earlier results. If it is further behind, the earlier
// clock is taken for wrong.
const clockMost = time.Hour

// following returns the time to record for new results: now, but not before the previous one, because results are
// handed on in that order. A previous time that is more than clockMost ahead came from a wrong clock, and is ignored.
func following(before, now int64) int64 {
	if before-now > clockMost.Microseconds() {
		return now
	}
	return max(before, now)
}

// operators returns the operators of the active rules and of those that drain.
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

// standing returns the values of the row rule_position for the next version, as writeStanding takes them.
func (h *held) standing(rules string, now time.Time) ([]any, error) {
	h.tally.Rules = map[string]ruleTally{}
	for _, op := range h.ops {
		h.tally.Rules[op.Name] = ruleTally{op.Epoch, op.since, op.before, op.tally, op.givenUp}
	}
	counts, err := json.Marshal(h.tally)
	if err != nil {
		return nil, fmt.Errorf("writing the position of %s/%d: %w", h.topic, h.number, err)
	}
	return []any{h.topic, h.number, h.log, h.upcoming, h.time, h.version + 1, rules, string(counts), now.UnixMicro(),
		h.toldAt}, nil
}

var errElsewhere = errors.New("another process has written it in the meantime; it will be read again")

// writeStanding writes a row of rule_position. It fails with errElsewhere when the store does not have the version
// before the row's: another process has written it since.
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
		return fmt.Errorf("writing the position of %s/%d: %w", row[0], row[1], err)
	}
	return nil
}

// rowsMost bounds the rows of one statement. With PostgreSQL each statement costs a round trip. With SQLite it does
// not, and the driver's time to bind values grows with the square of their number.
func rowsMost(dialect sqldb.Dialect) int {
	if dialect == sqldb.Postgres {
		return 500
	}
	return 1
}

// unbroken returns a context for many statements of up to most rows each. With one row each, which is SQLite, it
// cannot be cancelled: a row takes microseconds, and the driver would start a goroutine for every statement with a
// context that can be. The caller must check ctx between statements.
func unbroken(ctx context.Context, most int) context.Context {
	if most == 1 {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// insert writes rows of equal length, up to most with each statement.
func insert(ctx context.Context, tx *sql.Tx, most int, into, conflict string, rows [][]any) error {
	return inserting(ctx, tx, most, into, conflict, rows,
		func(ctx context.Context, stmt *sql.Stmt, args []any) error {
			_, err := stmt.ExecContext(ctx, args...)
			return err
		})
}

// inserting is insert with do to run each statement.
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

// values returns the placeholders of a VALUES clause.
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

// begin starts a transaction, and reads what was erased as that transaction sees it.
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

// migrate creates or updates the tables of rules and tombstones.
func migrate(ctx context.Context, db *sqldb.DB) error {
	if err := errors.Join(db.Migrate(ctx, "rule", migrations()), tombstone.Migrate(ctx, db)); err != nil {
		return fmt.Errorf("creating the tables of rules: %w", err)
	}
	return nil
}
