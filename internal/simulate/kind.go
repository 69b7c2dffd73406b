package simulate

import "fmt"

// Kind is what an event was generated as.
type Kind string

// The kinds. All but malformed ones must be accepted; a duplicate must then be counted once.
const (
	kindValid      Kind = "valid"
	kindDuplicate  Kind = "duplicate"   // an earlier event of this connection, byte for byte
	kindMalformed  Kind = "malformed"   // JSON, but valid by no schema
	kindLate       Kind = "late"        // stamped 15 minutes to 26 hours ago
	kindClockAhead Kind = "clock_ahead" // stamped 6 minutes to 400 days ahead
)

// allKinds lists the kinds in the order of reports.
func allKinds() []Kind {
	return []Kind{kindValid, kindDuplicate, kindMalformed, kindLate, kindClockAhead}
}

// Shares are the fractions, from 0 to 1, of simulated events that are not valid ones.
type Shares struct {
	Duplicates, Malformed, Late, ClockAhead float64
}

func (s Shares) check() error {
	sum := 0.0
	for _, v := range []float64{s.Duplicates, s.Malformed, s.Late, s.ClockAhead} {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("a share of %g %%: expected 0 to 100", v*100)
		}
		sum += v
	}
	if sum > 1 {
		return fmt.Errorf("shares of %g %% in all: expected at most 100", sum*100)
	}
	return nil
}

// kind draws the kind of the next event.
func (s Shares) kind(r *source) Kind {
	if s == (Shares{}) {
		return kindValid
	}
	at := float64(r.next()>>11) / (1 << 53)
	if at -= s.Duplicates; at < 0 {
		return kindDuplicate
	}
	if at -= s.Malformed; at < 0 {
		return kindMalformed
	}
	if at -= s.Late; at < 0 {
		return kindLate
	}
	if at -= s.ClockAhead; at < 0 {
		return kindClockAhead
	}
	return kindValid
}

// appendMalformed appends an event that must be rejected. It is JSON, so that a batch can still be split, and
// contains its sequence number, so that its dead letter can be found by its bytes.
func appendMalformed(b []byte, r *source, device []byte, at []byte, seq int64) []byte {
	id := func(b []byte) []byte { return append(r.appendUUID(append(b, `{"event_id":"`...)), '"') }
	field := func(b []byte, name string, value []byte) []byte {
		b = append(append(b, `,"`...), name...)
		b = append(append(b, `":"`...), value...)
		return append(b, '"')
	}
	number := func(b []byte) []byte {
		b = append(b, `,"diagnostics":{"seq":`...)
		return append(appendInt(b, seq), '}', '}')
	}
	const good = `,"metrics":{"cpu_temp":41.5,"battery_voltage":3.7,"vibration":1.2}`
	switch r.below(8) {
	case 0: // no device
		b = append(field(field(id(b), "device_firmware_version", []byte("2.1.0")), "timestamp", at), good...)
	case 1: // no metrics
		b = field(field(field(id(b), "device_id", device), "device_firmware_version", []byte("2.1.0")), "timestamp", at)
	case 2: // event_id is not a UUID
		b = append(b, `{"event_id":"event-`...)
		b = append(appendInt(b, seq), '"')
		b = append(field(field(field(b, "device_id", device), "device_firmware_version", []byte("1.4.0")), "timestamp", at),
			good...)
	case 3: // a time without a zone
		b = append(field(field(field(id(b), "device_id", device), "device_firmware_version", []byte("2.1.0")), "timestamp",
			at[:len(at)-1]), good...)
	case 4: // a reading that is a string
		b = field(field(field(id(b), "device_id", device), "device_firmware_version", []byte("2.1.0")), "timestamp", at)
		b = append(b, `,"metrics":{"cpu_temp":"hot","battery_voltage":3.7,"vibration":1.2}`...)
	case 5: // a required reading is missing
		b = field(field(field(id(b), "device_id", device), "device_firmware_version", []byte("1.4.0")), "timestamp", at)
		b = append(b, `,"metrics":{"cpu_temp":41.5}`...)
	case 6: // an unknown firmware version
		b = append(field(field(field(id(b), "device_id", device), "device_firmware_version", []byte("99.0.0")), "timestamp",
			at), good...)
	case 7: // an invalid device_id
		b = append(field(field(field(id(b), "device_id", []byte("pump 7/left")), "device_firmware_version", []byte("2.1.0")),
			"timestamp", at), good...)
	}
	return number(b)
}
