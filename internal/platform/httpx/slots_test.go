package httpx

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"
)

func TestSlots_OneMoreThanMayIsRefusedAndTakesNothing(t *testing.T) {
	s := NewSlots(2, time.Hour)
	take := func() (*httptest.ResponseRecorder, func(), bool) {
		w := httptest.NewRecorder()
		_, done, ok := s.Take(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		return w, done, ok
	}
	_, first, ok := take()
	_, second, ok2 := take()
	if !ok || !ok2 {
		t.Fatal("there is room for two")
	}
	for range 3 {
		if w, _, ok := take(); ok || w.Code != 429 || w.Header().Get("Retry-After") == "" {
			t.Fatalf("a third is answered %d %s", w.Code, w.Body)
		}
	}
	first()
	if _, third, ok := take(); !ok {
		t.Error("a place that is free again is not given")
	} else {
		third()
	}
	second()
}

func TestSlots_TheTimeOfOneEnds(t *testing.T) {
	s := NewSlots(1, time.Nanosecond)
	ctx, done, ok := s.Take(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	if !ok {
		t.Fatal("there is room")
	}
	defer done()
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Error(ctx.Err())
	}
}
