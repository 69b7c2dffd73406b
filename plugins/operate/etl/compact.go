package etl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/plugins/store/lake"
)

// Compacted is what compactions did with one table, or one folder.
type Compacted struct {
	Table  string `json:"table,omitempty"`
	Folder string `json:"folder,omitempty"`

	Files         int   `json:"files"` // that others took the place of
	Bytes         int64 `json:"bytes"`
	Into          int   `json:"into"` // so many
	IntoBytes     int64 `json:"into_bytes"`
	Vacuumed      int   `json:"vacuumed"` // of no version any more, and gone now
	VacuumedBytes int64 `json:"vacuumed_bytes"`
	Log           int   `json:"log"` // objects of versions that are kept no more, and gone now
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

// Compaction says what is worth it.
type Compaction struct {
	Small int64         // bytes: a file of fewer is put together with others
	Least int           // so many of one partition, or one after the other in a folder, at least
	Keep  time.Duration // how long a file stays that is of the table, or the folder, no more
	Tell  func(line string)
	Now   func() time.Time
}

// leastKept bounds how soon files may go: readers of an older version read them, and
// runs that go on.
const leastKept = time.Hour

// mostCompactions is how often a table is tried that others change meanwhile.
const mostCompactions = 5

// mostTogether bounds how many files one version puts together.
const mostTogether = 10_000

// Compact puts small files of the tables of Delta Lake that the pipeline writes, and
// of the folders that it streams into, together, and removes those that have been of no
// version for long. The rows stay as they are. It goes on beside runs, streams and
// other writers: who is faster leaves the attempt without a trace.
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

// compactable tells whether a sink has files that could be fewer.
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
