package etl

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/google/uuid"

	"weir/plugins/operate/etl/delta"
	"weir/plugins/store/lake"
)

const deltaFormat = "delta"

// deltaTable is a table of Delta Lake as a sink. A run is one version of it: its
// files are written before, and nobody sees them until then. The version says in a
// txn which run it is of: whoever does not know whether it came through finds it
// there.
type deltaTable struct {
	mode       string
	key        []string // of merge
	partitions []string
}

func (p *Pipeline) readDelta(r *reader) target {
	t := &deltaTable{mode: r.oneOf("mode", modeReplace, modeAppend, modeMerge)}
	t.key, t.partitions = readKey(r, t.mode), readNames(r, "partition_by")
	out := target{format: deltaFormat, url: r.text("url", true), object: r.text("table", true), delta: t}
	p.checkPlace(r, out, "table", "a folder, such as sales/orders")
	return out
}

// checkPlace says what is wrong with where an object, or a table, is to be.
func (p *Pipeline) checkPlace(r *reader, t target, field, such string) {
	if t.object != "" && (path.Clean(t.object) != t.object || path.IsAbs(t.object) || strings.HasPrefix(t.object, "..") ||
		strings.HasPrefix(t.object, "_")) {
		r.wrong(r.members[field], "expected the name of %s", such)
	}
	if t.url != "" {
		if err := p.checkStore(t.url); err != nil {
			r.wrong(r.members["url"], "%v", err)
		}
	}
}

// deltaAt is a table in its store, which close ends.
func (p *Pipeline) deltaAt(ctx context.Context, t target, open func(context.Context, string) (*lake.Store, error)) (
	at delta.Table, err error) {
	store, err := open(ctx, p.storeURL(t.url))
	return delta.Table{Store: store, Folder: t.object}, err
}

// checkDelta reads the table, and says which columns it does not take.
func (p *Pipeline) checkDelta(ctx context.Context, t target, columns []column) error {
	at, err := p.deltaAt(ctx, t, lake.OpenReading)
	if err != nil {
		return err
	}
	defer at.Store.Close() // it was only read
	s, err := at.Read(ctx, nil)
	if err != nil {
		return unknownIsFinal(err)
	}
	_, err = t.delta.check(s, columns)
	return err
}

// unknownIsFinal marks what no further try mends.
func unknownIsFinal(err error) error {
	if errors.As(err, new(*delta.UnknownError)) || errors.Is(err, delta.ErrVector) {
		return dataError{err}
	}
	return err
}

// deltaRun is one run into one table.
type deltaRun struct {
	*deltaTable
	at      delta.Table
	run     string
	columns []column
	txns    []delta.Txn
	// came tells whether a version has the run; an error, that it must not come.
	came    func(*delta.Snapshot) (bool, error)
	known   *delta.Snapshot // as it was last, or nil
	alone   bool            // who made that version makes the next, most likely: the log is not asked
	written *deltaFiles     // for the table as it was then
	was     string
	gone    []delta.Add // of the table, in whose place some of them are
	erased  []row       // whose keys the table is to have no more
	empty   bool        // of what it has now, nothing stays
	memory  int64       // MiB
}

// loadDelta brings the rows into the table as one version, unless it has them.
func (p *Pipeline) loadDelta(ctx context.Context, o Options, s stage, run *progress, columns []column, t target,
	id string) (Sink, error) {
	sink := Sink{Format: deltaFormat, URL: t.url, Object: t.object, Mode: t.delta.mode}
	at, err := p.deltaAt(ctx, t, lake.Open)
	if err != nil {
		return sink, err
	}
	number, err := time.Parse("20060102T150405.000000Z", strings.Split(run.Run, "-")[0])
	if err != nil {
		return sink, fmt.Errorf("reading the name of the run: %w", err)
	}
	// a state has one run at a time, and goes on with its last: its number is enough
	txn := delta.Txn{AppID: "weir etl " + p.Name + " " + id, Version: number.UnixMicro(), LastUpdated: o.Now().UnixMilli()}
	r := &deltaRun{deltaTable: t.delta, at: at, run: run.Run, columns: columns, txns: []delta.Txn{txn}, memory: p.memory,
		came: func(s *delta.Snapshot) (bool, error) { return s.Txns[txn.AppID].Version == txn.Version, nil }}
	encode := func(e encoder) error {
		sink.Rows = 0
		return p.encodeRows(ctx, s, run, &sink, e)
	}
	err = r.load(ctx, o.Now, encode, &sink)
	return sink, errors.Join(err, at.Store.Close())
}

