package erasure

import (
	"context"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
)

// Stores are what an erasure is carried out on.
type Stores struct {
	Raw, DeadLetter  *lake.Store
	Rollups, Control *sqldb.DB
}

// Sources lets this room delete from the stores of others.
type Sources struct {
	// Parts are what has data of devices, in the order of deletion.
	Parts func(ctx context.Context, s Stores) ([]Part, error)
	// Recount counts again what was received after an erasure, into windows of
	// rollups that it deleted because they also counted what came before. It
	// may be run again.
	Recount func(ctx context.Context, s Stores, upcast Upcast, t tombstone.Target) (events int64, err error)
}

// Part is one kind of data of devices, in one store.
type Part struct {
	Name string
	// Bury keeps a tombstone beside the data. nil: another part of the same
	// store does.
	Bury func(context.Context, tombstone.Stone) error
	// Count tells how much there is of a device, or, for "", of a fleet.
	Count func(ctx context.Context, fleet, device string) (map[string]int64, error)
	// Erase deletes what the target names, and notes how much under its job. It
	// may stop anywhere and be run again. held is to be asked between pieces of
	// work: it returns an error when nothing more may be deleted.
	Erase func(ctx context.Context, t tombstone.Target, held func() error) error
	// Bytes tells how much may have to be written anew. nil: nothing to speak of.
	Bytes func(ctx context.Context) (int64, error)
	// Twice is set where writers may not know of a tombstone as soon as it is
	// buried: what they were about to write is deleted by a second pass.
	Twice bool
}

// scrubbed are the tables that rows were deleted from, by store.
func (s Stores) scrubbed() map[*sqldb.DB][]string {
	tables := map[*sqldb.DB][]string{
		s.Control: {"alert", "alert_notice", "alert_delivery", "device_group", "replay_job", "dead_letter_outcome", "erasure"},
	}
	tables[s.Rollups] = append(tables[s.Rollups], "rollup_window_1m", "rollup_window_1h", "rollup_window_1d", "rollup_mark")
	return tables
}
