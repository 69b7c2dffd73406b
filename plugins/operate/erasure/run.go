package erasure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/hold"
	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/jobs"
	"weir/internal/platform/sqldb"
)

const (
	tryAgain  = 10 * time.Second // after an outage
	holdAgain = time.Minute      // a hold may last for years
)

// held is the error that a legal hold forbids the step.
type held struct{ text string }

func (h held) Error() string { return h.text }

// named is an opened store.
type named struct {
	lifecycle.Store
	name string
	sql  bool // it is a database: writers see a tombstone as soon as it is committed
}

// runner executes erasures.
type runner struct {
	store   *Store
	holds   *hold.Store
	people  finder
	stores  []named
	tables  map[*sqldb.DB][]string // the tables from which rows are deleted
	recount func(context.Context, tombstone.Target) (events int64, err error)
	owner   string
	settle  time.Duration
	log     time.Duration // the longest retention of the log's topics
	claims  time.Duration
	logger  *service.Logger
	now     func() time.Time
	scrubs  map[*sqldb.DB]time.Time // when the last scrubbing of each database began
}

// carry executes the next step of an erasure, and releases it. A failed step is tried again later; carry returns after
// the erasure was saved with its error.
func (r *runner) carry(ctx context.Context, e *Erasure) error {
	working, stop := context.WithCancelCause(ctx)
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		r.beat(working, e.ID, stop)
	}()
	next, err := r.step(working, e)
	lost := errors.Is(context.Cause(working), jobs.ErrLost)
	stop(nil)
	<-beating
	if lost || errors.Is(err, jobs.ErrLost) {
		return jobs.ErrLost
	}
	var hold held
	switch {
	case errors.As(err, &hold) && e.buried == 0:
		e.State, e.Error, e.phase = Refused, hold.text, ended
		e.end(r.now())
	case errors.As(err, &hold):
		e.State, e.Error, next = Held, hold.text, r.now().Add(holdAgain)
	case err != nil && ctx.Err() == nil:
		e.State, e.Error, next = Running, "tried again after: "+err.Error(), r.now().Add(tryAgain)
	case err == nil:
		e.Error = ""
	}
	e.Error = e.without(e.Error, "(the device)")
	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease)
	defer cancel()
	return errors.Join(r.store.save(saving, r.owner, e), r.store.release(saving, r.owner, e.ID, next))
}

// beat renews the lease during a step. It cannot while the control store is rewritten or down. If another process
// takes over then, both repeat what may be repeated, and only the owner of the lease can save.
func (r *runner) beat(ctx context.Context, id string, stop context.CancelCauseFunc) {
	tick := time.NewTicker(lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if errors.Is(r.store.renew(ctx, r.owner, id), jobs.ErrLost) {
			stop(jobs.ErrLost)
			return
		}
	}
}

// step executes the erasure's phase, and returns when the next may begin.
func (r *runner) step(ctx context.Context, e *Erasure) (next time.Time, err error) {
	if e.State == Queued || e.State == Held {
		e.State = Running
	}
	if e.StartedAt == nil {
		now := r.now().UTC().Truncate(time.Microsecond)
		e.StartedAt = &now
	}
	e.Progress.Steps = 2*len(r.stores) + 4
	switch e.phase {
	case begin, more:
		return r.begin(ctx, e)
	case settle:
		return next, r.finish(ctx, e)
	case scrub:
		return next, r.scrub(ctx, e)
	}
	return next, fmt.Errorf("carrying out an erasure: unknown phase %q", e.phase)
}

// free returns an error while a legal hold forbids erasing.
func (r *runner) free(ctx context.Context, fleet string) error {
	h, on, err := r.holds.Held(ctx, fleet)
	if err != nil {
		return err
	}
	if on {
		return held{holdText(h)}
	}
	return nil
}

// holdText names the legal hold that forbids erasing.
func holdText(h hold.Hold) string {
	return fmt.Sprintf("fleet %q is under legal hold since %s, placed by %s: %s; release it first", h.Fleet,
		h.Since.Format(time.RFC3339), h.PlacedBy, h.Reason)
}

// doing stores what an erasure is doing now, for people who watch it.
func (r *runner) doing(ctx context.Context, e *Erasure, step int, what string) error {
	e.Progress.Step, e.Progress.Doing = step, what
	return r.store.save(ctx, r.owner, e)
}

// begin writes the tombstones, and deletes the present rows.
func (r *runner) begin(ctx context.Context, e *Erasure) (next time.Time, err error) {
	if err := r.free(ctx, e.Fleet); err != nil {
		return next, err
	}
	if e.DryRun {
		return next, r.count(ctx, e)
	}
	grew, err := r.resolve(ctx, e)
	if err != nil {
		return next, err
	}
	if grew && e.buried > 0 {
		e.phase = more
	}
	if e.Until == nil {
		due, err := r.due(ctx, max(1, len(e.names())))
		if err != nil {
			return next, err
		}
		now := r.now().UTC().Truncate(time.Microsecond)
		e.Until, e.DueBy = &now, &due
	}
	if err := r.doing(ctx, e, 1, "burying tombstones"); err != nil {
		return next, err
	}
	for _, s := range r.stores {
		for _, t := range e.targets(s) {
			if err := s.Bury(ctx, t.Stone()); err != nil {
				return next, fmt.Errorf("burying a tombstone beside %s: %w", s.name, err)
			}
		}
	}
	if e.buried == 0 || e.phase == more {
		e.buried = r.now().UnixMicro()
	}
	if err := r.pass(ctx, e, 2, false); err != nil {
		return next, err
	}
	e.phase = settle
	e.Progress.Doing = "waiting for what was being written"
	return time.UnixMicro(e.buried).Add(r.settle), nil
}

