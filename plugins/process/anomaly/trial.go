package anomaly

import (
	"fmt"
	"io"
	"math"
	"time"
)

// Trial is a set of rules to try on labelled series.
type Trial struct {
	Name   string
	Window time.Duration
	Rules  func(*Labelled) []*Rule
}

// Trials returns the detectors with their defaults, each alone and all together. The limits are
// those that a person who knew the first tenth of a series would set: its range, widened by a
// quarter on either side.
func Trials(window time.Duration) ([]Trial, error) {
	scored := func(d Detector) (*Rule, error) {
		r := &Rule{Name: string(d), Detector: d, Metrics: []string{"*"}, ClearFor: Duration(window)}
		return r, r.complete()
	}
	z, err := scored(byZScore)
	if err != nil {
		return nil, err
	}
	b, err := scored(byBaseline)
	if err != nil {
		return nil, err
	}
	return []Trial{
		{"threshold", window, func(s *Labelled) []*Rule { return []*Rule{limits(s, window)} }},
		{"zscore " + short(window), window, func(*Labelled) []*Rule { return []*Rule{z} }},
		{"zscore " + short(24*window), 24 * window, func(*Labelled) []*Rule { return []*Rule{z} }},
		{"baseline", window, func(*Labelled) []*Rule { return []*Rule{b} }},
		{"all three", window, func(s *Labelled) []*Rule { return []*Rule{limits(s, window), z, b} }},
	}, nil
}

func short(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}

func limits(s *Labelled, window time.Duration) *Rule {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range s.Values[:max(1, len(s.Values)/10)] {
		lo, hi = min(lo, v), max(hi, v)
	}
	room := (hi - lo) / 4
	lo, hi = lo-room, hi+room
	return &Rule{Name: "threshold", Detector: byThreshold, Metrics: []string{"*"}, Min: &lo, Max: &hi, Confirm: 1,
		Hysteresis: room / 4, ClearFor: Duration(window)}
}

// TrialsOf returns a trial of each rule of a file alone, on any metric.
func TrialsOf(rules []*Rule, window time.Duration) []Trial {
	var list []Trial
	for _, r := range rules {
		r.Metrics, r.Fleets, r.Devices, r.Firmware, r.firmware = []string{"*"}, nil, nil, "", nil
		list = append(list, Trial{r.Name, window, func(*Labelled) []*Rule { return []*Rule{r} }})
	}
	return list
}

// WriteTrials runs the trials on the series and writes the results as a Markdown table.
func WriteTrials(w io.Writer, trials []Trial, series []Labelled) error {
	text := "| detector | series | found | missed | false alarms | a day | mean delay " +
		"|\n|---|---|---:|---:|---:|---:|---:|\n"
	for _, t := range trials {
		var sum score
		for i := range series {
			score := series[i].judge(t.Rules(&series[i]), t.Window)
			text += row(t.Name, series[i].Name, score)
			sum.Found, sum.Missed, sum.False = sum.Found+score.Found, sum.Missed+score.Missed, sum.False+score.False
			sum.Days, sum.Delay = sum.Days+score.Days, sum.Delay+score.Delay
		}
		text += row("**"+t.Name+"**", "**all**", sum)
	}
	_, err := io.WriteString(w, text)
	return err
}

func row(trial, series string, s score) string {
	delay := "-"
	if s.Found > 0 {
		delay = (s.Delay / time.Duration(s.Found)).Round(time.Minute).String()
		delay = delay[:len(delay)-2] // without the seconds
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %.2f | %s |\n", trial, series, s.Found, s.Missed, s.False,
		float64(s.False)/s.Days, delay)
}
