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
	"strings"
	"time"

	"weir/internal/event"
)

// Trial says how a rule set is tried on events.
type Trial struct {
	Fleet   string
	Delay   time.Duration // how far out of order events normally come
	Shuffle uint64        // not 0: the seed of a random order in which no event is late
}

// Report is the outcome of a trial.
type Report struct {
	Events     int64
	Duplicates int64
	Invalid    []string // lines that are no events, with the reason
	Rules      []RuleReport
	Misses     []Miss // at most keptMisses of each rule
}

// RuleReport counts what became of the events in one rule.
type RuleReport struct {
	Name     string
	Outcomes [Outcomes]int64
	Results  int64
	GivenUp  int64 // partial matches of a pattern that were dropped because there were too many
}

const (
	keptMisses = 5
	maxEvent   = 8 << 20
)

// Source is a file of events of one topic. Topic may be "" if no rule joins topics.
type Source struct {
	Topic string
	From  io.Reader
}

// Try evaluates the set on events, one a line, and calls each with the results in the order in which they are emitted.
// At the end of the file all windows close. each may be nil; an error of it ends the trial and is returned.
func (s *Set) Try(from io.Reader, trial Trial, each func(Result) error) (*Report, error) {
	return s.TryTopics([]Source{{From: from}}, trial, each)
}

// TryTopics is Try on files of several topics. The order of each file is kept; the next event is taken from the file
// that is furthest behind in time.
func (s *Set) TryTopics(files []Source, trial Trial, each func(Result) error) (*Report, error) {
	report := &Report{}
	all := make([][]tried, len(files))
	for i, file := range files {
		lines, err := readTrial(file.From, trial.Fleet, report)
		if err != nil {
			return nil, err
		}
		for n := range lines {
			lines[n].topic = file.Topic
		}
		all[i] = lines
	}
	return report, s.try(merged(all), trial, report, each)
}

// merged merges the lines of several files by time, keeping the order of each file.
func merged(files [][]tried) (lines []tried) {
	if len(files) == 1 {
		return files[0]
	}
	newest := make([]int64, len(files))
	for i := range newest {
		newest[i] = none
	}
	for {
		first, at := -1, int64(never)
		for i, rest := range files {
			if len(rest) > 0 && max(newest[i], rest[0].at) < at {
				first, at = i, max(newest[i], rest[0].at)
			}
		}
		if first < 0 {
			return lines
		}
		newest[first] = at
		lines = append(lines, files[first][0])
		files[first] = files[first][1:]
	}
}

// bed holds the state of a trial: a partition for each topic and for each pair of topics that are joined.
type bed struct {
	set   *Set
	delay int64
	at    map[string]*partition
	order []*partition
}

// ErrNoTopic means that rules that join two topics are tried on events without a topic.
var ErrNoTopic = errors.New("say of which topic events are, as in --events raw-events=FILE, for each topic once")

// anyTopic is the topic of events without a topic. All rules of the set are evaluated on them.
const anyTopic = "events"

func (b *bed) partition(topic string) *partition {
	p := b.at[topic]
	if p != nil {
		return p
	}
	set := b.set.at(topic)
	if topic == anyTopic {
		set = &Set{Version: b.set.Version, layout: b.set.layout, Rules: b.set.Rules}
	}
	p = newPartition(set, topic, 0, b.delay, 0)
	if of := topicsOf(topic); len(of) > 1 {
		p.sides = map[string]*side{of[0]: {Time: none}, of[1]: {Time: none}}
	}
	b.at[topic] = p
	b.order = append(b.order, p)
	return p
}

// of returns the partitions that are given the events of a topic.
func (b *bed) of(topic string) (all []*partition, err error) {
	pairs := b.set.pairs()
	switch {
	case topic == "" && len(pairs) > 0:
		return nil, fmt.Errorf("rules join the topics %s: %w", strings.Join(topicsOf(pairs[0]), " and "), ErrNoTopic)
	case topic == "":
		return []*partition{b.partition(anyTopic)}, nil
	}
	all = []*partition{b.partition(topic)}
	for _, joined := range pairs {
		if slices.Contains(topicsOf(joined), topic) {
			all = append(all, b.partition(joined))
		}
	}
	return all, nil
}

// try evaluates the set on events, calls each with the results, and completes the report.
func (s *Set) try(lines []tried, trial Trial, report *Report, each func(Result) error) error {
	if trial.Shuffle != 0 {
		shuffle(lines, trial.Delay.Microseconds(), trial.Shuffle)
	}
	b := &bed{set: s, delay: trial.Delay.Microseconds(), at: map[string]*partition{}}
	told := map[string]int64{}
	missed := map[string]int{}
	flush := func(p *partition) error {
		for _, r := range p.out {
			if told[r.Rule]++; each != nil {
				if err := each(r); err != nil {
					return err
				}
			}
		}
		for _, m := range p.misses {
			if m.Topic = p.from; m.Topic == anyTopic {
				m.Topic = ""
			}
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
		to, err := b.of(line.topic)
		if err != nil {
			return err
		}
		for _, p := range to {
			if line.topic != "" {
				p.from = line.topic
			}
			if err = p.apply(line.raw, record{Fleet: line.fleet, At: line.at, ID: line.id, Offset: line.number}); err == nil {
				err = flush(p)
			}
			if err != nil {
				return err
			}
		}
	}
	for _, p := range b.order {
		p.advance(never - 1)
		if err := flush(p); err != nil {
			return err
		}
	}
	for _, r := range s.Rules {
		of := RuleReport{Name: r.Name, Results: told[r.Name]}
		for _, p := range b.order {
			for _, op := range p.ops {
				if op.Rule != r {
					continue
				}
				for o, n := range op.tally {
					of.Outcomes[o] += n
				}
				of.GivenUp += op.givenUp
			}
		}
		report.Rules = append(report.Rules, of)
	}
	return nil
}

// tried is an event of a trial.
type tried struct {
	topic  string // "": none was named
	fleet  string
	raw    []byte
	at     int64
	id     [16]byte
	number int64
}

// readTrial reads events, one a line, in the order of the log. Lines as weir query prints them are sorted by time,
// because its output is ordered by device within each hour.
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
		lines = append(lines, tried{"", fleet, raw, e.Time.UnixMicro(), e.UUID, n})
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

// unwrapped returns the event in a line that weir query --fields event printed, and whether it was such a line.
func unwrapped(line []byte) (raw []byte, was bool) {
	var of map[string]json.RawMessage
	if bytes.HasPrefix(line, []byte(`{"event":{`)) && json.Unmarshal(line, &of) == nil && len(of) == 1 {
		return of["event"], true
	}
	return line, false
}

// shuffle puts events into a random order in which none comes after one that is newer by the delay or more, so that
// none is late. The same seed gives the same order.
func shuffle(lines []tried, delay int64, seed uint64) {
	r := rand.New(rand.NewPCG(seed, seed))
	type moved struct {
		tried
		to int64
	}
	all := make([]moved, len(lines))
	for i, l := range lines {
		all[i] = moved{l, l.at + r.Int64N(max(delay, 1))}
	}
	slices.SortStableFunc(all, func(a, b moved) int { return cmp.Compare(a.to, b.to) })
	for i := range all {
		lines[i] = all[i].tried
	}
}
