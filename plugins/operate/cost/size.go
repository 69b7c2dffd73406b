package cost

import "math"

// Measured sizes, in bytes. The tests TestCost in plugins/store/raw and plugins/store/rollup, which
// let the stores write a month, check them.
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

// recordBytes returns the size of an event in the log.
func (l Load) recordBytes() float64 {
	n := l.EventBytes + recordExtra
	if l.Compressed {
		n *= zstdShare(l.batched())
	}
	return n
}

// partitions of the topic of events, as `weir topics create` makes it.
const partitions = 30

// batched returns the number of records in a batch of the log: those that come to a gate for one
// partition while the first one waits.
func (l Load) batched() float64 {
	return 1 + l.PerSecond()/l.Gates/partitions*l.Linger.Seconds()
}

// zstdShare returns the share that zstd leaves of a batch of n records with its header: most of a
// single record, which repeats nothing, and a seventh of many.
func zstdShare(n float64) float64 { return 0.15 + 0.64*math.Pow(n, -0.85) }

// zstdCPU returns the microseconds of a core for compressing a record and for decompressing it in
// each group: 4.4 and 1.8 for a single record, 1.1 and 0.4 in batches of ten.
func zstdCPU(n, groups float64) float64 { return (4.4 + 1.8*groups) * math.Pow(n, -0.65) }

// RawBytes returns the size of an event in the raw store, in objects of perObject events.
func (l Load) RawBytes(perObject float64) float64 {
	rest := max(0, l.EventBytes-l.Sent())
	return rawEvent + rawMetric*l.Metrics + rawShare*rest + rawObject/perObject
}

// oldMinuteBytes returns the size of a device's minute in Parquet.
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

// detail returns the size of the part of a row that only weir reads: sums, and a sketch of each
// metric.
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

// RowBytes returns the size of a window in SQL, with its share of pages and indexes.
func (l Load) RowBytes(w width) float64 {
	if l.SQLite {
		return l.sqliteRow(w)
	}
	return l.postgresRow(w)
}

const page = 8192 // of PostgreSQL; SQLite's are half of it

// sqliteRow returns the size of a row in pages of 4,096 bytes. What does not fit in one is in pages
// of its own.
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

// postgresRow returns the size of a row in pages of 8,192 bytes, half of which is left free for its
// next versions. A row above 2,032 bytes is compressed, and what is still too long is in a table of
// its own (TOAST).
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
			break // only names are left: no device has so many metrics
		}
		apart += toast(*long)
		*long = pointer
	}
	return page/max(1, math.Floor((page-head-free)/(row()+4))) + apart + postgresKeys
}

const pointer = 18 // to a value in the TOAST table

// toast returns the size of a value in chunks, at most five to a page, with their index. Old
// versions leave a tenth of it free.
func toast(n float64) float64 {
	const chunk, spare = 1996, 1.1
	whole := math.Floor(n / chunk)
	last := n - whole*chunk
	return (whole*page/4 + page/math.Floor((page-24)/(aligned(last+36, 8)+4)) + 20*(whole+1)) * spare
}

func aligned(n, to float64) float64 { return math.Ceil(n/to) * to }
