package anomaly

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"weir/internal/event"
	"weir/internal/platform/text"
)

// Labelled is a series of readings with known anomalies: a file of the Numenta Anomaly Benchmark,
// or one in that format.
type Labelled struct {
	Name    string
	Times   []time.Time
	Values  []float64
	Windows [][2]time.Time // times of the known anomalies
}

const labelledTime = "2006-01-02 15:04:05"

// ReadLabelled reads the CSV files (timestamp,value) of a folder and the labels
// beside them: a JSON object of lists of [from, to], by file.
func ReadLabelled(dir fs.FS, labels string) ([]Labelled, error) {
	raw, err := fs.ReadFile(dir, labels)
	if err != nil {
		return nil, fmt.Errorf("reading the labels: %w", err)
	}
	var windows map[string][][2]string
	if err := json.Unmarshal(text.WithoutBOM(raw), &windows); err != nil {
		return nil, fmt.Errorf("reading the labels %s: %w", labels, err)
	}
	files, err := fs.Glob(dir, "*.csv")
	if err != nil {
		return nil, err
	}
	var list []Labelled
	for _, file := range files {
		s := Labelled{Name: file}
		for _, w := range windows[file] {
			from, err1 := parseLabelled(w[0])
			to, err2 := parseLabelled(w[1])
			if err1 != nil || err2 != nil {
				return nil, fmt.Errorf("reading the labels of %s: %q to %q is no span", file, w[0], w[1])
			}
			s.Windows = append(s.Windows, [2]time.Time{from, to})
		}
		f, err := dir.Open(file)
		if err != nil {
			return nil, fmt.Errorf("reading a series: %w", err)
		}
		err = s.read(f)
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("reading series %s: %w", file, err)
		}
		if err != nil {
			return nil, fmt.Errorf("reading series %s: %w", file, err)
		}
		list = append(list, s)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("reading labelled series: no *.csv beside %s", labels)
	}
	return list, nil
}

func parseLabelled(s string) (time.Time, error) {
	if len(s) > len(labelledTime) {
		s = s[:len(labelledTime)]
	}
	return time.Parse(labelledTime, s)
}

func (s *Labelled) read(r io.Reader) error {
	rows, err := csv.NewReader(text.PassBOM(r)).ReadAll()
	if err != nil {
		return err
	}
	if len(rows) < 2 {
		return fmt.Errorf("expected a header and readings, found %d lines", len(rows))
	}
	for i, row := range rows[1:] {
		at, err1 := parseLabelled(row[0])
		v, err2 := strconv.ParseFloat(row[1], 64)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("line %d: expected a time and a number", i+2)
		}
		s.Times, s.Values = append(s.Times, at), append(s.Values, v)
	}
	return nil
}

// score tells how well a detector did on a series.
type score struct {
	Found  int     // windows in which an alert opened
	Missed int     // windows in which none did
	False  int     // alerts that opened outside of all windows
	Days   float64 // of the series, outside of its windows
	Delay  time.Duration
}

// judge runs rules over the series as the processor would, including learning and baselines, and
// compares the alerts with the labels.
func (s *Labelled) judge(rules []*Rule, window time.Duration) score {
	d := &device{key: deviceKey{device: s.Name}, rules: newRuleSet(rules), loaded: true}
	t := timing{width: window.Microseconds() / closedBuckets, span: window.Microseconds()}
	n := &names{list: map[string]string{}}
	days := map[int64]stats{}
	first, today := s.Times[0], int64(-1)
	var opened []time.Time
	for i, at := range s.Times {
		if day := at.Add(-settle).Unix() / daySeconds; day != today {
			today = day
			if sr := d.find(0, "value", n); sr != nil {
				sr.usual = usualBefore(days, day, first)
			}
		}
		e := &event.Event{Device: s.Name, Metrics: []event.Metric{{Name: "value", Value: s.Values[i]}}}
		r := reading{at: at.UnixMicro(), event: e, where: event.Coordinates{Topic: "series", Offset: int64(i)},
			learning: at.Sub(first) < baselineDays*daySeconds*time.Second}
		out, _, _ := d.observe(&r, "", t, n, nil)
		for _, o := range out {
			if o.Transition == didOpen {
				opened = append(opened, at)
			}
		}
		day := at.Unix() / daySeconds
		sum := days[day]
		sum.merge(stats{n: 1, mean: s.Values[i]})
		days[day] = sum
	}
	return s.score(opened)
}

func usualBefore(days map[int64]stats, day int64, first time.Time) stats {
	var usual stats
	for d := day - baselineDays; d < day; d++ {
		if d*daySeconds >= first.Unix() {
			usual.merge(days[d])
		}
	}
	usual.m2 = usual.stddev()
	return usual
}

func (s *Labelled) score(opened []time.Time) (score score) {
	score.Days = s.Times[len(s.Times)-1].Sub(s.Times[0]).Hours() / 24
	inside := make([]bool, len(opened))
	for _, w := range s.Windows {
		score.Days -= w[1].Sub(w[0]).Hours() / 24
		found := false
		for i, at := range opened {
			if !at.Before(w[0]) && !at.After(w[1]) {
				if inside[i] = true; !found {
					score.Delay += at.Sub(w[0])
				}
				found = true
			}
		}
		if found {
			score.Found++
		} else {
			score.Missed++
		}
	}
	for _, in := range inside {
		if !in {
			score.False++
		}
	}
	return score
}
