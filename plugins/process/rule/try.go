package rule

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"weir/internal/event"
)

// Trial is how a rule set is tried on a file of events.
type Trial struct {
	Fleet   string
	Delay   time.Duration // how much out of order is normal
	Shuffle uint64        // not 0: events are taken in another order, within the delay
}

// Report is what a trial came to.
type Report struct {
	Events     int64
	Duplicates int64
	Invalid    []string // why, with the line
	Rules      []RuleReport
	Misses     []Miss // at most keptMisses of a rule
}

// RuleReport is what became of the events in one rule.
type RuleReport struct {
	Name     string
	Outcomes [Outcomes]int64
	Results  int64
	GivenUp  int64 // partial matches of a pattern, of which there were too many
}

const (
	keptMisses = 5
	maxEvent   = 8 << 20
)

// Try reads events, one a line, and hands on each result in the order in which
// they are told, as if time had passed everything at the end of the file. An
// error of each ends it.
func (s *Set) Try(from io.Reader, trial Trial, each func(Result) error) (*Report, error) {
	report := &Report{}
	lines, err := readTrial(from, trial.Fleet, report)
	if err != nil {
		return nil, err
	}
	return report, s.try(lines, trial, report, each)
}

// try applies events, and hands on what they come to.
func (s *Set) try(lines []tried, trial Trial, report *Report, each func(Result) error) error {
	if trial.Shuffle != 0 {
		shuffle(lines, trial.Delay.Microseconds(), trial.Shuffle)
	}
	p := newPartition(s, "events", 0, trial.Delay.Microseconds(), 0)
	told := map[string]int64{}
	missed := map[string]int{}
	flush := func() error {
		for _, r := range p.out {
			if told[r.Rule]++; each != nil {
				if err := each(r); err != nil {
					return err
				}
			}
		}
		for _, m := range p.misses {
			if missed[m.Rule]++; missed[m.Rule] <= keptMisses {
				report.Misses = append(report.Misses, m)
			}
		}
		p.out, p.misses = p.out[:0], p.misses[:0]
		return nil
	}
	type known struct {
		fleet string
		id    [16]byte
	}
	seen := map[known]bool{}
	for _, line := range lines {
		report.Events++
		if seen[known{line.fleet, line.id}] {
			report.Duplicates++
			continue
		}
		seen[known{line.fleet, line.id}] = true
		err := p.apply(line.raw, record{Fleet: line.fleet, At: line.at, ID: line.id, Offset: line.number})
		if err == nil {
			err = flush()
		}
		if err != nil {
			return err
		}
	}
	p.advance(never - 1)
	if err := flush(); err != nil {
		return err
	}
	for _, op := range p.ops {
		report.Rules = append(report.Rules, RuleReport{op.Name, op.tally, told[op.Name], op.givenUp})
	}
	return nil
}

// tried is one line of a file of events.
type tried struct {
	fleet  string
	raw    []byte
	at     int64
	id     [16]byte
	number int64
}

// readTrial reads the lines, which are in the order of the log. What weir query
// prints is by device within an hour: it is put in the order of time.
func readTrial(from io.Reader, fleet string, report *Report) (lines []tried, err error) {
	stored := false
	in := bufio.NewScanner(from)
	in.Buffer(make([]byte, 64<<10), maxEvent)
	var e event.Event
	for n := int64(1); in.Scan(); n++ {
		raw := bytes.TrimSpace(in.Bytes())
		if len(raw) == 0 {
			continue
		}
		raw, wrapped := unwrapped(bytes.Clone(raw))
		stored = stored || wrapped
		if err := event.Parse(raw, &e); err != nil {
			report.Invalid = append(report.Invalid, fmt.Sprintf("line %d: %v", n, err))
			continue
		}
		lines = append(lines, tried{fleet, raw, e.Time.UnixMicro(), e.UUID, n})
	}
	if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("reading events: a line is longer than %d MiB; write one event a line", maxEvent>>20)
	} else if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	if stored {
		slices.SortStableFunc(lines, func(a, b tried) int { return cmp.Compare(a.at, b.at) })
	}
	return lines, nil
}

// unwrapped is the event in what weir query --fields event prints of it.
func unwrapped(line []byte) (raw []byte, was bool) {
	var of map[string]json.RawMessage
	if bytes.HasPrefix(line, []byte(`{"event":{`)) && json.Unmarshal(line, &of) == nil && len(of) == 1 {
		return of["event"], true
	}
	return line, false
}

// shuffle moves each event back by less than a delay, as seen from the newest
// before it: an order in which none is late.
func shuffle(lines []tried, delay int64, seed uint64) {
	r := rand.New(rand.NewPCG(seed, seed))
	at := make(map[int64]int64, len(lines))
	for _, l := range lines {
		at[l.number] = l.at + r.Int64N(max(delay, 1))
	}
	slices.SortStableFunc(lines, func(a, b tried) int { return int(at[a.number] - at[b.number]) })
}
