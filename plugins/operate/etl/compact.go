package etl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/plugins/store/lake"
)

// Compacted sums up what was done with one table or one folder.
type Compacted struct {
	Table  string `json:"table,omitempty"`
	Folder string `json:"folder,omitempty"`

	Files         int   `json:"files"` // small files that were replaced
	Bytes         int64 `json:"bytes"`
	Into          int   `json:"into"` // files in their place
	IntoBytes     int64 `json:"into_bytes"`
	Vacuumed      int   `json:"vacuumed"` // removed files that no kept version names
	VacuumedBytes int64 `json:"vacuumed_bytes"`
	Log           int   `json:"log"` // removed objects of the log, or manifests
}

// Name is that of the table, or of the folder.
func (c Compacted) Name() string { return c.Table + c.Folder }

func (c *Compacted) add(more Compacted) {
	c.Files, c.Bytes = c.Files+more.Files, c.Bytes+more.Bytes
	c.Into, c.IntoBytes = c.Into+more.Into, c.IntoBytes+more.IntoBytes
	c.Vacuumed, c.VacuumedBytes = c.Vacuumed+more.Vacuumed, c.VacuumedBytes+more.VacuumedBytes
	c.Log += more.Log
}

// String says it in a line.
func (c Compacted) String() string {
	return fmt.Sprintf("%s: %d small files (%d bytes) into %d (%d bytes), %d old ones removed (%d bytes), and %d of "+
		"the log",
		c.Name(), c.Files, c.Bytes, c.Into, c.IntoBytes, c.Vacuumed, c.VacuumedBytes, c.Log)
}

// Compaction configures Compact.
type Compaction struct {
	Small int64         // bytes: a smaller file is put together with others
	Least int           // fewest small files that are put together: of one partition, or in sequence in a folder
	Keep  time.Duration // how long a file stays after the table, or the folder, has dropped it
	Tell  func(line string)
	Now   func() time.Time
}

// leastKept is the shortest time that dropped files are kept: readers of an older version, and runs
// in progress, may still read them.
const leastKept = time.Hour

// mostCompactions bounds how many versions, or attempts, one call makes of a table or a folder.
const mostCompactions = 5

// mostTogether bounds how many files one compaction puts together.
const mostTogether = 10_000

// Compact puts together the small files of the Delta tables that the pipeline writes, and of the
// folders that it streams into, and removes files that were dropped longer than c.Keep ago. The
// rows do not change. It may run beside runs, streams and other writers: if another is faster, the
// attempt changes nothing.
func (p *Pipeline) Compact(ctx context.Context, c Compaction) (all []Compacted, err error) {
	if c.Keep < leastKept {
		return nil, dataError{fmt.Errorf("files that are of the table no more stay for %s at least", leastKept)}
	}
	for _, t := range p.targets() {
		if !p.compactable(t) {
			continue
		}
		one, err := p.compact(ctx, t, c)
		if err != nil {
			return all, fmt.Errorf("compacting %s %s: %w", t.what(), t.object, err)
		}
		all = append(all, one)
	}
	if all == nil {
		return nil, dataError{errors.New("the pipeline writes no table of Delta Lake, and streams into no folder")}
	}
	return all, nil
}

// compactable tells whether a sink has files that can be put together.
func (p *Pipeline) compactable(t target) bool {
	return t.delta != nil || p.stream && t.table == nil && t.topic == nil
}

func (p *Pipeline) compact(ctx context.Context, t target, c Compaction) (one Compacted, err error) {
	if t.delta != nil {
		at, err := p.deltaAt(ctx, t, lake.Open)
		if err != nil {
			return one, err
		}
		one, err = compactTable(ctx, at, c)
		one.Table = t.object
		return one, errors.Join(unknownIsFinal(err), at.Store.Close())
	}
	store, err := lake.Open(ctx, p.storeURL(t.url))
	if err != nil {
		return one, err
	}
	one, err = compactFolder(ctx, &batchFolder{store, t.object, t.format, p.Name}, c)
	one.Folder = t.object
	return one, errors.Join(err, store.Close())
}
