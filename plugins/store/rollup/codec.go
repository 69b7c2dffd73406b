package rollup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"weir/internal/platform/sketch"
)

// The columns of a stored row; FORMAT.md documents them.

// stride is how many numbers `stats` holds per metric: count, sum, min, max, m2, p50, p95,
// last, and last_offset, in microseconds from the bucket's start.
const stride = 9

// detailVersion is the first byte of the `detail` blob.
const detailVersion = 1

var errCorrupt = errors.New("the row is damaged or of a newer format")

// appendStats appends the numbers that SQL reads.
func (r *windowRow) appendStats(b []float64) []float64 {
	for _, m := range r.Metrics {
		b = append(b, float64(m.Count), m.Sum.Hi, m.Min, m.Max, m.m2(),
			m.quantile(0.50), m.quantile(0.95), m.Last, float64(m.LastAt-r.Bucket*1e6))
	}
	return b
}

// appendDetail appends what only weir reads: of each metric the low half of the sum, the sum
// of squares, and the sketch.
func (r *windowRow) appendDetail(b []byte) []byte {
	b = append(b, detailVersion)
	for _, m := range r.Metrics {
		for _, f := range [...]float64{m.Sum.Lo, m.Squares.Hi, m.Squares.Lo} {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
		}
		b = m.Sketch.Append(b)
	}
	return b
}

func (r *windowRow) appendLedger(b []byte) []byte {
	for _, id := range r.Ledger {
		b = binary.LittleEndian.AppendUint64(b, id)
	}
	return b
}

// decode restores a row from its columns.
func (r *windowRow) decode(names []string, stats []float64, detail, ledger []byte) error {
	if len(stats) != stride*len(names) || len(detail) == 0 || detail[0] != detailVersion || len(ledger)%8 != 0 {
		return fmt.Errorf("reading window %d of device %s: %w", r.Bucket, r.Device, errCorrupt)
	}
	d := decoder{b: detail[1:]}
	metrics := make([]metricRow, len(names))
	r.Metrics = make([]*metricRow, len(names))
	for i, name := range names {
		m, s := &metrics[i], stats[i*stride:]
		*m = metricRow{
			Name: name, Count: int64(s[0]), Sum: sketch.Exact{Hi: s[1], Lo: d.float()},
			Squares: sketch.Exact{Hi: d.float(), Lo: d.float()},
			Min:     s[2], Max: s[3], Last: s[7], LastAt: r.Bucket*1e6 + int64(s[8]), Sketch: d.sketch(),
		}
		if m.Sketch.Count() != uint64(m.Count) {
			d.bad = true
		}
		r.Metrics[i] = m
	}
	if d.bad || len(d.b) > 0 || !slices.IsSorted(names) {
		return fmt.Errorf("reading window %d of device %s: %w", r.Bucket, r.Device, errCorrupt)
	}
	r.Ledger = make([]uint64, len(ledger)/8, len(ledger)/8+4)
	for i := range r.Ledger {
		r.Ledger[i] = binary.LittleEndian.Uint64(ledger[i*8:])
	}
	return nil
}

// decoder reads binary data. Instead of reading past the end it sets bad.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) float() float64 { return math.Float64frombits(d.uint64()) }

func (d *decoder) uint64() uint64 {
	if len(d.b) < 8 {
		d.bad = true
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad = true
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) sketch() sketch.Sketch {
	s, rest, ok := sketch.Decode(d.b)
	if !ok {
		d.bad = true
		return nil
	}
	d.b = rest
	return s
}
