package cost

import "math"

// What was measured, in bytes. The tests that write a month by the stores' own
// writers hold it: plugins/store/raw and plugins/store/rollup, TestCost.
const (
	envelope     = 164  // an event of JSON without metrics: ids, firmware, timestamp
	metricText   = 9    // of a metric in JSON, beside its name: quotes, colon, comma, five digits
	recordExtra  = 118  // headers of a record of the log
	rawEvent     = 28.4 // id, times, coordinates, bloom filters
	rawMetric    = 3.75 // a reading with two decimals
	rawShare     = 0.26 // of everything else, as zstd leaves it
	rawObject    = 5000 // footer and dictionaries of an object
	oldMetric    = 40   // a metric of a minute in Parquet; a row each
	deadLetter   = 300  // assumed, not measured
	sqliteIndex  = 54   // a row's entries in two indexes
	sqliteStats  = 85   // nine numbers as text
	sqliteFixed  = 40   // key, times, header of a row
	postgresKeys = 125  // a row's entries in two indexes, once its ledger is dropped
	claimBytes   = 170  // an id in Redis
)

// Bins of a metric's sketch in a window: readings that move slowly.
const (
	binsMinute = 3
	binsHour   = 6
	binsDay    = 20
)

// recordBytes is an event in the log.
func (l Load) recordBytes() float64 {
	n := l.EventBytes + recordExtra
	if l.Compressed {
		n *= zstdShare(l.batched())
	}
	return n
}

// partitions of the topic of events, as `weir topics create` makes it.
const partitions = 30

// batched is how many records a batch of the log has: those that come to a gate for
// one partition while the first of them waits for others.
func (l Load) batched() float64 {
	return 1 + l.PerSecond()/l.Gates/partitions*l.Linger.Seconds()
}

// zstdShare is what zstd leaves of a batch of n records with its head: of one alone
// most, since it repeats nothing, and of many a seventh.
func zstdShare(n float64) float64 { return 0.15 + 0.64*math.Pow(n, -0.85) }

// zstdCPU is how many microseconds of a core compressing a record takes, and
// reading it by each group: 4.4 and 1.8 alone, 1.1 and 0.4 in batches of ten.
func zstdCPU(n, groups float64) float64 { return (4.4 + 1.8*groups) * math.Pow(n, -0.65) }

// RawBytes is an event in the raw store, in objects of so many.
func (l Load) RawBytes(perObject float64) float64 {
	rest := max(0, l.EventBytes-l.Sent())
	return rawEvent + rawMetric*l.Metrics + rawShare*rest + rawObject/perObject
}

// oldMinuteBytes is a minute of a device in Parquet.
func (l Load) oldMinuteBytes() float64 { return oldMetric * max(1, l.Metrics) }

// width of a window, in seconds.
type width float64

// The windows.
const (
	Minute width = 60
	Hour   width = 3600
	Day    width = 86400
)

func (w width) bins() float64 {
	switch w {
	case Hour:
		return binsHour
	case Day:
		return binsDay
	}
	return binsMinute
}

// detail is what only weir reads of a row: sums, and a sketch of each metric.
func (l Load) detail(w width) float64 {
	bins := min(l.perWindow(float64(w)), w.bins())
	return 1 + l.Metrics*(24+1+4+2*(bins-1))
}

func (l Load) ledger(w width) float64 {
	if w != Minute {
		return 0
	}
	return 8 * l.perWindow(float64(w))
}

// RowBytes is a window in SQL with its share of pages and indexes.
func (l Load) RowBytes(w width) float64 {
	if l.SQLite {
		return l.sqliteRow(w)
	}
	return l.postgresRow(w)
}

const page = 8192 // of PostgreSQL; SQLite's are half of it

// sqliteRow is a row in pages of 4,096 bytes; what does not fit in one lies in
// pages of its own.
func (l Load) sqliteRow(w width) float64 {
	const size, usable, most = page / 2, page/2 - 8, page/2 - 35
	local, overflow := sqliteFixed+l.Metrics*(l.NameBytes+3+sqliteStats)+l.detail(w)+l.ledger(w), 0.0
	if local > most {
		least := math.Floor(float64((size-12)*32/255 - 23))
		spill := size - 4.0
		stay := least + math.Mod(local-least, spill)
		if stay > most {
			stay = least
		}
		overflow = math.Ceil((local-stay)/spill) * size
		local = stay
	}
	return size/math.Floor(usable/(local+8)) + overflow + sqliteIndex
}

// postgresRow is a row in pages of 8,192 bytes, half of which is left free for its
// next versions. A row above 2,032 bytes is compressed, and what is still too
// long lies in a table of its own (TOAST).
func (l Load) postgresRow(w width) float64 {
	const most, free, head = 2032, page / 2, 24
	names := head + l.Metrics*aligned(4+l.NameBytes, 4)
	stats := head + 72*l.Metrics
	detail := l.detail(w) + 4
	rest := aligned(head+5+13, 8) + 16 + l.ledger(w)
	if w == Minute {
		rest += 18
	}
	row := func() float64 { return aligned(rest+names+stats+detail, 8) }
	const statsShare, namesShare = 0.53, 0.3 // as pglz leaves them
	if row() > most {
		stats *= statsShare
	}
	if row() > most && names > detail*namesShare {
		names *= namesShare
	}
	apart := 0.0
	for row() > most {
		long := &stats
		if detail > *long {
			long = &detail
		}
		if *long <= pointer {
			break // names alone: nobody has so many metrics
		}
		apart += toast(*long)
		*long = pointer
	}
	return page/max(1, math.Floor((page-head-free)/(row()+4))) + apart + postgresKeys
}

const pointer = 18 // to what lies apart

// toast is a value in chunks, five to a page at most, with their index. Versions
// that are not there any more leave a tenth of it free.
func toast(n float64) float64 {
	const chunk, spare = 1996, 1.1
	whole := math.Floor(n / chunk)
	last := n - whole*chunk
	return (whole*page/4 + page/math.Floor((page-24)/(aligned(last+36, 8)+4)) + 20*(whole+1)) * spare
}

func aligned(n, to float64) float64 { return math.Ceil(n/to) * to }
