package rule

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/kafka"
)

// idleEvery is how often idle partitions are looked for.
const idleEvery = time.Second

// stepLeast is the least difference of two clocks that is taken for a step: they are read one after the other, and
// corrected while they run.
const stepLeast = time.Second

// clock detects steps of the machine's clock, by comparing it with a monotonic one.
type clock struct {
	wall, ran time.Duration // the two clocks at the last look
	resume    time.Duration // until ran reaches it, the machine's clock is not used
}

// steady tells whether the machine's clock may be used. After a step of more than most, ahead or back, it may not for
// as long as the step was.
func (c *clock) steady(wall, ran, most time.Duration) bool {
	most = max(most, stepLeast)
	if step := (wall - c.wall) - (ran - c.ran); c.wall != 0 && max(step, -step) > most {
		c.resume = ran + max(step, -step)
	}
	c.wall, c.ran = wall, ran
	return ran >= c.resume
}

// tendIdle moves the time of idle partitions on until ctx ends.
func (o *output) tendIdle(ctx context.Context) {
	tick := time.NewTicker(idleEvery)
	defer tick.Stop()
	var c clock
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !c.steady(time.Duration(time.Now().UnixNano()), time.Since(began), o.ahead) {
			continue
		}
		if err := o.moveIdle(ctx); err != nil && ctx.Err() == nil {
			o.late.Note("idle", "windows of idle partitions wait: "+err.Error())
		}
	}
}

// stand is a row of rule_position.
type stand struct {
	place
	next, updated int64  // the next offset, and when the row was written
	rules         string // what it counts by: naming
}

// behind tells whether a partition counts by other rules than those in force. While the file is in force, only canaries
// are compared, because each process may have another file.
func (o *output) behind(set *Set, s stand) bool {
	wanted, canary, fleets := named(naming(set.Version, o.canary))
	version, first, of := named(s.rules)
	return s.next >= 0 && (version != wanted && o.force.number > 0 || first != canary || !slices.Equal(of, fleets))
}

// moveIdle moves the time of idle partitions on by the clock, and lets them take up the rules in force: those that were
// read to their end and had no record for as long as o.idle. Each step is one transaction, with the results that follow
// from it. The log is asked while no lock is held: batches do not wait for it. What it said is then applied to the
// partitions that still stand where they stood.
func (o *output) moveIdle(ctx context.Context) error {
	asks := &answers{}
	move := func(a *answers) error {
		return o.answered(ctx, func() error { return o.moveBy(ctx, a) })
	}
	if err := move(asks); err != nil || len(asks.wanted)+len(asks.joined) == 0 {
		return err
	}
	for again := true; ; again = false {
		a, err := o.listen(ctx, asks)
		if len(a.ends) > 0 { // also if it did not say all
			err = errors.Join(move(a), err)
		}
		if err != nil || len(a.unread) == 0 || !again {
			return err
		}
		for _, t := range a.unread {
			o.readTail(ctx, t)
		}
	}
}

// moveBy is moveIdle by what the log said. It notes in a what else is to be asked for that: the topics if the log was
// not asked yet, and the tails that were not read. It fails with errUnasked as inForce does.
func (o *output) moveBy(ctx context.Context, a *answers) error {
	o.lock()
	defer o.unlock()
	if o.db == nil {
		return nil
	}
	set, seq, err := o.inForce(ctx)
	if err != nil || o.none(set) {
		o.meters.behind.Set(0)
		return err
	}
	stands, err := o.stands(ctx)
	if err != nil {
		return err
	}
	var joined []stand
	stands = slices.DeleteFunc(stands, func(s stand) bool {
		if s.joins() {
			joined = append(joined, s)
		}
		return s.joins()
	})
	behind := int64(0)
	for _, s := range stands {
		if o.behind(set, s) {
			behind++
		}
	}
	o.meters.behind.Set(behind)
	now := a.until(o)
	to := now.Add(-o.delay - o.idle).UnixMicro()
	for _, s := range stands {
		h := o.places[s.place]
		if h != nil && (time.Since(h.arrived) < o.idle || h.due() > to && !o.behind(set, s)) ||
			s.updated > now.Add(-o.idle).UnixMicro() {
			continue // it had a record, or nothing is due
		}
		if a.ends == nil {
			a.wanted = append(a.wanted, s.topic)
			continue
		}
		if !o.readTo(a, kafka.Partition{Topic: s.topic, Number: s.number}, s.next) {
			continue
		}
		err := o.commit(ctx, seq, func(tx *sql.Tx, _ *tombstone.Set) ([]*held, error) {
			h, err := o.hold(ctx, tx, set, s.place, "", s.next)
			switch {
			case err != nil || h.upcoming != s.next || h.due() > to && !o.behind(set, s):
				return nil, err
			case h.due() <= to:
				h.advanceAll(to)
			}
			return []*held{h}, nil
		})
		if err != nil {
			return err
		}
	}
	return o.moveJoins(ctx, a, set, seq, joined)
}

func (o *output) stands(ctx context.Context) (list []stand, err error) {
	rows, err := o.db.QueryContext(ctx, `SELECT topic, part, next, updated_at, rules FROM rule_position ORDER BY topic, part`)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var s stand
		if err = rows.Scan(&s.topic, &s.number, &s.next, &s.updated, &s.rules); err != nil {
			break
		}
		list = append(list, s)
	}
	return list, errors.Join(err, rows.Err(), rows.Close())
}