// mostConflicts is how often others may be faster.
const mostConflicts = 1000

func (r *deltaRun) load(ctx context.Context, now func() time.Time, encode func(encoder) error, sink *Sink) error {
	for range mostConflicts {
		s, err := r.known, error(nil)
		if s == nil || !r.alone {
			if s, err = r.at.Read(ctx, r.known); err != nil {
				return unknownIsFinal(err)
			}
		}
		r.known = s
		came, err := r.came(s)
		if err != nil {
			return err
		}
		if came { // and the answer was lost
			return r.account(ctx, s, encode, sink)
		}
		if err := r.write(ctx, s, now(), encode, sink); err != nil {
			return err
		}
		next, err := r.commit(ctx, s, now(), sink)
		switch {
		case errors.Is(err, delta.ErrConflict):
			r.alone = false
		case err != nil:
			return err
		default:
			r.known = next
			return r.at.Tidy(ctx, next, now())
		}
	}
	return fmt.Errorf("others have made a version of the table %d times, each before this run could", mostConflicts)
}

// write writes the files, unless there are those for the table as it is.
func (r *deltaRun) write(ctx context.Context, s *delta.Snapshot, now time.Time, encode func(encoder) error,
	sink *Sink) error {
	was, name := s.Metadata.SchemaString+strings.Join(s.Metadata.PartitionColumns, ","), r.run
	if r.mode == modeMerge { // what a file has is of the version before, too
		was, name = was+fmt.Sprint(s.Version), fmt.Sprintf("%s-%d", name, s.Version+1)
	}
	as, err := r.check(s, r.columns)
	if err != nil || r.written != nil && was == r.was {
		return err
	}
	if err := r.clear(ctx); err != nil {
		return err
	}
	r.was = was
	r.written = newDeltaFiles(r.columns, as, r.partitionsOf(s), name, now.UnixMilli(),
		func(name string, body []byte) error {
			key, err := r.at.Key(delta.Path(name))
			if err != nil {
				return err
			}
			return r.at.Store.PutBytes(ctx, key, body)
		})
	if r.mode == modeMerge {
		r.written.mergedBy(r.key, r.memory)
		for _, gone := range r.erased {
			if err := r.written.erase(gone); err != nil {
				return dataError{err}
			}
		}
		r.written.more = func() error { return r.merge(ctx, s) }
	}
	if err := encode(r.written); err != nil {
		return err
	}
	sink.Bytes, sink.SHA256 = r.written.bytes, r.written.sum.hex()
	return nil
}

// account makes up what was written: as the version says, or without writing it.
func (r *deltaRun) account(ctx context.Context, s *delta.Snapshot, encode func(encoder) error, sink *Sink) error {
	note, _, err := r.at.Find(ctx, r.run)
	if err != nil {
		return err
	}
	if note != nil {
		sink.Rows, sink.Bytes, sink.SHA256 = note.Rows, note.Bytes, note.SHA256
		return nil
	}
	as, err := r.check(s, r.columns)
	if err != nil {
		return err
	}
	files := newDeltaFiles(r.columns, as, r.partitionsOf(s), r.run, 0, func(string, []byte) error { return nil })
	if err := encode(files); err != nil {
		return err
	}
	sink.Bytes, sink.SHA256 = files.bytes, files.sum.hex()
	return nil
}

func (r *deltaRun) commit(ctx context.Context, s *delta.Snapshot, now time.Time, sink *Sink) (*delta.Snapshot, error) {
	c := delta.Change{Add: r.written.added, Txns: r.txns, Mode: "Append", Now: now.UnixMilli(),
		Note: delta.Note{Run: r.run, Rows: sink.Rows, Bytes: sink.Bytes, SHA256: sink.SHA256}}
	if s.Version < 0 {
		protocol, metadata, err := delta.New(uuid.NewString(), deltaFields(r.columns), r.partitions, c.Now)
		if err != nil {
			return nil, err
		}
		c.Protocol, c.Metadata = &protocol, &metadata
	}
	if r.mode == modeMerge {
		c.Mode, c.Remove = "Merge", r.gone
	}
	if r.mode == modeReplace {
		c.Mode = "Overwrite"
		for _, name := range sortedKeys(s.Files) {
			c.Remove = append(c.Remove, s.Files[name])
		}
	}
	return r.at.Commit(ctx, s, c)
}

// partitionsOf are those of the table, and of one that is to be made those of the
// pipeline.
func (t *deltaTable) partitionsOf(s *delta.Snapshot) []string {
	if s.Version < 0 {
		return t.partitions
	}
	return s.Metadata.PartitionColumns
}
