package anomaly

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"weir/internal/platform/conf"
	"weir/internal/platform/firmware"
)

// Detector is the kind of a rule.
type Detector string

// The detectors.
const (
	byThreshold Detector = "threshold" // the reading against fixed limits
	byZScore    Detector = "zscore"    // against the device's last hour
	byBaseline  Detector = "baseline"  // against the device's last seven days
)

// Direction tells on which side a reading must be off.
type Direction string

// The directions.
const (
	offBoth Direction = "both"
	offUp   Direction = "up"
	offDown Direction = "down"
)

// severities returns the severities, the lowest first.
func severities() []string { return []string{"info", "warning", "critical"} }

// Rule tells which readings of which series are anomalies. configs/anomaly.yaml explains every
// field.
type Rule struct {
	Name     string   `yaml:"name"`
	Detector Detector `yaml:"detector"`
	Severity string   `yaml:"severity"`
	Summary  string   `yaml:"summary"`

	Metrics  []string `yaml:"metrics"`  // globs
	Fleets   []string `yaml:"fleets"`   // globs
	Devices  []string `yaml:"devices"`  // globs: a device's type is in its name
	Firmware string   `yaml:"firmware"` // a range such as ">=2.0.0 <3"

	Min        *float64 `yaml:"min"`
	Max        *float64 `yaml:"max"`
	Hysteresis float64  `yaml:"hysteresis"`

	Score     float64   `yaml:"score"`
	Clear     float64   `yaml:"clear"`
	AtOnce    float64   `yaml:"at_once"`
	Direction Direction `yaml:"direction"`
	Samples   uint32    `yaml:"min_samples"`
	Absolute  float64   `yaml:"min_stddev"`
	Relative  *float64  `yaml:"min_stddev_relative"`

	Confirm  uint32   `yaml:"confirm"`
	For      Duration `yaml:"for"`
	ClearFor Duration `yaml:"clear_for"`

	firmware firmware.Range // nil: any, also a text that is no version
	floors   floors
}

// Duration is a duration that is written like 90s or 1h.
type Duration time.Duration

// UnmarshalYAML reads a duration.
func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	v, err := time.ParseDuration(node.Value)
	if err != nil || v < 0 {
		return fmt.Errorf("line %d: %q is no duration such as 90s or 5m", node.Line, node.Value)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) micros() int64 { return time.Duration(d).Microseconds() }

// ParseRules parses a rules file. The error names the rule and what is wrong with it; of an invalid
// file no rule is used.
func ParseRules(raw []byte) ([]*Rule, error) {
	var file struct {
		Rules []*Rule `yaml:"rules"`
	}
	if err := conf.YAML(raw, &file); err != nil && !errors.Is(err, conf.ErrEmpty) {
		return nil, fmt.Errorf("parsing rules: %w", err)
	}
	names := map[string]bool{}
	for i, r := range file.Rules {
		if r == nil {
			return nil, fmt.Errorf("parsing rules: rule %d is empty", i+1)
		}
		if names[r.Name] {
			return nil, fmt.Errorf("parsing rules: two rules are called %q", r.Name)
		}
		names[r.Name] = true
		if err := r.complete(); err != nil {
			return nil, fmt.Errorf("parsing rules: rule %d (%q): %w", i+1, r.Name, err)
		}
	}
	return file.Rules, nil
}

// complete checks a rule and sets its defaults.
func (r *Rule) complete() (err error) {
	if ok, _ := regexp.MatchString(`^[a-z][a-z0-9_]{0,63}$`, r.Name); !ok {
		return errors.New("name must be a lower-case letter and up to 63 letters, digits or '_'")
	}
	if r.Severity == "" {
		r.Severity = "warning"
	}
	if !contains(severities(), r.Severity) {
		return fmt.Errorf("severity %q is not one of %v", r.Severity, severities())
	}
	if len(r.Metrics) == 0 {
		return errors.New(`metrics is missing: names or globs, ["*"] for all`)
	}
	for _, globs := range [][]string{r.Metrics, r.Fleets, r.Devices} {
		for _, g := range globs {
			if _, err := path.Match(g, ""); err != nil {
				return fmt.Errorf("%q is no glob: %w", g, err)
			}
		}
	}
	if strings.TrimSpace(r.Firmware) != "" {
		if r.firmware, err = firmware.ParseRange(r.Firmware); err != nil {
			return err
		}
	}
	switch r.Detector {
	case byThreshold:
		return r.completeThreshold()
	case byZScore, byBaseline:
		return r.completeScore()
	}
	return fmt.Errorf("detector %q is not one of threshold, zscore, baseline", r.Detector)
}

func (r *Rule) completeThreshold() error {
	if r.Min == nil && r.Max == nil {
		return errors.New("a threshold needs min, max or both")
	}
	if r.Hysteresis < 0 {
		return errors.New("hysteresis must not be negative")
	}
	if r.Min != nil && r.Max != nil && *r.Min+r.Hysteresis > *r.Max-r.Hysteresis {
		return errors.New("between min and max, no room is left by the hysteresis")
	}
	if r.Score != 0 || r.Clear != 0 || r.AtOnce != 0 || r.Direction != "" || r.Samples != 0 || r.Absolute != 0 ||
		r.Relative != nil {
		return errors.New("score, clear, at_once, direction, min_samples and min_stddev are not of a threshold")
	}
	r.Confirm = max(1, r.Confirm)
	return nil
}

func (r *Rule) completeScore() error {
	if r.Min != nil || r.Max != nil || r.Hysteresis != 0 {
		return errors.New("min, max and hysteresis are of a threshold only")
	}
	defaultTo(&r.Score, 3)
	defaultTo(&r.Clear, r.Score*2/3)
	defaultTo(&r.AtOnce, r.Score*2)
	defaultTo(&r.Confirm, 3)
	defaultTo(&r.Direction, offBoth)
	if r.Detector == byZScore {
		defaultTo(&r.Samples, 10)
	} else {
		defaultTo(&r.Samples, 100)
	}
	switch {
	case r.Score <= 0 || r.Clear < 0 || r.Clear > r.Score || r.AtOnce < r.Score:
		return errors.New("expected 0 <= clear <= score <= at_once")
	case r.Samples < 3:
		return errors.New("min_samples must be 3 at least")
	case r.Direction != offBoth && r.Direction != offUp && r.Direction != offDown:
		return fmt.Errorf("direction %q is not one of both, up, down", r.Direction)
	case r.Absolute < 0 || r.Relative != nil && *r.Relative < 0:
		return errors.New("min_stddev and min_stddev_relative must not be negative")
	}
	r.floors = floors{Absolute: r.Absolute, Relative: 0.001}
	if r.Relative != nil {
		r.floors.Relative = *r.Relative
	}
	return nil
}

func defaultTo[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// takes tells whether the rule applies to a series.
func (r *Rule) takes(fleet, device, version, metric string) bool {
	return matchAny(r.Metrics, metric) && (len(r.Fleets) == 0 || matchAny(r.Fleets, fleet)) &&
		(len(r.Devices) == 0 || matchAny(r.Devices, device)) && (r.firmware == nil || r.firmware.ContainsText(version))
}

// matchAny tells whether a name matches one of the globs, which are valid. A name with a slash,
// which path.Match treats specially, is only matched literally.
func matchAny(globs []string, name string) bool {
	for _, g := range globs {
		if g == "*" || g == name {
			return true
		}
		if ok, err := path.Match(g, name); ok && err == nil {
			return true
		}
	}
	return false
}
