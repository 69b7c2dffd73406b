package rule

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"weir/internal/platform/sqldb"
)

// acrossMost bounds the rows that one Recompute reads for sums of all devices, including rows of other partitions and
// fleets that lie among them, so that a check does not read the raw store for minutes.
const acrossMost = 1_000_000

// sumAgain computes a part of a sum of all devices. Its events are added in the order in which the raw store returns
// them, and not kept: the aggregates of a window do not depend on the order.
//
// An erasure removes the events of a device from the raw store and leaves the sums. So a part may count more events
// than are stored: at most as many as records of its partition were erased between its first and its last, if any
// of its fleet were. Which device they belonged to is no longer known. It also makes sketches forget the name: each
// tombstone explains that one hash is missing, or that one register is another, whether or not the name was there.
func (o *origin) sumAgain(ctx context.Context, db *sqldb.DB, s Sample, t *telling) (c checked, err error) {
	if t.Count > s.left.Load() {
		return checked{why: SkippedMany}, nil
	}
	sum, beyond := o.summing(), probe{o: o}
	var behind []applied // the first event of its key after the last that it counts
	again, read := false, map[*Reading]bool{o.read.at(o.last): true}
	wanted := o.wanted(t)
	wanted.Left = s.left
	err = s.Events.Of(ctx, wanted, o.by, func(e Stored) error {
		one, is, err := o.takes(e)
		if err != nil || !is {
			return err
		}
		if one.Offset <= o.last {
			again, read[o.read.at(one.Offset)] = again || one.again, true
			return sum.add(one)
		}
		if len(behind) > 0 && behind[0].Offset < one.Offset {
			return nil
		}
		is, err = beyond.has(one)
		if is {
			behind = []applied{one}
		}
		return err
	})
	switch {
	case errors.Is(err, ErrTooMany):
		return checked{why: SkippedMany}, nil
	case err != nil:
		return c, err
	}
	now, err := sum.result(t.ID)
	if err != nil {
		return c, err
	}
	c.what = o.differing(t, now)
	if len(c.what) > 0 {
		err = o.explain(ctx, db, t, now, &c)
	}
	if err == nil && len(c.what) > 0 {
		if c.why, err = o.tellsNothing(ctx, s, t, again, read); c.why == "" && err == nil {
			c.erased, err = o.without(ctx, s, t, now)
		}
		if err == nil && c.why == "" && c.erased == 0 && now != nil && t.Count < now.Count {
			c.why, err = o.keyErased(ctx, db, t)
		}
		if c.why != "" || c.erased > 0 {
			c.what = nil
		}
	}
	if err == nil && c.why == "" && len(c.what) == 0 {
		c.why, _, err = o.late(ctx, s, t, behind)
	}
	return c, err
}

// explain removes sketches from what differs that are as they are since they forgot names: those of the tombstones
// that were buried since the window began.
func (o *origin) explain(ctx context.Context, db *sqldb.DB, t, now *telling, c *checked) error {
	ahead, err := aheadOf(ctx, db)
	if err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM erased WHERE fleet = $1 AND subject <> '' AND until >= $2`,
		t.Fleet, t.Start.UnixMicro()-ahead).Scan(&o.forgot); err != nil {
		return fmt.Errorf("reading tombstones: %w", err)
	}
	c.what = slices.DeleteFunc(c.what, func(name string) bool {
		return now != nil && slices.ContainsFunc(o.values, func(v value) bool {
			return v.name == name && v.kind == "sketch" && v.has(t.Values[name], now.Values[name], 0, o.forgot)
		})
	})
	return nil
}

// keyErased returns SkippedChanged for a part whose key was somebody's id and erased since its window began: events
// that came between the moment of the erasure and its deletion are stored, and went with the key.
func (o *origin) keyErased(ctx context.Context, db *sqldb.DB, t *telling) (why string, err error) {
	subjects := o.subjects(t.Fleet, o.key)
	if len(subjects) == 0 {
		return "", nil
	}
	ahead, err := aheadOf(ctx, db)
	if err != nil {
		return "", err
	}
	var n int64
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM erased WHERE fleet = $1 AND until >= $2 AND subject `+
		db.Dialect.Among("$3"), t.Fleet, t.Start.UnixMicro()-ahead, db.Dialect.List(subjects)).Scan(&n); err != nil {
		return "", fmt.Errorf("reading tombstones: %w", err)
	}
	if n == 0 {
		return "", nil
	}
	return SkippedChanged, nil
}

