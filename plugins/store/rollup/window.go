package rollup

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Key identifies a window of a device. Bucket is the start of the window in Unix seconds.
type Key struct {
	Fleet  string
	Device string
	Bucket int64
}

// Window is what a batch adds to one minute of one device. It keeps the readings of each event
// apart, because the store decides for each event whether it was counted before.
type Window struct {
	Key
	events []sample
	first  [1]sample // first memory of events: most windows of a batch have one event
}

// sample is one event of a window.
type sample struct {
	id       uint64 // see ledgerID
	at       int64  // Unix microseconds
	replayed bool   // the event was published again by a replay
	received string // when the gate received it, RFC 3339; only erasures use it
	readings []reading
}

type reading struct {
	metric string
	value  float64
}

func minuteOf(t time.Time) int64 {
	s := t.Unix()
	return s - mod(s, 60)
}

func mod(a, b int64) int64 {
	if a %= b; a < 0 {
		a += b
	}
	return a
}

// ledgerID returns the id of an event in ledgers, a hash of its UUID. It is part of the stored
// format and must never change.
func ledgerID(uuid [16]byte) uint64 {
	var hi, lo uint64
	for _, b := range uuid[:8] {
		hi = hi<<8 | uint64(b)
	}
	for _, b := range uuid[8:] {
		lo = lo<<8 | uint64(b)
	}
	return mix(hi ^ mix(lo))
}

// mix is one step of the generator SplitMix64, used as a hash function.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// windowJSON is the JSON form of a window.
type windowJSON struct {
	Fleet  string       `json:"fleet"`
	Device string       `json:"device_id"`
	Bucket time.Time    `json:"bucket"`
	Events []sampleJSON `json:"events"`
}

type sampleJSON struct {
	ID       string             `json:"id"`
	At       time.Time          `json:"at"`
	Replayed bool               `json:"replayed,omitempty"`
	Received string             `json:"received_at,omitempty"`
	Metrics  map[string]float64 `json:"metrics"`
}

// MarshalJSON is for people, tests and other processes. From the processor to the output of the
// same process, a window stays a Go value.
func (w *Window) MarshalJSON() ([]byte, error) {
	out := windowJSON{Fleet: w.Fleet, Device: w.Device, Bucket: time.Unix(w.Bucket, 0).UTC(),
		Events: make([]sampleJSON, len(w.events))}
	for i, e := range w.events {
		metrics := make(map[string]float64, len(e.readings))
		for _, r := range e.readings {
			metrics[r.metric] = r.value
		}
		out.Events[i] = sampleJSON{ID: fmt.Sprintf("%016x", e.id), At: time.UnixMicro(e.at).UTC(), Replayed: e.replayed,
			Received: e.received, Metrics: metrics}
	}
	return json.Marshal(out)
}

// UnmarshalJSON decodes what MarshalJSON returns.
func (w *Window) UnmarshalJSON(raw []byte) error {
	var in windowJSON
	if err := json.Unmarshal(raw, &in); err != nil {
		return fmt.Errorf("reading a window: %w", err)
	}
	*w = Window{Key: Key{in.Fleet, in.Device, in.Bucket.Unix()}}
	if w.Fleet == "" || w.Device == "" || mod(w.Bucket, 60) != 0 {
		return fmt.Errorf("reading a window: expected a fleet, a device_id and a bucket that is a whole minute")
	}
	for _, e := range in.Events {
		id, err := strconv.ParseUint(e.ID, 16, 64)
		if err != nil {
			return fmt.Errorf("reading a window: event id %q is not hexadecimal", e.ID)
		}
		if minuteOf(e.At) != w.Bucket {
			return fmt.Errorf("reading a window: event %s is outside the window", e.ID)
		}
		s := sample{id: id, at: e.At.UnixMicro(), replayed: e.Replayed, received: e.Received}
		for name, v := range e.Metrics {
			s.readings = append(s.readings, reading{name, v})
		}
		w.events = append(w.events, s)
	}
	return nil
}
