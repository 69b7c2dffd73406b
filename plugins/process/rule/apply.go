package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/flow"
	"weir/internal/platform/kafka"
	"weir/internal/platform/sqldb"
)

// output is the output event_rules: the durable operator. It handles one group of batches, or one look for idle
// partitions, at a time; ahead.go says where two overlap.
type output struct {
	res     *service.Resources
	log     *service.Logger
	url     string
	cluster *kafka.Cluster // nil: no brokers are named
	logs    *kafka.Logs
	admin   *kadm.Client
	rules   *rulesFile // in force until a version is activated
	delay   time.Duration
	idle    time.Duration
	ahead   time.Duration
	keys    int64
	parsed  event.Event // the event that is being applied
	taken   record      // the same, as rules see it
	now     func() time.Time
	late    *flow.Burst
	meters  *meters
	prepare []*service.OwnedProcessor
	reading *Reading // how events are read before rules see them

	group group

	tending sync.WaitGroup
	stop    context.CancelFunc

	mu          sync.Mutex     // guards parsed, taken and all that follows
	store       sync.Mutex     // held while what was applied is written; taken while mu is held
	buried      *tombstone.Set // the tombstones that were last read
	buriedSeq   int64          // the number of the last of them; unburied: it is not known
	fileWrong   bool
	db          *sqldb.DB
	release     func()
	bell        *bell // of db
	places      map[place]*held
	force       force
	last        *Set             // the rules that were last in force
	kept        *Set             // the rules of the file that are stored as a version
	canary      *canary          // goes with last; nil: none
	topics      []string         // that the stream reads; none: they are not known
	noted       noted            // what the log said of the topics when it was asked at notedAt
	unsaid      map[string]error // of topics of which it said nothing then, nor before
	notedAt     time.Time
	fitted      []*Set // the rule sets that were found to fit what was noted at fittedAt
	fittedAt    time.Time
	tails       map[kafka.Partition]tail
	journalMost int             // bytes of the partitions' journals
	rowsEach    int             // of checkpoints, with each batch
	cleared     map[place]*Set  // the empty set for which nothing is kept of a partition
	sets        map[string]*Set // that were in force, by version
}

// errUnprepared says that there are rules, but the processors have not run on the batch.
var errUnprepared = errors.New("the batch is to be prepared")

// prepared runs the processors on a copy of a batch. They may wait for their stores: no lock is held meanwhile. When
// ctx has ended, what they return is not used, because event_dedupe then passes events that it could not claim.
func (o *output) prepared(ctx context.Context, batch service.MessageBatch) (service.MessageBatch, error) {
	if len(o.prepare) == 0 { // nothing after this changes a message
		return append(service.MessageBatch{}, batch...), nil
	}
	batches, err := service.ExecuteProcessors(ctx, o.prepare, batch.Copy())
	if err = errors.Join(err, ctx.Err()); err != nil {
		return nil, fmt.Errorf("preparing events for rules: %w", err)
	}
	prepared := service.MessageBatch{}
	for _, b := range batches {
		prepared = append(prepared, b...)
	}
	return prepared, nil
}

// writePrepared applies prepared messages in one transaction, which is durable when it returns nil. It may call unlock,
// which releases mu, before that.
func (o *output) writePrepared(ctx context.Context, set *Set, seq int64, prepared service.MessageBatch,
	unlock func()) (err error) {
	records, oldest := recordsOf(prepared)
	logs, err := o.identify(ctx, records)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil && !oldest.IsZero() {
			o.meters.freshness.Timing(o.now().Sub(oldest).Nanoseconds())
		}
	}()
	if changed := o.ready(set, records, logs); changed != nil {
		return o.writeAhead(ctx, seq, changed, records, unlock)
	}
	o.await()
	defer o.store.Unlock()
	return o.commit(ctx, seq, func(tx *sql.Tx, erased *tombstone.Set) (changed []*held, err error) {
		places, err := o.placesOf(ctx, tx, set, records)
		if err != nil {
			return nil, err
		}
		for _, at := range places {
			log, from, err := o.beginning(ctx, at, logs, records)
			if err != nil {
				return nil, err
			}
			h, err := o.hold(ctx, tx, set, at, log, from)
			if err != nil {
				return nil, err
			}
			for _, topic := range topicsOf(at.topic) {
				o.applyAll(h, topic, records[place{topic, at.number}], erased)
			}
			h.arrived, h.joined = time.Now(), len(places) > len(records)
			changed = append(changed, h)
		}
		return changed, nil
	})
}

