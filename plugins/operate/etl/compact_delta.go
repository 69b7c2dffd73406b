package etl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"weir/plugins/operate/etl/delta"
	"weir/plugins/store/lake"
)

func compactTable(ctx context.Context, at delta.Table, c Compaction) (done Compacted, err error) {
	s, err := at.Read(ctx, nil)
	if err != nil {
		return done, err
	}
	if s.Version < 0 {
		return done, nil
	}
	if err := s.Writable(false); err != nil {
		return done, dataError{err}
	}
	for range mostCompactions {
		small, err := smallFiles(s, c)
		if err != nil {
			return done, err
		}
		if len(small) == 0 {
			break
		}
		next, into, err := putTogether(ctx, at, s, small, c)
		if err != nil {
			return done, err
		}
		if len(into) == 0 { // another writer was faster, or nothing would be gained
			if next == s {
				break
			}
			s = next
			continue
		}
		done.Files, done.Into = done.Files+len(small), done.Into+len(into)
		for _, f := range small {
			done.Bytes += f.Size
		}
		for _, f := range into {
			done.IntoBytes += f.Size
		}
		if s = next; len(small) < mostTogether {
			break
		}
	}
	if err = vacuum(ctx, at, s, c, &done); err != nil {
		return done, err
	}
	done.Log, err = at.Clean(ctx, s, c.Now())
	return done, err
}

// smallFiles returns the small files of each partition that has enough of them, at most
// mostTogether in all.
func smallFiles(s *delta.Snapshot, c Compaction) (all []delta.Add, err error) {
	byPartition := map[string][]delta.Add{}
	for _, name := range sortedKeys(s.Files) {
		f := s.Files[name]
		if f.Size >= c.Small {
			continue
		}
		key, err := json.Marshal(f.PartitionValues)
		if err != nil {
			return nil, err
		}
		byPartition[string(key)] = append(byPartition[string(key)], f)
	}
	for _, key := range sortedKeys(byPartition) {
		if files := byPartition[key]; len(files) >= max(c.Least, 2) {
			all = append(all, files[:min(len(files), mostTogether-len(all))]...)
		}
	}
	return all, nil
}

// putTogether writes the rows of small files into fewer files, and commits a version that has these
// instead. If it commits none, into is empty, and next is s when the files would be no fewer, or a
// newer snapshot when another writer has changed them.
func putTogether(ctx context.Context, at delta.Table, s *delta.Snapshot, small []delta.Add, c Compaction) (
	next *delta.Snapshot, into []delta.Add, err error) {
	in, err := readingOf(at, s)
	if err != nil {
		return nil, nil, err
	}
	fields, err := s.Fields()
	if err != nil {
		return nil, nil, dataError{err}
	}
	as := make([]deltaColumn, len(in.cols))
	for i, col := range in.cols {
		if fields[i].Type == "byte" {
			return nil, nil, dataError{fmt.Errorf("column %q is a byte, which is not written here", col.name)}
		}
		as[i] = deltaColumn{col, !fields[i].Nullable, in.places[i]}
	}
	var written []string
	out := newDeltaFiles(in.cols, as, s.Metadata.PartitionColumns, newRun(c.Now()), c.Now().UnixMilli(),
		func(name string, body []byte) error {
			key, err := at.Key(delta.Path(name))
			if err == nil {
				written = append(written, key)
				err = at.Store.PutBytes(ctx, key, body)
			}
			return err
		})
	forget := func() error { return at.Store.Remove(context.WithoutCancel(ctx), written...) }
	for _, f := range small {
		if err := copyRows(ctx, in, f, out); err != nil {
			return nil, nil, errors.Join(err, forget())
		}
	}
	if err := out.end(); err != nil {
		return nil, nil, errors.Join(err, forget())
	}
	if len(out.added) >= len(small) {
		return s, nil, forget()
	}
	change := delta.Change{Add: out.added, Remove: small, Mode: "Optimize", Now: c.Now().UnixMilli()}
	for range mostConflicts {
		next, err := at.Commit(ctx, s, change)
		if !errors.Is(err, delta.ErrConflict) {
			if err != nil { // the commit may have happened: the files stay
				return nil, nil, err
			}
			return next, out.added, at.Tidy(ctx, next, c.Now())
		}
		was := s.Metadata.SchemaString
		if s, err = at.Read(ctx, s); err != nil {
			return nil, nil, err
		}
		if slices.ContainsFunc(out.added, func(a delta.Add) bool {
			_, live := s.Files[a.Path]
			_, gone := s.Removed[a.Path] // removed by others, since
			return live || gone
		}) { // the commit happened, and its answer was lost
			return s, out.added, nil
		}
		for _, f := range small {
			if _, still := s.Files[f.Key()]; !still || s.Metadata.SchemaString != was {
				c.Tell(fmt.Sprintf("%s: others have changed it meanwhile", at.Folder))
				return s, nil, forget()
			}
		}
		if err := s.Writable(false); err != nil {
			return nil, nil, errors.Join(dataError{err}, forget())
		}
	}
	return nil, nil, fmt.Errorf("others have made a version of the table %d times, each before this one", mostConflicts)
}

func copyRows(ctx context.Context, in *deltaReading, f delta.Add, out *deltaFiles) error {
	part, err := in.part(ctx, f)
	if err != nil {
		return err
	}
	defer part.close()
	for {
		r, err := part.next()
		switch {
		case errors.Is(err, io.EOF):
			return ctx.Err()
		case errors.As(err, new(*rowError)):
			return dataError{fmt.Errorf("reading %s: %w", f.Path, err)}
		case err != nil:
			return err
		}
		if err := out.keep(r); err != nil {
			return err
		}
	}
}

// vacuum removes files that the log has named as removed for longer than c.Keep. Files that the log
// does not name stay, as their age is not known.
func vacuum(ctx context.Context, at delta.Table, s *delta.Snapshot, c Compaction, done *Compacted) error {
	there := map[string]int64{}
	if err := at.Store.List(ctx, at.Folder, func(b lake.Blob) error {
		there[b.Key] = b.Size
		return nil
	}); err != nil {
		return err
	}
	live := map[string]bool{}
	for _, f := range s.Files { // one file may be written as several paths
		for _, key := range keysOf(at, f.Path, f.DeletionVector) {
			live[key] = true
		}
	}
	removed := map[string]int64{} // when last: a file may be removed with one vector and added with another
	for _, gone := range s.Removed {
		for _, key := range keysOf(at, gone.Path, gone.DeletionVector) {
			if gone.DeletionTimestamp == 0 { // the time is not known: it stays
				live[key] = true
			}
			removed[key] = max(removed[key], gone.DeletionTimestamp)
		}
	}
	before := c.Now().Add(-c.Keep).UnixMilli()
	for _, key := range sortedKeys(removed) {
		size, is := there[key]
		if live[key] || !is || removed[key] > before {
			continue
		}
		if err := at.Store.Remove(ctx, key); err != nil {
			return err
		}
		done.Vacuumed, done.VacuumedBytes = done.Vacuumed+1, done.VacuumedBytes+size
	}
	return nil
}

// keysOf returns the keys of a data file and its deletion vector, if they are in the table's
// folder. Those outside belong to another table, of which this one is a clone.
func keysOf(at delta.Table, path string, vector *delta.Vector) (all []string) {
	if key, err := at.Key(path); err == nil {
		all = append(all, key)
	}
	if vector == nil {
		return all
	}
	if key, err := at.VectorKey(vector); err == nil && key != "" {
		all = append(all, key)
	}
	return all
}
