package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/kafka"
)

// placesOf returns the places that a batch changes: its partitions, and the joins of their topics. They are sorted:
// all processes lock them in the same order.
func (o *output) placesOf(ctx context.Context, tx *sql.Tx, set *Set, records map[place][]incoming) ([]place, error) {
	pairs := set.pairs()
	if o.canary != nil {
		pairs = append(pairs, o.canary.set.pairs()...)
	}
	return withJoins(ctx, tx, slices.Collect(maps.Keys(records)), pairs)
}

// withJoins returns places and the joins that their topics are part of: by pairs, or by the state of earlier rules.
// They are sorted.
func withJoins(ctx context.Context, tx *sql.Tx, places []place, pairs []string) (all []place, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT topic, part FROM rule_position WHERE topic LIKE '%`+between+`%' AND next >= 0`)
	if err != nil {
		return nil, fmt.Errorf("reading which topics are joined: %w", err)
	}
	var kept []place
	for rows.Next() {
		var at place
		if err = rows.Scan(&at.topic, &at.number); err != nil {
			break
		}
		kept = append(kept, at)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("reading which topics are joined: %w", err)
	}
	all = slices.Clone(places)
	for _, at := range places {
		for _, topic := range pairs {
			if slices.Contains(topicsOf(topic), at.topic) {
				all = append(all, place{topic, at.number})
			}
		}
		for _, k := range kept {
			if k.number == at.number && slices.Contains(topicsOf(k.topic), at.topic) {
				all = append(all, k)
			}
		}
	}
	slices.SortFunc(all, place.compare)
	return slices.Compact(all), nil
}

// beginning returns the id of the log of a place and the offset of its first record in a batch. For a join it returns
// the ids of both logs and 0: its sides have offsets of their own.
func (o *output) beginning(ctx context.Context, at place, logs map[string]string,
	records map[place][]incoming) (log string, from int64, err error) {
	if !at.joins() {
		return logs[at.topic], records[at][0].offset, nil
	}
	if o.logs == nil {
		return "", 0, nil
	}
	ids, err := o.logs.Of(ctx, time.Now().Add(-logAge), topicsOf(at.topic)...)
	if err != nil {
		return "", 0, err
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = fmt.Sprintf("%016x", uint64(id))
	}
	return strings.Join(texts, between), 0, nil
}

// meet brings the sides of a join up to date. A side that is new, or whose topic was made anew, begins at the position
// of the rules in its own partition.
func (o *output) meet(ctx context.Context, tx *sql.Tx, pos *position, at place) error {
	pos.upcoming = max(pos.upcoming, 0)
	topics, logs := topicsOf(at.topic), topicsOf(pos.log)
	if pos.tally.Sides == nil {
		pos.tally.Sides = map[string]*side{}
	}
	for i, topic := range topics {
		log := ""
		if len(logs) == len(topics) {
			log = logs[i]
		}
		s := pos.tally.Sides[topic]
		if s == nil || s.Log != log && s.Log != "" && log != "" {
			s = &side{Next: -1, Time: none, Seen: o.now().UnixMicro()}
			pos.tally.Sides[topic] = s
		}
		if log != "" {
			s.Log = log
		}
		if s.Next >= 0 {
			continue
		}
		err := tx.QueryRowContext(ctx, `SELECT next FROM rule_position WHERE topic = $1 AND part = $2 AND ($3 = '' OR log = $3)`,
			topic, at.number, log).Scan(&s.Next)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("reading the position of %s/%d: %w", topic, at.number, err)
		}
	}
	return nil
}

// newest returns the time of the newest event, none when there was none.
func (p *position) newest(delay int64) int64 {
	at := p.moment
	for _, s := range p.tally.Sides {
		at = max(at, s.Time)
	}
	if at != none {
		at += delay
	}
	return at
}

// over reports whether the place is a join that no rule needs any more.
func (h *held) over() bool { return h.sides != nil && len(h.ops) == 0 && len(h.drains) == 0 }

// emptyPlace resets the position of a place to that of one of which nothing was read. Its version grows, so that a
// process that has the place in memory reads it again.
func emptyPlace(ctx context.Context, tx *sql.Tx, at place) error {
	_, err := tx.ExecContext(ctx, `UPDATE rule_position SET next = -1, time = $3, tally = '{}', rules = '',
		version = version + 1 WHERE topic = $1 AND part = $2`, at.topic, at.number, int64(none))
	if err != nil {
		return fmt.Errorf("deleting the position of %s/%d: %w", at.topic, at.number, err)
	}
	return nil
}

// answers are what the log said of the positions of some topics, and what it is to be asked besides.
type answers struct {
	asked time.Time // before the log was: time moves up to here at most, as what came later may not be in ends

	ends, starts, committed map[kafka.Partition]int64 // starts and committed are those of joined; nil: it was not asked

	wanted, joined []string // the topics of idle partitions, and of joins
	unread         []tail
}

// until returns when the log was asked, or is about to be.
func (a *answers) until(o *output) time.Time {
	if a.ends == nil {
		return o.now()
	}
	return a.asked
}

// listen asks the log about the topics that are wanted. Those of joins are left out, with an error, if it does not
// answer about them. The committed offsets are read before the ends, so that they are not ahead of them.
func (o *output) listen(ctx context.Context, asks *answers) (a *answers, err error) {
	a = &answers{asked: o.now(), ends: map[kafka.Partition]int64{}}
	at := kafka.Positions{Admin: o.admin}
	add := func(topics []string) error {
		ends, err := at.StableEnds(ctx, slices.Compact(slices.Sorted(slices.Values(topics)))...)
		maps.Copy(a.ends, ends)
		return err
	}
	if len(asks.wanted) > 0 {
		if err := add(asks.wanted); err != nil {
			return a, err
		}
	}
	if len(asks.joined) == 0 {
		return a, nil
	}
	committed, err := at.Committed(ctx, event.GroupOf(event.TargetRules))
	if err != nil {
		return a, err
	}
	starts, err := at.Starts(ctx, slices.Compact(slices.Sorted(slices.Values(asks.joined)))...)
	if err == nil {
		err = add(asks.joined)
	}
	if err == nil {
		a.committed, a.starts = committed, starts
	}
	return a, err
}

// silent reports whether a side of a join is idle: nothing came for a while, and nothing waits in the log. For a side
// of which no rule was given a record, nothing waits if the partition has none, or if the stream's consumer group has
// committed them all.
func (o *output) silent(a *answers, topic string, number int32, of *side) bool {
	if of.Seen > a.asked.Add(-o.idle).UnixMicro() {
		return false
	}
	at := kafka.Partition{Topic: topic, Number: number}
	next := of.Next
	if next < 0 {
		var has bool
		if next, has = a.committed[at]; !has {
			next = a.starts[at]
		}
	}
	return o.readTo(a, at, next)
}

// moveJoins advances the watermarks of idle sides with the clock. A side that is not idle still holds the join's
// watermark back. Places that use other rules than the active ones take them up with the same commit.
func (o *output) moveJoins(ctx context.Context, a *answers, set *Set, seq int64, stands []stand) error {
	to := a.until(o).Add(-o.delay - o.idle).UnixMicro()
	stands = slices.DeleteFunc(stands, func(s stand) bool {
		h := o.places[s.place]
		return s.next < 0 || h != nil && h.due() > to && !o.behind(set, s)
	})
	for _, s := range stands {
		if a.starts == nil {
			a.joined = append(a.joined, topicsOf(s.topic)...)
			continue
		}
		err := o.commit(ctx, seq, func(tx *sql.Tx, _ *tombstone.Set) ([]*held, error) {
			h, err := o.hold(ctx, tx, set, s.place, "", 0)
			if err != nil {
				return nil, err
			}
			next := map[string]int64{}
			upto := int64(never)
			for topic, of := range h.sides {
				next[topic] = of.Time
				if o.silent(a, topic, s.number, of) {
					next[topic] = max(of.Time, to)
				}
				upto = min(upto, next[topic])
			}
			if h.due() > upto && (upto < to || !o.behind(set, s)) {
				return nil, nil
			}
			for topic, at := range next {
				h.sides[topic].Time = at
			}
			h.advanceAll(upto)
			return []*held{h}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
