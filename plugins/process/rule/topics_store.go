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

// placesOf are the partitions that a batch changes, in the order in which all lock
// them: its own, and those where their topics are joined with others.
func (o *output) placesOf(ctx context.Context, tx *sql.Tx, set *Set, records map[place][]incoming) ([]place, error) {
	pairs := set.pairs()
	if o.canary != nil {
		pairs = append(pairs, o.canary.set.pairs()...)
	}
	return withJoins(ctx, tx, slices.Collect(maps.Keys(records)), pairs)
}

// withJoins adds the places where topics of some are joined: by these pairs, or by
// what is kept of earlier rules. They are in order.
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

// beginning says which log, or logs, a place is of, and from which offset on it is
// given records. Where topics are joined, each has an offset of its own.
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

// meet makes the sides of a join as they are: one that begins, or whose log is
// another now, begins where rules stand in its partition.
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
			return fmt.Errorf("reading where %s/%d stands: %w", topic, at.number, err)
		}
	}
	return nil
}

// newest is the time of the newest event; none when there was none.
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

// over tells whether nothing is joined here any more.
func (h *held) over() bool { return h.sides != nil && len(h.ops) == 0 && len(h.drains) == 0 }

// emptyPlace notes that nothing was read of a place. Its version goes on: who has
// it in memory reads it again.
func emptyPlace(ctx context.Context, tx *sql.Tx, at place) error {
	_, err := tx.ExecContext(ctx, `UPDATE rule_position SET next = -1, time = $3, tally = '{}', rules = '',
		version = version + 1 WHERE topic = $1 AND part = $2`, at.topic, at.number, int64(none))
	if err != nil {
		return fmt.Errorf("forgetting where %s/%d stands: %w", at.topic, at.number, err)
	}
	return nil
}

// silent are the sides of which nothing waits in the log, and nothing came for a
// while.
type silent struct {
	*output
	ends, starts, committed map[kafka.Partition]int64
}

// listen asks where the topics of some places stand. What the group has committed
// is asked for first: it is not ahead of the log then.
func (o *output) listen(ctx context.Context, stands []stand) (s silent, err error) {
	s.output = o
	var topics []string
	for _, at := range stands {
		topics = append(topics, topicsOf(at.topic)...)
	}
	slices.Sort(topics)
	topics = slices.Compact(topics)
	at := kafka.Positions{Admin: o.admin}
	if s.committed, err = at.Committed(ctx, event.GroupOf(event.TargetRules)); err == nil {
		s.starts, err = at.Starts(ctx, topics...)
	}
	if err == nil {
		s.ends, err = at.StableEnds(ctx, topics...)
	}
	return s, err
}

// is tells whether a side is silent. Of one that no rule was given a record of,
// nothing waits when there is none, or the stream has read them all.
func (s silent) is(ctx context.Context, topic string, number int32, of *side) bool {
	if of.Seen > s.now().Add(-s.idle).UnixMicro() {
		return false
	}
	at := kafka.Partition{Topic: topic, Number: number}
	end, known := s.ends[at]
	committed, has := s.committed[at]
	switch {
	case !known:
		return false
	case of.Next >= 0:
		return s.readTo(ctx, at, of.Next, end)
	case has:
		return s.readTo(ctx, at, committed, end)
	}
	return s.readTo(ctx, at, s.starts[at], end)
}

// moveJoins lets the sides of joins that are silent go on with the clock, each by
// itself: the one that is not holds time back.
func (o *output) moveJoins(ctx context.Context, set *Set, seq int64, stands []stand) error {
	to := o.now().Add(-o.delay - o.idle).UnixMicro()
	stands = slices.DeleteFunc(stands, func(s stand) bool {
		h := o.places[s.place]
		return s.next < 0 || h != nil && h.due() > to && !o.behind(set, s)
	})
	if len(stands) == 0 {
		return nil
	}
	quiet, err := o.listen(ctx, stands)
	if err != nil {
		return err
	}
	for _, s := range stands {
		err := o.commit(ctx, seq, func(tx *sql.Tx, _ *tombstone.Set) ([]*held, error) {
			h, err := o.hold(ctx, tx, set, s.place, "", 0)
			if err != nil {
				return nil, err
			}
			next := map[string]int64{}
			upto := int64(never)
			for topic, of := range h.sides {
				next[topic] = of.Time
				if quiet.is(ctx, topic, s.number, of) {
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
