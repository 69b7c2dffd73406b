package event

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// given makes a batch of so many messages that carry a turn.
func given(t *Turn, messages int) (batch service.MessageBatch) {
	for range messages {
		msg := service.NewMessage(nil)
		t.Give(msg)
		batch = append(batch, msg)
	}
	return batch
}

// waits tells whether a batch waits for another.
func waits(t *testing.T, batch service.MessageBatch) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := TurnsOf(batch).Wait(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return err != nil
}

func TestTurn_ABatchWaitsForThoseBefore(t *testing.T) {
	first := NewTurn(nil, 3)
	second := NewTurn(first, 2)
	third := NewTurn(second, 1)
	a, b, c := given(first, 3), given(second, 2), given(third, 1)
	if waits(t, a) || !waits(t, b) || !waits(t, c) {
		t.Fatal("the first goes on, and the others wait for it")
	}
	TurnsOf(a[:2]).Taken()
	if !waits(t, b) {
		t.Error("the first is taken in part, and the second goes on")
	}
	TurnsOf(b).Taken() // out of order, by an output that waits for nobody
	if !waits(t, c) {
		t.Error("the second is over, and the third does not wait for the first")
	}
	TurnsOf(a[2:]).Taken()
	if waits(t, c) {
		t.Error("all before are taken, and the third waits")
	}
}

func TestTurn_WhatIsAcknowledgedHoldsNobodyUp(t *testing.T) {
	first := NewTurn(nil, 3)
	second := NewTurn(first, 1)
	TurnsOf(given(first, 1)).Taken() // two messages were dropped on the way
	first.End()
	first.End()
	if waits(t, given(second, 1)) {
		t.Error("the second waits for what was acknowledged")
	}
}

func TestTurn_BatchesThatWerePutTogetherDoNotWaitForEachOther(t *testing.T) {
	first := NewTurn(nil, 1)
	second := NewTurn(first, 2)
	third := NewTurn(second, 2)
	both := append(given(second, 2), given(third, 2)...)
	if !waits(t, both) {
		t.Error("both go on before the first is over")
	}
	first.End()
	if waits(t, both) {
		t.Error("the third waits for the second, which comes with it")
	}
	TurnsOf(both).Taken()
	if waits(t, given(NewTurn(third, 1), 1)) {
		t.Error("the next waits for what is taken")
	}
	if waits(t, service.MessageBatch{service.NewMessage(nil)}) {
		t.Error("a batch without a turn waits")
	}
}

// Whoever comes last holds nobody in memory who is over.
func TestTurn_LetsGoOfThoseThatAreOver(t *testing.T) {
	var last *Turn
	for range 10 {
		next := NewTurn(last, 1)
		if last != nil {
			last.End()
		}
		last = next
	}
	last.End()
	if last.before.Load() != nil {
		t.Error("the last holds those before")
	}
}

// A batch whose predecessor was refused, and cannot come before it makes room, makes room;
// it waits for one that is being written, however long that takes.
func TestTurn_NobodyWaitsForOneThatCannotCome(t *testing.T) {
	const soon = 20 * time.Millisecond
	first := NewTurn(nil, 1)
	before, second := TurnsOf(given(first, 1)), TurnsOf(given(NewTurn(first, 1), 1))
	before.Enter()
	short, cancel := context.WithTimeout(t.Context(), 5*soon)
	defer cancel()
	if err := second.wait(short, soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("its predecessor is being written:", err)
	}
	before.Leave()
	if err := second.wait(t.Context(), soon); !errors.Is(err, errBefore) {
		t.Error("its predecessor was refused:", err)
	}
	first.End()
	if err := second.wait(t.Context(), soon); err != nil {
		t.Error("its predecessor is over:", err)
	}
}
