package rollup

import (
	"context"
	"math"
	"slices"
	"time"
)

// hourState is how far an hour is on its way into the coarser rollups.
type hourState int16

const (
	hourOpen    hourState = iota // its minutes still fill: rolled now and then, and when it closes
	hourClosing                  // being rolled for good
	hourClosed                   // rolled; a device that changes it later marks it
)

// hourInfo is one row of rollup_hour.
type hourInfo struct {
	Hour     int64
	State    hourState
	OpenedAt int64 // Unix seconds
	RolledAt int64 // 0: never
}

// roller is what making hours and days from minutes needs.
type roller interface {
	// lockRoller makes this the only transaction of its kind until it ends;
	// false when another one is at work.
	lockRoller(ctx context.Context) (bool, error)
	// unclosed lists the hours that are not closed.
	unclosed(ctx context.Context) ([]hourInfo, error)
	// setHour moves an hour on, after waiting for the writers that hold it
	// open; false when it is no longer in the state from.
	setHour(ctx context.Context, hour int64, from, to hourState, rolledAt time.Time) (bool, error)
	// devices lists who has minutes in the hour.
	devices(ctx context.Context, hour int64) ([]Key, error)
	// marks returns up to n marks, those that takeMarks would remove.
	marks(ctx context.Context, n int) ([]Key, error)
	// takeMarks removes up to n marks and returns them.
	takeMarks(ctx context.Context, n int) ([]Key, error)
	// spans reads, in any order, the rows of each key's device that begin
	// within width seconds from its bucket.
	spans(ctx context.Context, res resolution, keys []Key, width int64, fn func(*windowRow) error) error
	// replace stores rows of hours or days whatever was there.
	replace(ctx context.Context, res resolution, rows []*windowRow, now time.Time) error
}

// keeper is what retention needs.
type keeper interface {
	// countOld counts the windows that began before the cutoff, or the ledgers
	// that seal would drop; those of some fleets only, or of all but them.
	countOld(ctx context.Context, what part, cutoff, from int64, fleets []string, but bool) (int64, error)
	// drop deletes up to n windows that began before the cutoff, but not
	// those of held fleets.
	drop(ctx context.Context, res resolution, cutoff int64, held []string, n int) (int64, error)
	// seal drops the ledgers of up to n windows that began, and changed
	// last, before the cutoff, but not those of held fleets.
	seal(ctx context.Context, cutoff int64, held []string, n int) (int64, error)
	// forgetHours deletes the states of closed hours before the cutoff, and
	// the marks on them.
	forgetHours(ctx context.Context, cutoff int64) error
}

// span selects rows for a query.
type span struct {
	Fleet   string
	Devices []string // sorted; nil: all of the fleet
	From    int64    // inclusive
	To      int64    // exclusive

	// Low and High say of which devices hours and days need be read at most, without
	// Devices; High "": of all.
	Low, High string
}

// lastDevice is after every device: names are of ASCII.
const lastDevice = "\x7f"

// all is the span of everything, in every fleet.
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

// reader is what queries need.
type reader interface {
	// scan reads the rows of a span, in any order.
	scan(ctx context.Context, res resolution, s span, fn func(*windowRow) error) error
	// newest reads the latest n minutes of a device, newest first.
	newest(ctx context.Context, fleet, device string, n int) ([]*windowRow, error)
	// unsettled lists the hours that are not closed, and the closed ones
	// that devices of the span have marked since.
	unsettled(ctx context.Context, s span) (open []int64, marked []Key, err error)
}
