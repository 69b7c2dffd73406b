package replay

import (
	"slices"
	"sync"
	"time"
)

const (
	yieldLeast  = 400.0           // events a second, even beside live traffic, so that every replay ends
	yieldLook   = 8 * time.Second // the period of one judgement: longer than the stores' batching periods
	yieldAgain  = 2 * time.Minute // after this, the usual times are measured again
	yieldSlack  = 5 * time.Millisecond
	yieldEnough = 40 // answers that a judgement needs
)

// The kinds of answers of the log.
const (
	ack  = iota // for events that jobs publish
	ping        // for pings, for jobs that publish nothing
	answers
)

// yield decides how many events a second the jobs of a process may use. Without live traffic that is their configured
// rate. Beside live traffic they begin slowly, to measure how long the log takes to answer then, and become faster as
// long as it does not answer later: live events wait for the same log on the same machine. The idea is that of LEDBAT
// (RFC 6817). Time is an argument.
type yield struct {
	most float64

	mu    sync.Mutex
	rate  float64
	state yieldState
	until time.Time // when the state ends and is judged
	based time.Time
	base  [answers]time.Duration // the usual time beside a slow job; 0: not known
	seen  [answers][]time.Duration
}

type yieldState int

const (
	free     yieldState = iota // there is no live traffic
	settling                   // consumers are still processing what they were given
	looking                    // the usual time is being measured
	working
)

func newYield(most int) *yield { return &yield{most: float64(most), rate: float64(most)} }

// saw records how long the log took to answer.
func (y *yield) saw(kind int, d time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.state == looking || y.state == working {
		y.seen[kind] = append(y.seen[kind], d)
	}
}

// allowed returns how many events a second all jobs together may use now, and whether live traffic limits them.
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

// step must be called every second, with whether there is live traffic and whether jobs run.
func (y *yield) step(now time.Time, live, busy bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch {
	case !live:
		y.state, y.rate = free, y.most
		return
	case !busy: // the next job begins to measure at once
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

// slower returns by which factor the log answers later than usual: by the answers for published events if there are
// enough, else by those for pings.
func (y *yield) slower() (times float64, known bool) {
	for kind := range y.seen {
		if now, enough := usual(y.seen[kind]); enough && y.base[kind] > 0 {
			return float64(now) / float64(y.base[kind]+yieldSlack), true
		}
	}
	return 0, false
}

// usual returns the time within which 49 of 50 answers come, 0 if there are too few. It is a high quantile because
// live events notice the slow answers.
func usual(seen []time.Duration) (time.Duration, bool) {
	if len(seen) < yieldEnough {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(seen))
	return sorted[len(sorted)*49/50], true
}
