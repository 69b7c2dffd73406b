package rollup

import (
	"encoding/binary"
	"math"
	"time"
)

// copyWriter encodes rows in PostgreSQL's binary COPY format, in which neither side converts
// numbers to or from text.
type copyWriter struct {
	b     []byte
	stats []float64
}

// Object ids of PostgreSQL's types.
const (
	oidText   = 25
	oidFloat8 = 701
)

// postgresEpoch is 2000-01-01 in Unix microseconds.
const postgresEpoch = 946_684_800 * 1e6

func (w *copyWriter) begin() {
	w.b = append(w.b[:0], "PGCOPY\n\xff\r\n\x00"...)
	w.b = append(w.b, 0, 0, 0, 0, 0, 0, 0, 0)
}

func (w *copyWriter) end() { w.b = append(w.b, 0xff, 0xff) }

func (w *copyWriter) row(columns int) { w.b = binary.BigEndian.AppendUint16(w.b, uint16(columns)) }

func (w *copyWriter) text(s string) {
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(len(s)))
	w.b = append(w.b, s...)
}

func (w *copyWriter) int2(v int16) {
	w.b = append(w.b, 0, 0, 0, 2)
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(v))
}

func (w *copyWriter) int8(v int64) {
	w.b = append(w.b, 0, 0, 0, 8)
	w.b = binary.BigEndian.AppendUint64(w.b, uint64(v))
}

func (w *copyWriter) time(seconds int64) { w.int8(seconds*1e6 - postgresEpoch) }

// sized appends what fill appends, after its length.
func (w *copyWriter) sized(fill func([]byte) []byte) {
	at := len(w.b)
	w.b = fill(append(w.b, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(w.b[at:], uint32(len(w.b)-at-4))
}

func (w *copyWriter) array(elem uint32, n int, fill func([]byte) []byte) {
	w.sized(func(b []byte) []byte {
		for _, v := range [...]uint32{1, 0, elem, uint32(n), 1} { // dimensions, no nulls, type, length, lower bound
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return fill(b)
	})
}

func (w *copyWriter) null() { w.b = binary.BigEndian.AppendUint32(w.b, math.MaxUint32) }

// metrics appends the columns metrics, stats and detail.
func (w *copyWriter) metrics(r *windowRow) {
	w.names(r)
	w.rest(r)
}

func (w *copyWriter) names(r *windowRow) {
	w.array(oidText, len(r.Metrics), func(b []byte) []byte {
		for _, m := range r.Metrics {
			b = binary.BigEndian.AppendUint32(b, uint32(len(m.Name)))
			b = append(b, m.Name...)
		}
		return b
	})
}

func (w *copyWriter) rest(r *windowRow) {
	w.stats = r.appendStats(w.stats[:0])
	w.array(oidFloat8, len(w.stats), func(b []byte) []byte {
		for _, v := range w.stats {
			b = append(b, 0, 0, 0, 8)
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(v))
		}
		return b
	})
	w.sized(r.appendDetail)
}

// coarse appends a row of hours or days.
func (w *copyWriter) coarse(r *windowRow, now time.Time) {
	w.row(7)
	w.key(r, now)
	w.metrics(r)
}

// minutes encodes the wanted rows, as a whole COPY stream, and returns how many they are.
func (w *copyWriter) minutes(rows []*windowRow, now time.Time, wanted func(*windowRow) bool) (n int) {
	w.begin()
	for _, r := range rows {
		if wanted(r) {
			w.minute(r, now)
			n++
		}
	}
	w.end()
	return n
}

// minute appends a row of minutes.
func (w *copyWriter) minute(r *windowRow, now time.Time) {
	w.row(10)
	w.key(r, now)
	if r.named > 0 && r.named == len(r.Metrics) { // null: unchanged, because the metrics of a row only grow
		w.null()
	} else {
		w.names(r)
		r.named = len(r.Metrics)
	}
	w.rest(r)
	w.int8(r.Version)
	w.int2(int16(r.State))
	w.sized(r.appendLedger)
}

func (w *copyWriter) key(r *windowRow, now time.Time) {
	w.text(r.Fleet)
	w.text(r.Device)
	w.time(r.Bucket)
	w.time(now.Unix())
}