// clear deletes what is kept of the partitions of a batch when there are no rules any more: to rules that come later,
// the old position would look like a gap. Partitions that other processes read are left to them, because their file may
// have rules.
func (o *output) clear(ctx context.Context, set *Set, batch service.MessageBatch) error {
	var fresh []place
	for _, msg := range batch {
		at, _, ok := event.CoordinatesOf(msg)
		p := place{at.Topic, at.Partition}
		if ok && o.cleared[p] != set && !slices.Contains(fresh, p) {
			fresh = append(fresh, p)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	tx, _, err := begin(ctx, o.db)
	if err != nil {
		return err
	}
	gone := int64(0)
	all, err := withJoins(ctx, tx, fresh, nil)
	for _, at := range all {
		var n int64
		if err = emptyPlace(ctx, tx, at); err == nil {
			n, err = dropState(ctx, tx, ` WHERE topic = $1 AND part = $2`, at.topic, at.number)
		}
		if err == nil {
			err = emptyJournal(ctx, tx, at)
		}
		if gone += n; err != nil {
			break
		}
	}
	if err == nil {
		err = tx.Commit()
	} else {
		err = errors.Join(err, tx.Rollback())
	}
	if err != nil {
		return fmt.Errorf("forgetting rules that are no more: %w", err)
	}
	for _, at := range all {
		delete(o.places, at)
	}
	for _, at := range fresh {
		o.cleared[at] = set
	}
	if gone > 0 {
		o.meters.dropped.Incr(gone)
		o.log.Warnf("there are no rules any more: what %d keys had open is dropped", gone)
	}
	return nil
}

// logAge is how long the id of a topic's log is used before it is read again.
const logAge = 5 * time.Second

// tendLogs reads the ids of logs again before they are too old, so that batches need not wait for them. Its errors are
// ignored: a batch that needs an id reads it itself, and returns the error.
func (o *output) tendLogs(ctx context.Context) {
	tick := time.NewTicker(logAge / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = o.logs.Renew(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// identify returns the ids of the topics' logs, by topic. For a partition whose first record seems to have been applied
// before, it reads the id again: the topic may have been deleted and made anew.
func (o *output) identify(ctx context.Context, records map[place][]incoming) (map[string]string, error) {
	found := map[string]string{}
	if o.logs == nil {
		return found, nil
	}
	for at, list := range records {
		since := time.Now().Add(-logAge)
		if h := o.places[at]; h != nil && list[0].offset < h.upcoming {
			since = time.Now()
		}
		ids, err := o.logs.Of(ctx, since, at.topic)
		if err != nil {
			return nil, err
		}
		found[at.topic] = fmt.Sprintf("%016x", uint64(ids[0]))
	}
	return found, nil
}

// commit runs do in a transaction, under the rules of the activation seq, and saves the partitions that do returns.
// When commit returns nil, that is durable. On an error, errSwitched if other rules came into force, all partitions are
// dropped from memory, which may be ahead of the store. The caller holds mu and store.
func (o *output) commit(ctx context.Context, seq int64, do func(*sql.Tx, *tombstone.Set) ([]*held, error)) error {
	tx, erased, err := begin(ctx, o.db)
	if err != nil {
		return err
	}
	changed, err := do(tx, erased)
	if o.buried, o.buriedSeq = erased, unburied; err == nil {
		err = tx.QueryRowContext(ctx, tombstone.SeqQuery).Scan(&o.buriedSeq)
	}
	if err == nil {
		err = still(ctx, tx, seq)
	}
	for _, h := range changed {
		if err == nil {
			err = h.save(ctx, tx, rowsMost(o.db.Dialect), o.now())
		}
		if err == nil && h.over() {
			delete(o.places, place{h.topic, h.number})
			err = emptyPlace(ctx, tx, place{h.topic, h.number})
		}
	}
	if err == nil {
		for _, some := range o.takeSomeRows(changed) {
			if err == nil {
				err = some.write(ctx, tx, rowsMost(o.db.Dialect))
			}
		}
	}
	if err == nil {
		err = tx.Commit()
	} else {
		err = errors.Join(err, tx.Rollback())
	}
	if err != nil {
		clear(o.places)
		return fmt.Errorf("evaluating rules: %w", err)
	}
	told := 0
	for _, h := range changed {
		tell(o.meters.more(h))
		told += len(h.out)
		h.out, h.misses = h.out[:0], h.misses[:0]
	}
	if told > 0 {
		o.bell.ring()
	}
	return nil
}

// hold returns a partition as the store has it, for rules of a set: from memory if that has the same version, rules,
// canary and log, else from the store. Rules that begin anew count from the offset from on. The partition's row is
// locked until the transaction ends.
func (o *output) hold(ctx context.Context, tx *sql.Tx, set *Set, at place, log string, from int64) (*held, error) {
	pos, err := unreadPosition(ctx, tx, o.db.ForUpdate(), at)
	if err != nil {
		return nil, err
	}
	if pos == nil {
		pos = &position{log: log, moment: none, upcoming: -1}
	}
	set = set.at(at.topic)
	anew := pos.log != log && log != "" && pos.log != ""
	if h := o.places[at]; !anew && h != nil && h.version == pos.version && h.set == set && h.forSome == o.canary {
		h.open()
		return h, nil
	}
	if err := pos.readTally(at); err != nil {
		return nil, err
	}
	if anew {
		o.log.Warnf("the topic %s was made anew: rules begin anew with its partition %d", at.topic, at.number)
		if err := forgetPlace(ctx, tx, at); err != nil {
			return nil, err
		}
		*pos = position{log: log, moment: none, upcoming: -1, version: pos.version, tally: tally{Sides: pos.tally.Sides}}
	}
	j, err := readJournal(ctx, tx, at)
	if err != nil {
		return nil, err
	}
	if !j.empty() && (j.old || pos.rules != naming(set.Version, o.canary)) {
		if err := fold(ctx, tx, o.db.Dialect, o.sets, at, pos, j); err != nil {
			return nil, err
		}
		j = journal{}
	}
	if log != "" {
		pos.log = log
	}
	if at.joins() {
		if err := o.meet(ctx, tx, pos, at); err != nil {
			return nil, err
		}
	}
	h := &held{partition: newPartition(set, at.topic, at.number, o.delay.Microseconds(), o.keys), position: *pos,
		arrived: time.Now(), begins: max(pos.upcoming, from)}
	h.time, h.origin, h.sides, h.reading = pos.moment, pos.log, pos.tally.Sides, o.reading
	if err := h.readBy(ctx, tx); err != nil {
		return nil, err
	}
	if h.trimmed = pos.version; !j.empty() {
		h.time, h.recount = j.of.time, j.recount()
	}
	h.forSome = o.canary
	h.tellFirst(o.canary.at(at.topic))
	if pos.rules != naming(set.Version, o.canary) {
		was, _, _ := named(pos.rules)
		before, err := o.setOf(ctx, tx, was)
		if err != nil {
			return nil, err
		}
		h.tally.change(was, before != nil, set, o.canary.at(at.topic), pos.newest(h.delay))
	}
	for _, op := range h.ops {
		if was, is := h.tally.take(op.Rule); is {
			op.since, op.before, op.tally, op.givenUp = was.Since, was.Before, was.Counts, was.GivenUp
		} else {
			op.since, op.before = max(pos.upcoming, from), pos.tally.reached()
		}
	}
	if err := o.drain(ctx, tx, h); err != nil {
		return nil, err
	}
	gone, err := h.load(ctx, tx)
	if err != nil {
		return nil, err
	}
	if !j.empty() {
		if err := h.resume(j, pos.moment); err != nil {
			return nil, err
		}
	}
	h.open()
	if gone > 0 {
		o.meters.dropped.Incr(gone)
		o.log.Warnf("rules changed: what %d keys of %s/%d had open under them before is dropped", gone, at.topic, at.number)
	}
	h.told()
	o.places[at] = h
	delete(o.cleared, at)
	return h, nil
}

// comes tells whether a record was not applied before, and moves the position behind it.
func (o *output) comes(h *held, topic string, offset int64) bool {
	if s := h.sides[topic]; s != nil { // offsets that were skipped are counted in the topic's own partition
		if offset < s.Next {
			return false
		}
		s.Next, s.Seen = offset+1, o.now().UnixMicro()
		h.upcoming++
		for _, p := range h.all() {
			p.from = topic
		}
		return true
	}
	t := &h.tally
	switch {
	case offset < h.upcoming:
		return false
	case h.upcoming < 0:
		t.First = offset
	case offset > h.upcoming:
		t.Missed += offset - h.upcoming
		o.late.Note("missed "+topic, fmt.Sprintf("%d records of %s/%d were not read before offset %d: aborted, or gone "+
			"from the log; rules do not count them", offset-h.upcoming, topic, h.number, offset))
	}
	h.upcoming = offset + 1
	return true
}

// applyAll applies records of a topic, and lets go of them: what is kept of them is a copy.
func (o *output) applyAll(h *held, topic string, records []incoming, erased *tombstone.Set) {
	for _, r := range records {
		o.apply(h, topic, r, erased)
	}
	o.parsed.Release()
	o.taken = record{}
	for _, p := range h.all() {
		p.release()
	}
}

// apply counts one record of a topic, and evaluates the rules on it if it is an event for them.
func (o *output) apply(h *held, topic string, r incoming, erased *tombstone.Set) {
	t := &h.tally
	if !o.comes(h, topic, r.offset) {
		t.Redelivered++
		return
	}
	t.Read++
	if r.msg.GetError() != nil {
		t.Invalid++
		return
	}
	if event.Meta(r.msg, event.MetaDuplicateOf) != "" {
		t.Duplicate++
		return
	}
	if !event.Targeted(r.msg, event.TargetRules) {
		t.Muted++
		return
	}
	raw, err := r.msg.AsBytes()
	e := &o.parsed
	if err == nil {
		err = h.read(raw, e)
	}
	switch {
	case err != nil:
		t.Invalid++
		return
	case erased.Holds(r.fleet, e.Device, r.received.UnixMicro()):
		t.Erased++
		return
	}
	at := countsAt(e, r.received, event.Meta(r.msg, event.HeaderFlags), o.ahead)
	n := len(h.misses)
	o.taken = record{Fleet: r.fleet, At: at.UnixMicro(), ID: e.UUID, Offset: r.offset}
	counted := h.take(&o.taken)
	h.enter(raw, &o.taken, e.Device, counted, h.misses[n:])
	for _, m := range h.misses[n:] {
		o.say(h, m, r)
	}
	for _, d := range h.drains {
		_ = d.apply(raw, o.taken) // no error: h.read has found that it is an event
	}
}

// say logs an event that a rule did not count, at most one a minute of each rule and outcome. It names the part of the
// rule that failed, and no values of the event.
func (o *output) say(h *held, m Miss, r incoming) {
	where := fmt.Sprintf("%s/%d/%d", h.from, h.number, m.Offset)
	if m.Offset == r.offset { // the event of r, not one that has waited
		where += event.OfRequest(r.msg)
	}
	switch m.Outcome {
	case Late:
		o.late.Note(m.Rule+" late", fmt.Sprintf("rule %s: the event at %s is late by %s", m.Rule, where,
			time.Duration(m.By)*time.Microsecond))
	case Failed:
		part, _, _ := strings.Cut(m.Why, ": ") // text of the rule: what follows may have values of the event
		o.late.Note(m.Rule+" failed", fmt.Sprintf("rule %s: the event at %s is not counted: %s cannot be evaluated on it; "+
			"'weir rules try' with the event says why", m.Rule, where, part))
	case OverLimit:
		if m.Why == "" {
			m.Why = "it is of a key beyond those that its fleet may have"
		}
		o.late.Note(m.Rule+" limit", fmt.Sprintf("rule %s, at the event %s: %s", m.Rule, where, m.Why))
	}
}
