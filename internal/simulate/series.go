package simulate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"time"

	"weir/internal/platform/rawjson"
)

// Series is the recorded readings of one sensor, replayed as a device: each value becomes its cpu_temp; its other
// metrics are simulated.
type Series struct {
	Device   string
	Readings []Reading // in order of time
}

// Reading is one line of a series. Value is the number as in the file.
type Reading struct {
	At    time.Time
	Value string
}

// ReadSeries reads CSV lines of timestamp and value, with or without a header.
// Timestamps are RFC 3339, or "2006-01-02 15:04:05" in UTC.
func ReadSeries(device string, from io.Reader) (Series, error) {
	s := Series{Device: device}
	r := csv.NewReader(from)
	r.FieldsPerRecord = 2
	r.ReuseRecord = true
	r.TrimLeadingSpace = true
	for line := 1; ; line++ {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s, fmt.Errorf("reading series %s: %w", device, err)
		}
		at, err := parseReadingTime(record[0])
		if err != nil && line == 1 {
			continue // a header
		}
		if err != nil {
			return s, fmt.Errorf("reading series %s: line %d: %w", device, line, err)
		}
		if end, err := rawjson.Number([]byte(record[1]), 0); err != nil || end != len(record[1]) {
			return s, fmt.Errorf("reading series %s: line %d: %q is no number", device, line, record[1])
		}
		if n := len(s.Readings); n > 0 && at.Before(s.Readings[n-1].At) {
			return s, fmt.Errorf("reading series %s: line %d is earlier than the line before", device, line)
		}
		s.Readings = append(s.Readings, Reading{At: at, Value: string([]byte(record[1]))})
	}
	if len(s.Readings) == 0 {
		return s, fmt.Errorf("reading series %s: no readings", device)
	}
	return s, nil
}

func parseReadingTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.DateTime, s); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339Nano, s)
}

// EndAt shifts the series in time so that its last reading is at end.
func (s Series) EndAt(end time.Time) {
	n := len(s.Readings)
	if n == 0 {
		return
	}
	by := end.Sub(s.Readings[n-1].At)
	for i := range s.Readings {
		s.Readings[i].At = s.Readings[i].At.Add(by)
	}
}

// rate returns the readings a second at the given speed.
func (s Series) rate(speed float64) float64 {
	n := len(s.Readings)
	span := s.Readings[n-1].At.Sub(s.Readings[0].At).Seconds()
	if span <= 0 {
		return float64(n)
	}
	return float64(n) / (span / speed)
}
