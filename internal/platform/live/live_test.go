package live

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"
)

// source answers as told; it is built to a number.
type source struct {
	answer string
	err    error
	builds int
}

func (s *source) value() *Value[string, int] {
	return New(Source[string, int]{
		Load: func(context.Context) (string, error) { return s.answer, s.err },
		Same: func(a, b string) bool { return a == b },
		Build: func(d string) (*int, error) {
			s.builds++
			n, err := strconv.Atoi(d)
			return &n, err
		},
	})
}

func TestLive_TheLastGoodValueStays(t *testing.T) {
	s := &source{}
	v := s.value()
	if v.Get() != nil {
		t.Fatal("there is a value before any was loaded")
	}
	for i, step := range []struct {
		answer  string
		err     error
		changed bool
		fails   bool
		value   int
		builds  int
	}{
		{"1", nil, true, false, 1, 1},
		{"1", nil, false, false, 1, 1}, // the same is built once
		{"x", nil, false, true, 1, 2},
		{"x", nil, false, true, 1, 2}, // nor is what was refused tried again
		{"1", nil, false, false, 1, 2},
		{"x", nil, false, true, 1, 3}, // another time
		{"", errors.New("away"), false, true, 1, 3},
		{"2", nil, true, false, 2, 4},
	} {
		s.answer, s.err = step.answer, step.err
		changed, err := v.Refresh(t.Context())
		if changed != step.changed || (err != nil) != step.fails || *v.Get() != step.value || s.builds != step.builds {
			t.Errorf("step %d: changed %t, %v, value %d, %d builds", i, changed, err, *v.Get(), s.builds)
		}
	}
	select {
	case <-v.Ready():
	default:
		t.Error("it is not ready")
	}
}

func TestLive_FailuresAreToldOnceAndTheirEnd(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	answers := []error{nil, errors.New("a"), errors.New("a"), errors.New("b"), errors.New("b"), nil, nil, errors.New("a")}
	i := 0
	var told []string
	Follow(ctx, time.Millisecond, time.Second, false, func(context.Context) error {
		if i == len(answers) {
			stop()
			return nil
		}
		i++
		return answers[i-1]
	}, func(err error) { told = append(told, fmt.Sprint(err)) })
	if got := fmt.Sprint(told); got != "[a b <nil> a]" {
		t.Errorf("told %s", got)
	}
}
