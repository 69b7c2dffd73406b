package pool

import (
	"context"
	"errors"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// door is open until it is closed.
type door struct{ closed bool }

func (d *door) Close() error {
	d.closed = true
	return nil
}

func TestPool_TheLastOneCloses(t *testing.T) {
	res, opened := service.MockResources(), 0
	failing := errors.New("it does not answer")
	var fails error
	open := func(context.Context, string) (*door, error) {
		if fails != nil {
			return nil, fails
		}
		opened++
		return &door{}, nil
	}
	fails = failing
	if _, _, err := Shared(t.Context(), res, "a", open); !errors.Is(err, failing) {
		t.Fatalf("a failure: %v", err)
	}
	fails = nil
	first, release1, err1 := Shared(t.Context(), res, "a", open)
	second, release2, err2 := Shared(t.Context(), res, "a", open)
	other, release3, err3 := Shared(t.Context(), res, "b", open)
	if err := errors.Join(err1, err2, err3); err != nil || first != second || first == other || opened != 2 {
		t.Fatalf("%d were opened: %v", opened, err)
	}
	release1()
	release1() // counts once
	if first.closed {
		t.Error("it is closed while another has it")
	}
	release2()
	release3()
	if !first.closed || !other.closed {
		t.Error("it is open though nobody has it")
	}
	if again, release, err := Shared(t.Context(), res, "a", open); err != nil || again == first {
		t.Errorf("after the end: %v", err)
	} else {
		release()
	}
}
