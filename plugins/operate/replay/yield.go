package replay

import (
	"slices"
	"sync"
	"time"
)

const (
	yieldLeast  = 400.0           // events a second, whatever live traffic does: every replay ends
	yieldLook   = 8 * time.Second // what one judgement is made of: longer than the stores' batching periods
	yieldAgain  = 2 * time.Minute // then what is usual is measured anew
	yieldSlack  = 5 * time.Millisecond
	yieldEnough = 40 // answers, for a judgement
)

// The kinds of answers of the log.
const (
	ack  = iota // of events that jobs publish
	ping        // of a question, for jobs that publish nothing
	answers
)

// yield decides how many events a second the jobs of a process may use. With no
// live traffic that is all they are allowed. Beside live traffic they go slowly
// at first, to see how long the log takes to answer then, and become faster for
// as long as it answers no later: live events wait for the same log, on the same
// machine. It is the idea of LEDBAT (RFC 6817). Time is an argument.
type yield struct {
	most float64

	mu    sync.Mutex
	rate  float64
	state yieldState
	until time.Time // when the state is judged
	based time.Time
	base  [answers]time.Duration // what is usual beside a slow job; 0 is not known
	seen  [answers][]time.Duration
}

type yieldState int

const (
	free     yieldState = iota // nobody minds
	settling                   // what consumers were given is still being worked off
	looking                    // at what is usual
	working
)

func newYield(most int) *yield { return &yield{most: float64(most), rate: float64(most)} }

// saw notes how long the log took to answer.
func (y *yield) saw(kind int, d time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.state == looking || y.state == working {
		y.seen[kind] = append(y.seen[kind], d)
	}
}

// allowed is how many events a second all jobs together may use now, and
// whether that is because of live traffic.
func (y *yield) allowed() (rate float64, yields bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.rate, y.state != free
}

// hold makes jobs go slowly until it is known whether there is live traffic.
func (y *yield) hold() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.state, y.rate = settling, min(yieldLeast, y.most)
}

// step is called every second with whether there is live traffic, and whether
// jobs run beside it.
func (y *yield) step(now time.Time, live, busy bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch {
	case !live:
		y.state, y.rate = free, y.most
		return
	case !busy: // the next job looks at once
		y.state, y.rate, y.until = settling, min(yieldLeast, y.most), now
		return
	case y.state == free:
		y.rate = min(yieldLeast, y.most)
		y.begin(settling, now)
		return
	case now.Before(y.until):
		return
	}
	switch y.state {
	case settling:
		if y.rate <= yieldLeast || now.Sub(y.based) > yieldAgain {
			y.rate = min(yieldLeast, y.most)
			y.begin(looking, now)
			return
		}
	case looking:
		y.based = now
		for kind := range y.seen {
			y.base[kind], _ = usual(y.seen[kind])
		}
	case working:
		switch slower, known := y.slower(); {
		case now.Sub(y.based) > yieldAgain:
			y.rate = min(yieldLeast, y.most)
			y.begin(settling, now)
			return
		case !known:
		case slower > 1.3:
			y.rate = max(y.rate/2, min(yieldLeast, y.most))
			y.begin(settling, now)
			return
		case slower < 1.1:
			y.rate = min(y.rate*1.3, y.most)
		}
	}
	y.begin(working, now)
}

func (y *yield) begin(s yieldState, now time.Time) {
	y.state, y.until = s, now.Add(yieldLook)
	for kind := range y.seen {
		y.seen[kind] = y.seen[kind][:0]
	}
}

// slower is how many times longer than usual the log takes to answer. Known
// from what is published if that is enough, else from the questions.
func (y *yield) slower() (times float64, known bool) {
	for kind := range y.seen {
		if now, enough := usual(y.seen[kind]); enough && y.base[kind] > 0 {
			return float64(now) / float64(y.base[kind]+yieldSlack), true
		}
	}
	return 0, false
}

// usual is what 49 of 50 answers keep to, 0 when there are too few to say: the
// slow ones are those that live events notice.
func usual(seen []time.Duration) (time.Duration, bool) {
	if len(seen) < yieldEnough {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(seen))
	return sorted[len(sorted)*49/50], true
}
