package flow

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// store is an output that answers as told, and nil after that.
type store struct {
	answers []error
	calls   int
}

func (s *store) Connect(context.Context) error { return nil }
func (s *store) Close(context.Context) error   { return nil }
func (s *store) WriteBatch(context.Context, service.MessageBatch) error {
	s.calls++
	if s.calls <= len(s.answers) {
		return s.answers[s.calls-1]
	}
	return nil
}

func hold(answers ...error) (*store, service.BatchOutput) {
	s := &store{answers: answers}
	return s, Hold(s, "store", "weir_test_store_up", service.MockResources())
}

var errDown = errors.New("connection refused")

func TestFlow_ABatchIsHeldUntilTheStoreIsBack(t *testing.T) {
	s, out := hold(errDown, errDown, errDown)
	if err := out.WriteBatch(t.Context(), service.MessageBatch{service.NewMessage(nil)}); err != nil {
		t.Fatal(err)
	}
	if s.calls != 4 {
		t.Errorf("written %d times, want 4", s.calls)
	}
}

func TestFlow_WhatRetryingDoesNotHelpIsHandedBack(t *testing.T) {
	batch := service.MessageBatch{service.NewMessage(nil)}
	for _, answer := range []error{service.ErrNotConnected, service.NewBatchError(batch, errDown).Failed(0, errDown)} {
		s, out := hold(answer, answer)
		if err := out.WriteBatch(t.Context(), batch); !errors.Is(err, answer) {
			t.Errorf("%v, want %v", err, answer)
		}
		if s.calls != 1 {
			t.Errorf("written %d times, want once", s.calls)
		}
	}
}

func TestFlow_AShutdownEndsTheWait(t *testing.T) {
	answers := make([]error, 100)
	for i := range answers {
		answers[i] = errDown
	}
	_, out := hold(answers...)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := out.WriteBatch(ctx, nil); !errors.Is(err, errDown) {
		t.Errorf("%v, want the store's error", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("ended %s after it began, want at once when the context ends", took)
	}
}
