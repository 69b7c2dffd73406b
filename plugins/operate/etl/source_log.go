package etl

import (
	"context"
	"time"
)

// logSource is a source that a stream follows.
type logSource interface {
	source
	// dial connects, and asks what is there.
	dial(ctx context.Context) (following, error)
}

// following is a log that is read on and on. One goroutine asks it.
type following interface {
	id() string // of the log: one that is made anew under its name is another
	columns() []column
	describe() string
	// begin goes to where the sink goes on that is furthest behind, and to the start
	// for one that has nothing. What the log no longer has of it is an error. earlier
	// says that rows may come as the columns were before they were what they are.
	begin(ctx context.Context, sinks []marks, earlier bool) error
	// stands is up to where it was read, and bound where the log ended when it was last
	// looked at.
	stands() marks
	bound() marks
	// batch returns what comes next. It may hold nothing.
	batch(ctx context.Context, g trigger) (*logBatch, error)
	// look looks at the log again, when it is time for it.
	look(ctx context.Context) error
	// lag is how much lies between what was read and where the log ended, in units.
	lag() map[int32]int64
	unit() string
	// came says that all sinks have what lies before: the log need not keep it.
	came(marks)
	// countBetween is how many records lie between two marks, as far as the log keeps
	// them; not known: it does not. What it has lost of them is an error.
	countBetween(ctx context.Context, from, to marks) (n int64, known bool, err error)
	close()
}

// Units of the lag of a stream.
const (
	unitRecords = "records"
	UnitBytes   = "bytes" // of the log of a database
)

// snapshotting is a log of a table, which had rows before the log begins: a sink that
// has nothing gets these first.
type snapshotting interface {
	// snapshot reads the rows as they are at a place of the log. What was committed
	// before it is in them, and nothing else.
	snapshot(ctx context.Context) (snapshotReading, marks, error)
	// known are the columns that a row which is deleted is sure to have, and what to do
	// for more; nil: all.
	known() (columns []string, mend string)
}

type snapshotReading interface {
	next() (row, string, error)
	close()
}

// logBatch is what lies between two marks.
type logBatch struct {
	from, to marks
	changes  int // how many there are, or more
	each     func(do func(change) error) error
	oldest   time.Time // when the first of them was appended, or committed
	due      bool      // sinks are to note where it ends though there may be nothing in it
}

// trigger is what ends a batch.
type trigger struct {
	rows  int
	bytes int
	every time.Duration // after its first record
	idle  time.Duration // without one
	until *marks        // nil: no end
}

// lagEvery is how often the ends of the log are asked for.
const lagEvery = 5 * time.Second
