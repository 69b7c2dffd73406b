package replay

import (
	"testing"
	"time"
)

// beside is a yield, a clock, and a log that answers the later the more jobs
// publish: twice as late at twice its comfort.
type beside struct {
	*yield
	now     time.Time
	usual   time.Duration
	comfort float64 // events a second that the log does not feel
}

func (b *beside) run(seconds int) {
	for range seconds {
		rate, _ := b.allowed()
		slow := max(1, rate/b.comfort)
		for range 20 {
			b.saw(ack, time.Duration(float64(b.usual)*slow))
		}
		b.now = b.now.Add(time.Second)
		b.step(b.now, true, true)
	}
}

func newBeside(comfort float64) *beside {
	b := &beside{yield: newYield(50_000), now: time.Unix(1_800_000_000, 0), usual: 100 * time.Millisecond,
		comfort: comfort}
	b.hold()
	b.step(b.now, true, false)
	return b
}

func TestReplay_AJobMakesWayForLiveTraffic(t *testing.T) {
	b := newBeside(3000)
	if rate, yields := b.allowed(); rate != yieldLeast || !yields {
		t.Fatalf("beside live traffic a job begins slowly, at %v", rate)
	}
	var most float64
	for range 110 {
		b.run(1)
		rate, _ := b.allowed()
		most = max(most, rate)
	}
	if most < 2000 || most > 1.3*1.3*3000 {
		t.Fatalf("it came to %.0f events a second beside a log that feels no 3000", most)
	}
	b.usual *= 10 // the machine has other work: whose it is cannot be told
	b.run(60)
	b.usual /= 10
	b.comfort = 1 // whatever it does is felt
	b.run(300)
	if rate, _ := b.allowed(); rate > 1.5*yieldLeast {
		t.Fatalf("it makes way down to the least, and is at %.0f", rate)
	}
	b.step(b.now.Add(time.Second), false, true)
	if rate, yields := b.allowed(); rate != 50_000 || yields {
		t.Fatalf("with nobody beside it a job goes as fast as it may, not at %.0f", rate)
	}
}

func TestReplay_AJobThatNamesARateKeepsToIt(t *testing.T) {
	in := &input{rate: 50_000, yield: newYield(50_000)}
	if rate, _ := in.pace(&Job{Spec: Spec{Mode: Reprocess, Rate: 900}}).rate(); rate != 900 {
		t.Fatal(rate)
	}
	in.busy.Store(2)
	if rate, _ := in.pace(&Job{Spec: Spec{Mode: Reprocess}}).rate(); rate != 25_000 {
		t.Fatalf("two jobs share what there is: %v", rate)
	}
}
