package flow

import (
	"context"
	"errors"
	"testing"
)

func TestTask_EndWaitsForTheWork(t *testing.T) {
	told, let := make(chan struct{}), make(chan struct{})
	task := Start(func(ctx context.Context) {
		<-ctx.Done()
		close(told)
		<-let
	})
	past, cancel := context.WithCancel(t.Context())
	cancel()
	if err := task.End(past); !errors.Is(err, context.Canceled) {
		t.Errorf("work that goes on has ended: %v", err)
	}
	<-told
	close(let)
	if err := task.End(t.Context()); err != nil {
		t.Error(err)
	}
}
