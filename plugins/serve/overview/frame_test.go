package overview

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// All who look are sent what one of them made; nobody is sent the same twice, and
// no fleet what is another's.
func TestFrames_AreMadeOnceForAllWhoLook(t *testing.T) {
	var f frames
	start := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	made := 0
	seen := make([]*frame, 50)
	for second := range 60 {
		for v := range seen { // each at a time of its own within the second, over and over
			at := start.Add(time.Duration(second)*time.Second + time.Duration(v)*20*time.Millisecond)
			one, mine := f.claim("", seen[v], at)
			if one == seen[v] {
				t.Fatalf("viewer %d is sent the same again", v)
			}
			if age := at.Sub(one.at); age >= frameLife {
				t.Fatalf("what viewer %d is sent is %s old", v, age)
			}
			if seen[v] = one; mine {
				made++
				close(one.made)
			}
		}
	}
	if made > 70 { // one each frameLife
		t.Errorf("50 viewers had %d made in 60 seconds", made)
	}
	one, mine := f.claim("plant-1", nil, start.Add(59*time.Second))
	if !mine || one == seen[0] {
		t.Error("a fleet is sent what is of all")
	}
	close(one.made)
	if f.claim("plant-2", nil, start.Add(time.Hour)); len(f.by) != 1 {
		t.Errorf("%d are kept of those who have gone", len(f.by))
	}
}

// One that takes long is waited for: another beside it could show an earlier moment.
func TestFrames_OneOfAFleetIsMadeAtATime(t *testing.T) {
	var f frames
	start := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	slow, _ := f.claim("", nil, start)
	_, _ = f.claim("plant-1", nil, start.Add(2*time.Second))
	if one, mine := f.claim("", nil, start.Add(3*time.Second)); mine || one != slow {
		t.Error("a second one is made meanwhile")
	}
	close(slow.made)
	if one, mine := f.claim("", slow, start.Add(3*time.Second)); !mine || one == slow {
		t.Error("it is not made anew")
	}
}

// Those who come while one is made wait for it.
func TestFrames_WhoComesMeanwhileWaits(t *testing.T) {
	var f frames
	var drawn int // by one goroutine at a time, or the race detector says so
	began, goOn := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		f.next("", nil, func() ([]byte, error) {
			drawn++
			close(began)
			<-goOn
			return fmt.Append(nil, drawn), nil
		})
	})
	<-began
	f.mu.Lock()
	at := f.by[""].at
	f.mu.Unlock()
	one, mine := f.claim("", nil, at)
	if mine || one.raw != nil {
		t.Error("a second one is made meanwhile")
	}
	close(goOn)
	<-one.made
	if string(one.raw) != "1" {
		t.Errorf("it is sent %q", one.raw)
	}
	all.Wait()
}
