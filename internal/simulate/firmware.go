package simulate

import (
	"fmt"
	"strconv"
	"strings"
)

// Firmware is a version that simulated devices run, and its weight among them.
type Firmware struct {
	Version string
	Weight  float64
}

// ParseFirmware reads "1.4.0=20,2.1.0=50,3.0.2=30". A version without a weight
// weighs 1.
func ParseFirmware(s string) ([]Firmware, error) {
	var mix []Firmware
	var total float64
	for item := range strings.SplitSeq(s, ",") {
		version, weight, weighted := strings.Cut(strings.TrimSpace(item), "=")
		f := Firmware{Version: version, Weight: 1}
		if weighted {
			w, err := strconv.ParseFloat(weight, 64)
			if err != nil || !(w >= 0 && w < 1e9) {
				return nil, fmt.Errorf("reading firmware %q: expected VERSION=WEIGHT", item)
			}
			f.Weight = w
		}
		if strings.Count(version, ".") != 2 || strings.ContainsAny(version, "\"\\ ") {
			return nil, fmt.Errorf("reading firmware %q: expected a version such as 2.1.0", item)
		}
		total += f.Weight
		mix = append(mix, f)
	}
	if total == 0 {
		return nil, fmt.Errorf("reading firmware %q: the weights add up to nothing", s)
	}
	return mix, nil
}

// major is the first number of the version.
func (f Firmware) major() string {
	m, _, _ := strings.Cut(f.Version, ".")
	return m
}

// pick returns the firmware that a fraction from 0 to 1 falls on.
func pick(mix []Firmware, fraction float64) int {
	var total float64
	for _, f := range mix {
		total += f.Weight
	}
	at := fraction * total
	for i, f := range mix {
		if at -= f.Weight; at < 0 {
			return i
		}
	}
	return len(mix) - 1
}
