package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// force is which rules are in force: those of an activation. Of one that this
// process cannot read, it has the rules before.
type force struct {
	seq    int64
	number int64
	set    *Set    // nil: those of the file
	canary *canary // nil: none
	wrong  error
}

// errSwitched says that other rules are in force than those that were applied.
var errSwitched = errors.New("other rules came in force; the batch is taken anew")

// inForce returns the rules that are in force now, and their activation. Those
// of the file may change with the file, and with each process.
func (o *output) inForce(ctx context.Context) (*Set, int64, error) {
	now, err := activation(ctx, o.db, "", 0)
	if err == nil && now.seq != o.force.seq {
		err = o.enforce(ctx, now)
	}
	if err != nil {
		return nil, 0, err
	}
	switch f := &o.force; {
	case f.wrong != nil && o.last == nil:
		return nil, 0, f.wrong
	case f.wrong != nil: // the rules before go on
	case f.set != nil:
		o.last, o.canary = f.set, f.canary
	default:
		o.last, o.canary = o.rules.Get(), f.canary
		if err := o.keep(ctx, o.last); err != nil {
			return nil, 0, err
		}
	}
	return o.last, now.seq, o.fits(ctx, o.last)
}

// keep keeps the rules of the file as a version: what they tell leads to its events,
// and what they have open is drained when the file changes.
func (o *output) keep(ctx context.Context, set *Set) error {
	if o.kept == set || len(set.Rules) == 0 {
		return nil
	}
	if err := keepFile(ctx, o.db, set); err != nil {
		return err
	}
	o.kept = set
	return nil
}

// none tells whether no fleet has any rules, under a set that is in force for all.
func (o *output) none(set *Set) bool {
	return len(set.Rules) == 0 && (o.canary == nil || len(o.canary.set.Rules) == 0)
}

// enforce takes an activation up. Rules that this process cannot read, of a newer
// weir, are said, and change nothing.
func (o *output) enforce(ctx context.Context, now Activation) error {
	f := force{seq: now.seq, number: now.Number}
	if now.Number > 0 {
		v, err := (&Versions{o.db}).Get(ctx, now.Number)
		if err != nil {
			return err
		}
		if f.set, err = Parse([]byte(v.Text)); err != nil {
			f.wrong = fmt.Errorf("taking up version %d of rules: %w", now.Number, err)
			o.log.Errorf("rules stay as they are: %v", f.wrong)
		} else {
			o.meters.declare(f.set)
			o.log.Infof("took up rules, version %d: %s", now.Number, v.Version)
		}
	}
	if now.Canary > 0 {
		v, err := (&Versions{o.db}).Get(ctx, now.Canary)
		if err != nil {
			return err
		}
		f.canary = &canary{fleets: now.Fleets}
		if f.canary.set, err = Parse([]byte(v.Text)); err != nil {
			f.wrong = fmt.Errorf("taking up version %d of rules for some fleets: %w", now.Canary, err)
			o.log.Errorf("rules stay as they are: %v", f.wrong)
		} else {
			o.meters.declare(f.canary.set)
			o.log.Infof("took up rules of some fleets, version %d: %s", now.Canary, v.Version)
		}
	}
	o.force = f
	o.sayValid()
	return nil
}

// sayValid sets the gauge: what is to be in force is right.
func (o *output) sayValid() {
	valid := int64(1)
	if o.force.wrong != nil || o.force.number == 0 && o.fileWrong {
		valid = 0
	}
	o.meters.valid.Set(valid)
}

// still fails with errSwitched when other rules came in force since. The
// partitions that the transaction changes are locked: who has them next sees what
// is in force no earlier than this, so that no partition goes back.
func still(ctx context.Context, tx *sql.Tx, seq int64) error {
	now, err := activation(ctx, tx, "", 0)
	if err == nil && now.seq != seq {
		err = errSwitched
	}
	return err
}
