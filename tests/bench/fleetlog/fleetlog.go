// Package fleetlog generates the events with which the rules of weir and of its peers are measured: devices that
// report one after another, 100,000 events a second by their timestamps. The same number generates the same event.
package fleetlog

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Event is one report of a device.
type Event struct {
	Number                   int
	Device                   int
	At                       time.Time
	Temp, Battery, Vibration float64
	Command, Done            bool // one in a hundred each
}

// Log generates events. It is not safe for concurrent use.
type Log struct {
	r       *rand.Rand
	devices int
	n       int
	begin   time.Time
}

// New returns a log of the given number of devices.
func New(devices int) *Log {
	return &Log{r: rand.New(rand.NewPCG(1, 6)), devices: devices, begin: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
}

// Next returns the next event.
func (l *Log) Next() Event {
	e := Event{Number: l.n, Device: l.n % l.devices, At: l.begin.Add(time.Duration(l.n) * 10 * time.Microsecond),
		Temp: round(50+l.r.NormFloat64()*8, 10), Battery: round(3.2+l.r.Float64(), 100),
		Vibration: round(l.r.Float64(), 1000)}
	switch l.r.IntN(100) {
	case 0:
		e.Command = true
	case 1:
		e.Done = true
	}
	l.n++
	return e
}

func round(v, unit float64) float64 { return math.Round(v*unit) / unit }

// JSON returns the event as a device sends it.
func (e *Event) JSON() []byte {
	more := ""
	switch {
	case e.Command:
		more = `,"command":"restart"`
	case e.Done:
		more = `,"done":"restart"`
	}
	return fmt.Appendf(nil, `{"event_id":"%08x-5d0e-4c3a-9f1e-%012x","device_id":"pump-%07d","device_firmware_version":"2.1.0",`+
		`"timestamp":%q,"metrics":{"cpu_temp":%g,"battery_voltage":%g,"vibration":%g,"pressure":101.3},`+
		`"diagnostics":{"uptime":12345,"errors":[],"network":{"rssi":-67,"ssid":"plant"}%s}}`, uint32(e.Number)*2654435761,
		e.Number, e.Device, e.At.Format("2006-01-02T15:04:05.000000Z07:00"), e.Temp, e.Battery, e.Vibration, more)
}

// AppendBinary appends the event in the format that the peers read, big-endian: device (4 bytes), µs since 1970 (8),
// three doubles.
func (e *Event) AppendBinary(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(e.Device))
	b = binary.BigEndian.AppendUint64(b, uint64(e.At.UnixMicro()))
	for _, v := range [...]float64{e.Temp, e.Battery, e.Vibration} {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}
