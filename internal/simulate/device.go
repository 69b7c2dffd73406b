package simulate

import (
	"math"
	"strconv"
	"time"
)

// reading describes one metric of simulated devices: a base per device, a daily swing and noise, in units of the last
// decimal.
type reading struct {
	name              string // as JSON, with quotes and colon
	low, high         int64  // the range of bases
	swing, noise      int64
	decimals          int
	everyNth, perhaps bool
}

// readings are the metrics that each firmware major reports.
func readings(major string) []reading {
	cpu := reading{name: `"cpu_temp":`, low: 3500, high: 6500, swing: 800, noise: 150, decimals: 2}
	battery := reading{name: `"battery_voltage":`, low: 3300, high: 4100, swing: 60, noise: 20, decimals: 3}
	vibration := reading{name: `"vibration":`, low: 60, high: 550, swing: 30, noise: 30, decimals: 2}
	pressure := reading{name: `"pressure":`, low: 9700, high: 10500, swing: 90, noise: 20, decimals: 2}
	humidity := reading{name: `"humidity":`, low: 300, high: 700, swing: 120, noise: 15, decimals: 1}
	flow := reading{name: `"flow_rate":`, low: 600, high: 5000, swing: 400, noise: 120, decimals: 2}
	fan := reading{name: `"fan_rpm":`, low: 900, high: 2400, swing: 200, noise: 50, everyNth: true} // in no schema
	optional := func(r reading) reading { r.perhaps = true; return r }
	switch major {
	case "1":
		return []reading{cpu, battery, vibration, fan}
	case "2":
		return []reading{cpu, battery, vibration, optional(pressure), optional(humidity), fan}
	default:
		return []reading{cpu, battery, optional(vibration), pressure, humidity, optional(flow), fan}
	}
}

// fanEvery: one device in fanEvery reports a metric that is in no schema.
const fanEvery = 50

// model renders the events of simulated devices. It has no state per device: a device's properties follow from its
// number and the seed.
type model struct {
	seed     uint64
	prefix   string
	mix      []Firmware
	versions []version
	sine     [1024]int16 // one period, scaled to ±1000
}

type version struct {
	header   string // between device_id and timestamp
	readings []reading
}

func newModel(seed uint64, prefix string, mix []Firmware) *model {
	m := &model{seed: seed, prefix: prefix + "-", mix: mix}
	for _, f := range mix {
		m.versions = append(m.versions, versionOf(f))
	}
	for i := range m.sine {
		m.sine[i] = int16(1000 * math.Sin(2*math.Pi*float64(i)/float64(len(m.sine))))
	}
	return m
}

func versionOf(f Firmware) version {
	return version{header: `","device_firmware_version":"` + f.Version + `","timestamp":"`, readings: readings(f.major())}
}

// appendDevice appends the id of simulated device d.
func (m *model) appendDevice(b []byte, d int) []byte {
	b = append(b, m.prefix...)
	for limit := 100_000; limit > d && limit > 1; limit /= 10 {
		b = append(b, '0')
	}
	return strconv.AppendInt(b, int64(d), 10)
}

// appendEvent appends an event of device d, stamped with the rendered time ts
// of instant at. Ids and noise come from r.
func (m *model) appendEvent(b []byte, r *source, d int, ts []byte, at time.Time) []byte {
	self := mix(m.seed ^ uint64(d)*golden)
	v := &m.versions[pick(m.mix, float64(self>>11)/(1<<53))]
	b = append(b, `{"event_id":"`...)
	b = r.appendUUID(b)
	b = append(b, `","device_id":"`...)
	b = m.appendDevice(b, d)
	b = append(b, v.header...)
	b = append(b, ts...)
	b = append(b, `","metrics":{`...)
	b = m.appendReadings(b, r, v.readings, self, at)
	b = append(b, '}')
	if r.next()&7 == 0 { // one event in eight has diagnostics
		b = append(b, `,"diagnostics":{"uptime_s":`...)
		b = appendInt(b, at.Unix()&0xfffff)
		b = append(b, `,"rssi":-`...)
		b = append(appendInt(b, 40+int64(self&63)), '}')
	}
	if self&0x700 == 0 { // some devices send an unknown field
		b = append(b, `,"site":"hall-`...)
		b = append(b, byte('a'+self>>60), '"')
	}
	return append(b, '}')
}

func (m *model) appendReadings(b []byte, r *source, rs []reading, self uint64, at time.Time) []byte {
	day := int(at.Unix()*1024/86400) + int(self>>50)
	first := true
	h := self
	for i := range rs {
		q := &rs[i]
		h = mix(h + golden)
		if q.everyNth && self%fanEvery != 0 {
			continue
		}
		noise := r.next()
		if q.perhaps && noise&7 == 0 {
			continue // an optional metric that is sometimes absent
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		value := q.low + int64(h>>32)*(q.high-q.low)>>32
		value += q.swing * int64(m.sine[(day+i*100)&1023]) / 1000
		value += int64(noise>>32)*(2*q.noise+1)>>32 - q.noise
		b = appendFixed(append(b, q.name...), value, q.decimals)
	}
	return b
}

// appendFixed appends value as a decimal number with the given decimals.
func appendFixed(b []byte, value int64, decimals int) []byte {
	if value < 0 {
		b, value = append(b, '-'), -value
	}
	unit := int64(1)
	for range decimals {
		unit *= 10
	}
	b = appendInt(b, value/unit)
	if decimals == 0 {
		return b
	}
	b = append(b, '.')
	for rest := value % unit; unit > 1; {
		unit /= 10
		b = append(b, byte('0'+rest/unit%10))
	}
	return b
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// clock renders times as devices write them, RFC 3339 in UTC with
// milliseconds. It keeps the minute it rendered last.
type clock struct {
	minute int64
	text   [len(deviceTime)]byte
}

const deviceTime = "2006-01-02T15:04:05.000Z"

// render returns t's text, valid until the next call.
func (c *clock) render(t time.Time) []byte {
	ms := t.UnixMilli()
	if minute := ms / 60_000; minute != c.minute {
		c.minute = minute
		copy(c.text[:], t.UTC().Format(deviceTime))
	}
	rest := ms % 60_000
	sec, milli := rest/1000, rest%1000
	c.text[17], c.text[18] = byte('0'+sec/10), byte('0'+sec%10)
	c.text[20], c.text[21], c.text[22] = byte('0'+milli/100), byte('0'+milli/10%10), byte('0'+milli%10)
	return c.text[:]
}
