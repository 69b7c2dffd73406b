package rollup

import (
	"context"
	"math"
	"slices"
	"time"
)

// hourState says whether an hour is rolled.
type hourState int16

const (
	hourOpen    hourState = iota // its minutes still change; it is rolled from time to time
	hourClosing                  // being rolled for the last time; writers mark what they change
	hourClosed                   // rolled; writers mark what they change
)

// hourInfo is a row of rollup_hour.
type hourInfo struct {
	Hour     int64
	State    hourState
	OpenedAt int64 // Unix seconds
	RolledAt int64 // Unix seconds; 0: never
}

// roller is the part of a transaction that computes hours and days from minutes.
type roller interface {
	// lockRoller makes this the only transaction that rolls, until it ends. It returns false if
	// another transaction rolls.
	lockRoller(ctx context.Context) (bool, error)
	// unclosed returns the hours that are not closed.
	unclosed(ctx context.Context) ([]hourInfo, error)
	// setHour changes the state of an hour, after waiting for transactions that keep it open. It
	// returns false if the hour is no longer in the state from.
	setHour(ctx context.Context, hour int64, from, to hourState, rolledAt time.Time) (bool, error)
	// devices returns the hour of each device that has rows of minutes in it.
	devices(ctx context.Context, hour int64) ([]Key, error)
	// marks returns up to n marks: the ones that takeMarks would take.
	marks(ctx context.Context, n int) ([]Key, error)
	// takeMarks deletes up to n marks and returns them.
	takeMarks(ctx context.Context, n int) ([]Key, error)
	// spans passes to fn, in any order, the rows of each key's device that begin within width
	// seconds from the key's bucket.
	spans(ctx context.Context, res resolution, keys []Key, width int64, fn func(*windowRow) error) error
	// replace stores rows of hours or days in place of those that are stored, if any.
	replace(ctx context.Context, res resolution, rows []*windowRow, now time.Time) error
}

// keeper is the part of a transaction that retention needs.
type keeper interface {
	// countOld counts the windows that began before the cutoff, or the ledgers that seal would
	// drop: of the given fleets only or, if but is true, of all others. Windows that began before
	// `from` are not counted if it is above 0.
	countOld(ctx context.Context, what part, cutoff, from int64, fleets []string, but bool) (int64, error)
	// drop deletes up to n windows that began before the cutoff, except those of held fleets, and
	// returns how many.
	drop(ctx context.Context, res resolution, cutoff int64, held []string, n int) (int64, error)
	// seal deletes the ledgers of up to n windows that began before the cutoff and were not
	// written since, except those of held fleets, and returns how many.
	seal(ctx context.Context, cutoff int64, held []string, n int) (int64, error)
	// forgetHours deletes the states of hours before the cutoff, and the marks on them.
	forgetHours(ctx context.Context, cutoff int64) error
}

// span selects rows.
type span struct {
	Fleet   string
	Devices []string // sorted; nil: all devices of the fleet
	From    int64    // inclusive
	To      int64    // exclusive

	// Low and High are the first and the last device of which hours and days have to be read.
	// Others may be read as well. They are used only without Devices, and if High is not "".
	Low, High string
}

// lastDevice sorts after every device id: these are printable ASCII.
const lastDevice = "\x7f"

// all is the span of all windows of all fleets.
var all = span{From: math.MinInt64, To: math.MaxInt64}

func (s *span) has(k Key) bool {
	if s.Fleet != "" && k.Fleet != s.Fleet || k.Bucket < s.From || k.Bucket >= s.To {
		return false
	}
	if s.Devices == nil {
		return true
	}
	_, found := slices.BinarySearch(s.Devices, k.Device)
	return found
}

// reader is the part of a transaction that queries need.
type reader interface {
	// scan passes the rows of a span to fn, in any order.
	scan(ctx context.Context, res resolution, s span, fn func(*windowRow) error) error
	// newest returns the latest n minutes of a device, newest first.
	newest(ctx context.Context, fleet, device string, n int) ([]*windowRow, error)
	// unsettled returns the hours of the span that are not closed, and the marks of its devices on
	// hours of the span: rows of these hours and of their days may be outdated or missing.
	unsettled(ctx context.Context, s span) (open []int64, marked []Key, err error)
}
