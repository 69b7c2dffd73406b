package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// force is the activation that this process has taken up.
type force struct {
	seq    int64
	number int64   // the version; 0: the file
	set    *Set    // nil: the file's
	canary *canary // nil: none
	wrong  error   // a version cannot be read: the rules before stay in force
}

// errSwitched says that the store is not as it was when a batch was applied: other rules came into force, or what as
// says. The batch is applied again.
var errSwitched = errors.New("other rules came in force; the batch is taken anew")

// inForce returns the rules that are in force now, and the seq of their activation; o.canary goes with them. It fails
// while the rules do not fit the topics of the stream, and with errUnasked if the log is to be asked about them first.
// The caller holds mu.
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
	return o.last, now.seq, o.fits(o.last)
}

// keep stores the rules of the file as a version, so that their results can be traced to events, and so that they can
// be drained when the file changes.
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

// none tells whether there are no rules for any fleet: neither in the set for all nor in the canary.
func (o *output) none(set *Set) bool {
	return len(set.Rules) == 0 && (o.canary == nil || len(o.canary.set.Rules) == 0)
}

// enforce takes up an activation. If this process cannot read its rules, because a newer weir wrote them, that is
// logged, and the rules before stay in force.
func (o *output) enforce(ctx context.Context, now Activation) error {
	f := force{seq: now.seq, number: now.Number}
	if now.Number > 0 {
		v, err := (&Versions{o.db}).Get(ctx, now.Number)
		if err != nil {
			return err
		}
		if f.set, err = parseKept([]byte(v.Text)); err != nil {
			f.wrong = fmt.Errorf("taking up version %d of rules: %w", now.Number, err)
			o.log.Errorf("rules stay as they are: %v", f.wrong)
		} else {
			o.meters.declare(f.set)
			o.doubt(f.set, fmt.Sprintf("version %d of rules", now.Number))
			o.log.Infof("took up rules, version %d: %s", now.Number, v.Version)
		}
	}
	if now.Canary > 0 {
		v, err := (&Versions{o.db}).Get(ctx, now.Canary)
		if err != nil {
			return err
		}
		f.canary = &canary{fleets: now.Fleets}
		if f.canary.set, err = parseKept([]byte(v.Text)); err != nil {
			f.wrong = fmt.Errorf("taking up version %d of rules for some fleets: %w", now.Canary, err)
			o.log.Errorf("rules stay as they are: %v", f.wrong)
		} else {
			o.meters.declare(f.canary.set)
			o.doubt(f.canary.set, fmt.Sprintf("version %d of rules", now.Canary))
			o.log.Infof("took up rules of some fleets, version %d: %s", now.Canary, v.Version)
		}
	}
	o.force = f
	o.sayValid()
	return nil
}

// sayValid sets the gauge weir_rules_valid: 1 if the rules that should be in force can be read. The caller holds mu.
func (o *output) sayValid() {
	valid := int64(1)
	if o.force.wrong != nil || o.force.number == 0 && o.fileWrong {
		valid = 0
	}
	o.meters.valid.Set(valid)
}

// still fails with errSwitched if the activation seq is not in force any more. The transaction holds locks on the
// partitions that it changes: whoever locks them next sees this activation or a later one, so that no partition goes
// back to earlier rules.
func still(ctx context.Context, tx *sql.Tx, seq int64) error {
	now, err := activation(ctx, tx, "", 0)
	if err == nil && now.seq != seq {
		err = errSwitched
	}
	return err
}
