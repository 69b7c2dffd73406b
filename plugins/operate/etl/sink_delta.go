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

// deltaTable is a Delta Lake table as a sink. A run is one version of it: its files are written
// first, and nobody sees them until the version is committed. The version records the run in a txn
// action, by which a retry finds out whether a commit of unknown result happened.
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

// checkPlace reports what is wrong with the name of an object or a table and with the URL of its
// store.
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

// deltaAt opens the store of a table. The caller must close it.
func (p *Pipeline) deltaAt(ctx context.Context, t target, open func(context.Context, string) (*lake.Store, error)) (
	at delta.Table, err error) {
	store, err := open(ctx, p.storeURL(t.url))
	return delta.Table{Store: store, Folder: t.object}, err
}

// checkDelta reads the table's log and returns an error that names the columns which the table
// cannot hold.
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

// unknownIsFinal makes errors final that no retry mends: features of a table that are not
// supported.
func unknownIsFinal(err error) error {
	if errors.As(err, new(*delta.UnknownError)) || errors.Is(err, delta.ErrVector) {
		return dataError{err}
	}
	return err
}

// deltaRun writes one run, or one batch of a stream, to one table.
type deltaRun struct {
	*deltaTable
	at      delta.Table
	run     string
	columns []column
	txns    []delta.Txn
	// came tells whether a version has the run; it returns an error if the run must not be
	// committed.
	came    func(*delta.Snapshot) (bool, error)
	known   *delta.Snapshot // last snapshot that was read or committed, or nil
	alone   bool            // this run made that snapshot, and most likely makes the next: it is not read again
	written *deltaFiles     // files for the table as was says
	was     string
	gone    []delta.Add // files of the table that the written ones replace
	erased  []row       // rows whose keys are deleted from the table
	empty   bool        // all rows that the table has now are deleted
	memory  int64       // MiB
}

// loadDelta commits the rows to the table as one version, unless the table has it already. When it
// returns nil, the version is durable.
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
	// a state has one run at a time, and continues its last one: the number of the last run is
	// enough
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

// mostConflicts bounds how often other writers may commit first.
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
		if came { // by an earlier attempt whose answer was lost
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

// write writes the files, unless those for the table's present state are written already.
func (r *deltaRun) write(ctx context.Context, s *delta.Snapshot, now time.Time, encode func(encoder) error,
	sink *Sink) error {
	was, name := s.Metadata.SchemaString+strings.Join(s.Metadata.PartitionColumns, ","), r.run
	if r.mode == modeMerge { // the files also depend on the version before
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

// account fills in the sink of a run that the table has already: from the note in its version, or
// by encoding the rows without writing them.
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

// partitionsOf returns the columns by which the table is partitioned; if the table does not exist,
// those of the pipeline.
func (t *deltaTable) partitionsOf(s *delta.Snapshot) []string {
	if s.Version < 0 {
		return t.partitions
	}
	return s.Metadata.PartitionColumns
}
