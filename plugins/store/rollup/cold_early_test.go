package rollup

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// unread is a backend that lets no object be read while a write transaction is open.
type unread struct {
	backend
	t   *testing.T
	dir string
}

func (u *unread) update(ctx context.Context, fn func(tx) error) error {
	aside := u.dir + "-aside"
	if err := os.Rename(u.dir, aside); err != nil {
		u.t.Error(err)
	}
	err := u.backend.update(ctx, fn)
	if err := os.Rename(aside, u.dir); err != nil {
		u.t.Error(err)
	}
	return err
}

// Late events of old minutes, rebuilds and rolling read no object while their transaction holds
// locks.
func TestCold_NoTransactionThatWritesReadsAnObject(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		events, hot, tiered, dir := twins(t, 1, fresh)
		tiered.backend = &unread{backend: tiered.backend, t: t, dir: filepath.Join(dir, coldFolder)}
		more := overDays(rand.New(rand.NewPCG(1, 10)), 60)
		today := history(rand.New(rand.NewPCG(1, 11)), 5) // a batch with new events as well
		for i := range today {
			by := byMinute.floor(later.Unix()) - today[i].Bucket
			today[i].Bucket += by
			today[i].events[0].at += by * 1e6
		}
		for _, s := range []*Store{hot, tiered} {
			add(t, s, later, gather(slices.Concat(more, more[:30], today)))
			finish(t, s)
			if _, err := s.Replace(t.Context(), gather(slices.Concat(events, more))[:40], later); err != nil {
				t.Fatal(err)
			}
			finish(t, s)
		}
		compareStores(t, dump(t, hot), dump(t, tiered))
	})
}

// Windows that were read early are not used if their object was replaced, or the window became a
// row, before the transaction began.
func TestCold_WhatWasReadEarlyMayHaveChanged(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		_, hot, tiered, dir := twins(t, 2, fresh)
		for round, moves := range []bool{true, false} {
			r := rand.New(rand.NewPCG(2, uint64(round)))
			first, more := overDays(r, 40), gather(overDays(r, 40))
			early, err := tiered.readEarly(t.Context(), tiered.oldOnes(more, 0, later), byMinute.Width)
			if err != nil || early == nil || len(early.objects) == 0 {
				t.Fatalf("nothing is read early: %v", err)
			}
			add(t, hot, later, gather(first))
			add(t, tiered, later, gather(first))
			if moves {
				for _, s := range []*Store{hot, tiered} {
					finish(t, s)
					seal(t, s, later.Add(9*day))
				}
				if moveOld(t, tiered, dir) == 0 {
					t.Fatal("nothing was moved")
				}
			}
			add(t, hot, later, more)
			for err = errConflict; errors.Is(err, errConflict); early = nil {
				err = tiered.addOnce(t.Context(), more, later, early, &Result{})
			}
			if err != nil {
				t.Fatal(err)
			}
			finish(t, hot)
			finish(t, tiered)
			compareStores(t, dump(t, hot), dump(t, tiered))
		}
	})
}
