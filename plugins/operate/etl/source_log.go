package etl

import (
	"context"
	"time"
)

// logSource is a source that a stream can follow.
type logSource interface {
	source
	// dial connects, and asks for what is needed before begin.
	dial(ctx context.Context) (following, error)
}

// following is an open log that is read without an end. It is for one goroutine.
type following interface {
	id() string // of the log: one that was made again under the same name has another
	columns() []column
	describe() string
	// begin goes to the position of the sink that is furthest behind, or to the start if a sink has
	// none. It is an error if the log no longer has everything after it. earlier tells that rows
	// may still have the columns of before the last change of columns.
	begin(ctx context.Context, sinks []marks, earlier bool) error
	// stands returns the position up to which the log was read, and bound its end when that was
	// last asked for.
	stands() marks
	bound() marks
	// batch returns the next changes, within the limits of g. It may have none.
	batch(ctx context.Context, g trigger) (*logBatch, error)
	// look asks for the log's end again, if it was asked long ago.
	look(ctx context.Context) error
	// lag returns how much of each partition lies between what was read and the log's end, in
	// units.
	lag() map[int32]int64
	unit() string
	// came tells that all sinks have, durably, everything before a position: the log need not keep
	// it.
	came(marks)
	// countBetween counts the records between two positions. known is false if this log cannot
	// count them. It is an error if the log has lost some.
	countBetween(ctx context.Context, from, to marks) (n int64, known bool, err error)
	close()
}

// Units of a stream's lag.
const (
	unitRecords = "records"
	UnitBytes   = "bytes" // of a database's log
)

// snapshotting is a log of a table that had rows before the log begins: a sink that has nothing
// gets these first.
type snapshotting interface {
	// snapshot reads the rows as of a position of the log: they include what was committed before
	// it, and nothing else.
	snapshot(ctx context.Context) (snapshotReading, marks, error)
	// known returns the columns that the log has of every deleted row, and how to make it have
	// more; nil: it has all.
	known() (columns []string, mend string)
}

type snapshotReading interface {
	next() (row, string, error)
	close()
}

// logBatch are the changes between two positions of a log.
type logBatch struct {
	from, to marks
	changes  int // their number
	each     func(do func(change) error) error
	oldest   time.Time // when its first change was appended or committed
	due      bool      // sinks are to record its end even if it has no changes
}

// trigger says when a batch ends.
type trigger struct {
	rows  int
	bytes int
	every time.Duration // longest wait after its first record
	idle  time.Duration // longest wait without a record
	until *marks        // position at which it ends; nil: none
}

// lagEvery is how often the end of the log is asked for.
const lagEvery = 5 * time.Second