// probe reports for events whether they are of the key of a result. Events of other keys are added to a shared
// summing, which is replaced after an event of the key and after probeMost events, to bound its memory.
type probe struct {
	o  *origin
	in summing
	n  int
}

const probeMost = 4096

func (p *probe) has(e applied) (is bool, err error) {
	if p.n--; p.n < 0 {
		p.in, p.n = p.o.summing(), probeMost
	}
	if err = p.in.add(e); err != nil {
		return false, err
	}
	if is = p.in.counts(p.o.name); is {
		p.n = 0
	}
	return is, nil
}

// tellsNothing returns the reason for which a part that differs may be right nevertheless, "" for none.
func (o *origin) tellsNothing(ctx context.Context, s Sample, t *telling, again bool,
	read map[*Reading]bool) (why string, err error) {
	for by := range read {
		if !s.Events.Knows(by) {
			return SkippedMapping, nil
		}
	}
	from, to := o.span(t)
	days, err := s.Events.Days(ctx, t.Fleet, from, to)
	switch {
	case err != nil:
		return "", err
	case !days:
		return SkippedRaw, nil
	case o.tally.Counts[OverLimit] > 0:
		return SkippedLimit, nil
	case o.missed > 0:
		return SkippedMissed, nil
	case again:
		return SkippedAgain, nil
	}
	return "", nil
}

// without returns how many erased events a part counts, if these explain all differences between it and what the
// stored events yield; else 0.
func (o *origin) without(ctx context.Context, s Sample, t, now *telling) (erased int64, err error) {
	if now == nil { // all of its events were erased
		now = &telling{Start: t.Start, End: t.End, First: t.First, Last: t.Last}
	}
	n := t.Count - now.Count
	if n <= 0 || s.Erased == nil || !t.Start.Equal(now.Start) || !t.End.Equal(now.End) {
		return 0, nil
	}
	first, last, err := ends(t)
	if err != nil {
		return 0, err
	}
	nowFirst, nowLast, err := ends(now)
	if err != nil || nowFirst < first || nowLast > last {
		return 0, err
	}
	for _, v := range o.values {
		if !v.has(t.Values[v.name], now.Values[v.name], n, o.forgot) {
			return 0, nil
		}
	}
	all, err := s.Erased(ctx, Missing{Fleet: t.Fleet, Topic: o.at.topic, Partition: o.at.number, First: first, Last: last,
		Since: t.Start})
	if err != nil || n > all {
		return 0, err
	}
	return n, nil
}

// has reports whether told can be the aggregate of the events of now and n more events, whose sketches may have
// forgotten so many names.
func (v *value) has(told, now any, n, forgot int64) bool {
	a, numeric := told.(float64)
	b, both := now.(float64)
	switch v.kind {
	case "count":
		return numeric && a >= b && a-b <= float64(n)
	case "sum":
		return numeric || now == nil // the erased values may have had either sign
	case "min":
		return !both || numeric && a <= b
	case "max":
		return !both || numeric && a >= b
	case "sketch":
		text, _ := told.(string)
		part, _ := now.(string)
		var with, without Uniques
		if with.Add(text) != nil || without.Add(part) != nil {
			return false
		}
		less, more := with.of.differs(&without.of)
		return less <= forgot && more <= n+forgot-less
	}
	return false // no other aggregate is allowed in sums of all devices
}