// due returns when an erasure that begins now is done at the latest: a device that reported all the time has rows in
// every object, and a person may have several devices.
func (r *runner) due(ctx context.Context, targets int) (time.Time, error) {
	total := int64(0)
	for _, s := range r.stores {
		n, err := s.Bytes(ctx)
		if err != nil {
			return time.Time{}, fmt.Errorf("measuring %s: %w", s.name, err)
		}
		total += n
	}
	return r.now().UTC().Add(bound + time.Duration(total/rate*int64(targets))*time.Second).Truncate(time.Second), nil
}

// pass erases from the stores, one after the other. If one fails, the others are still erased from, and the step is
// repeated. A legal hold, or the end of the process, stops it.
func (r *runner) pass(ctx context.Context, e *Erasure, step int, again bool) error {
	free := func() error { return r.free(ctx, e.Fleet) }
	var failures []error
	for i, s := range r.stores {
		if err := r.doing(ctx, e, step+i, "erasing "+s.name); err != nil {
			return err
		}
		if err := free(); err != nil {
			return err
		}
		var err error
		for _, t := range e.targets(s) {
			if err = s.Erase(ctx, lifecycle.Erasure{Target: t, Again: again, Held: free}); err != nil {
				break
			}
		}
		var hold held
		switch {
		case errors.As(err, &hold), err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			failures = append(failures, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errors.Join(failures...)
}

// finish deletes rows that were being written when the erasure began, and removes the names of the device or person. A
// device of the person that was not known before is erased as the others were.
func (r *runner) finish(ctx context.Context, e *Erasure) error {
	grew, err := r.resolve(ctx, e)
	if err != nil {
		return err
	}
	if grew {
		e.phase = more
		return nil
	}
	if err := r.pass(ctx, e, 2+len(r.stores), true); err != nil {
		return err
	}
	if err := r.doing(ctx, e, e.Progress.Steps-2, "counting again what came later"); err != nil {
		return err
	}
	e.Recounted = 0
	for _, t := range e.devices() {
		n, err := r.recount(ctx, t)
		if err != nil {
			return fmt.Errorf("counting again what came later: %w", err)
		}
		e.Recounted += n
	}
	if err := r.forget(ctx, e); err != nil {
		return err
	}
	if err := errors.Join(r.sum(ctx, e), r.remains(ctx, e)); err != nil {
		return err
	}
	e.nameless()
	e.phase = scrub
	e.Progress.Step, e.Progress.Doing = e.Progress.Steps-1, "freeing files of what was deleted"
	return nil
}

// sum adds up what was deleted, by kind.
func (r *runner) sum(ctx context.Context, e *Erasure) error {
	clear(e.Erased)
	for _, t := range append(e.devices(), e.aliases()...) {
		for db := range r.tables {
			counts := map[string]int64{}
			if err := tombstone.Counts(ctx, db, t.Job, counts); err != nil {
				return err
			}
			for what, n := range counts {
				e.Erased[what] += n
			}
		}
	}
	return nil
}

// remains collects the descriptions of sums that counted erased events and stay.
func (r *runner) remains(ctx context.Context, e *Erasure) error {
	e.Remains = nil
	for _, s := range r.stores {
		of, is := s.Store.(lifecycle.Remainder)
		if !is {
			continue
		}
		text, err := of.Remains(ctx, e.Fleet)
		if err != nil {
			return fmt.Errorf("asking %s what remains: %w", s.name, err)
		}
		if text != "" {
			e.Remains = append(e.Remains, text)
		}
	}
	return nil
}

// scrub removes the deleted data from database files, and the device's name from the erasure's own row. A scrubbing
// that began after these deletions serves as well.
func (r *runner) scrub(ctx context.Context, e *Erasure) error {
	for db, tables := range r.tables {
		if !r.scrubs[db].After(e.changed) {
			began := r.now()
			if err := db.Scrub(ctx, tables...); err != nil {
				return err
			}
			r.scrubs[db] = began
		}
	}
	for db := range r.tables {
		for _, job := range e.jobs() {
			if err := tombstone.Forget(ctx, db, job); err != nil {
				return err
			}
		}
	}
	now := r.now().UTC()
	clear, claims := now.Add(r.log), now.Add(r.claims)
	e.LogClearBy, e.ClaimsClearBy = &clear, &claims
	e.State, e.phase = Done, ended
	e.end(now)
	return nil
}

// count counts what would be deleted, and deletes nothing.
func (r *runner) count(ctx context.Context, e *Erasure) error {
	if _, err := r.resolve(ctx, e); err != nil {
		return err
	}
	of := []tombstone.Who{{Device: e.Device}}
	if e.Person != "" {
		of = nil
		for _, device := range e.Devices {
			of = append(of, tombstone.Who{Device: device})
		}
		for _, alias := range e.Aliases {
			of = append(of, tombstone.Who{Device: alias, Name: true})
		}
	}
	clear(e.Erased)
	e.Progress.Steps = len(r.stores)
	for i, s := range r.stores {
		if err := r.doing(ctx, e, i, "counting "+s.name); err != nil {
			return err
		}
		counts, err := s.Count(ctx, e.Fleet, of...)
		if err != nil {
			return err
		}
		for what, n := range counts {
			e.Erased[what] += n
		}
	}
	e.nameless()
	e.State, e.phase = Done, ended
	e.end(r.now())
	return nil
}

func (e *Erasure) end(now time.Time) {
	at := now.UTC().Truncate(time.Microsecond)
	e.EndedAt = &at
	e.nameless()
	e.Progress.Step, e.Progress.Doing = e.Progress.Steps, ""
}
