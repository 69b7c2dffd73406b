package delta

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weir/plugins/store/lake"
)

// Table is a table in a folder of a store.
type Table struct {
	Store  *lake.Store
	Folder string
}

const logFolder = "_delta_log"

func (t Table) log() string { return path.Join(t.Folder, logFolder) }

func (t Table) commit(version int64) string { return fmt.Sprintf("%s/%020d.json", t.log(), version) }

func (t Table) checkpoint(version int64) string {
	return fmt.Sprintf("%s/%020d.checkpoint.parquet", t.log(), version)
}

// Key returns the key of a file that the log names. A file outside of the table's folder is an
// error.
func (t Table) Key(file string) (string, error) {
	name, err := url.PathUnescape(file)
	if err != nil || path.IsAbs(name) || name != path.Clean(name) || strings.HasPrefix(name, "..") ||
		strings.Contains(name, "://") {
		return "", fmt.Errorf("a file of the table is outside of its folder, or has no plain path: %q", file)
	}
	return path.Join(t.Folder, name), nil
}

// Path returns the name of an object below the table's folder as the log has it.
func Path(name string) string { return (&url.URL{Path: name}).EscapedPath() }

// listing is the contents of a log.
type listing struct {
	commits     map[int64]lake.Blob
	newest      int64
	checkpoints map[int64][]lake.Blob // complete ones, by version: their parts
}

var (
	commitName     = regexp.MustCompile(`^(\d{20})\.json$`)
	checkpointName = regexp.MustCompile(`^(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10}))?\.parquet$`)
	uniqueName     = regexp.MustCompile(`^(\d{20})\.checkpoint\.[0-9a-fA-F-]{36}\.(?:json|parquet)$`)
)

func (t Table) list(ctx context.Context) (listing, error) {
	l := listing{map[int64]lake.Blob{}, -1, map[int64][]lake.Blob{}}
	parts := map[int64]map[string][]lake.Blob{} // by the number of parts
	unique := map[int64]lake.Blob{}
	err := t.Store.List(ctx, t.log(), func(b lake.Blob) error {
		name := path.Base(b.Key)
		if path.Dir(b.Key) != t.log() {
			return nil
		}
		if m := commitName.FindStringSubmatch(name); m != nil {
			n, _ := strconv.ParseInt(m[1], 10, 64) // larger ones are no versions
			l.commits[n], l.newest = b, max(l.newest, n)
		}
		if m := uniqueName.FindStringSubmatch(name); m != nil {
			n, _ := strconv.ParseInt(m[1], 10, 64)
			unique[n] = b
		}
		if m := checkpointName.FindStringSubmatch(name); m != nil {
			n, _ := strconv.ParseInt(m[1], 10, 64)
			if parts[n] == nil {
				parts[n] = map[string][]lake.Blob{}
			}
			parts[n][m[3]] = append(parts[n][m[3]], b)
		}
		return nil
	})
	for n, b := range unique {
		l.checkpoints[n] = []lake.Blob{b}
	}
	for n, bySize := range parts {
		for many, blobs := range bySize {
			if want, _ := strconv.Atoi(many); len(blobs) == max(want, 1) {
				l.checkpoints[n] = blobs
			}
		}
	}
	return l, err
}

// relists is how often a log is listed again when a part of it was missing: listings are not
// atomic, and other writers remove old objects.
const relists = 3

// Read returns the newest version of the table. known is a version that was read before, from which
// it goes on, or nil. If the table does not exist, the version is -1.
func (t Table) Read(ctx context.Context, known *Snapshot) (*Snapshot, error) {
	for try := 0; ; try++ {
		s, err := t.read(ctx, known)
		if try < relists && (errors.Is(err, lake.ErrNotFound) || errors.As(err, new(*gapError))) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the log of table %s: %w", t.Folder, err)
		}
		return s, nil
	}
}

// gapError is a missing version that is followed by others.
type gapError struct{ version int64 }

func (e *gapError) Error() string {
	return fmt.Sprintf("version %d of the table is missing", e.version)
}

func (t Table) read(ctx context.Context, known *Snapshot) (*Snapshot, error) {
	l, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	s, newest := empty(), int64(-1)
	for n := range l.checkpoints {
		newest = max(newest, n)
	}
	switch {
	case known != nil && known.Version >= newest:
		c := *known
		s, c.Files, c.Removed, c.Txns = &c, maps.Clone(c.Files), maps.Clone(c.Removed), maps.Clone(c.Txns)
	case newest >= 0:
		for _, b := range l.checkpoints[newest] {
			if err := t.readCheckpoint(ctx, b, s, true); err != nil {
				return nil, fmt.Errorf("checkpoint %d: %w", newest, err)
			}
		}
		s.Version = newest
	}
	s.Checkpoint = newest
	for n := s.Version + 1; n <= l.newest; n++ {
		b, there := l.commits[n]
		if !there {
			return nil, &gapError{n}
		}
		if err := t.eachAction(ctx, b, s.apply); err != nil {
			return nil, fmt.Errorf("version %d: %w", n, err)
		}
		s.Version = n
	}
	return s, s.whole()
}

// eachAction calls do for each action of a commit.
func (t Table) eachAction(ctx context.Context, b lake.Blob, do func(action) error) error {
	r, err := t.Store.Open(ctx, b)
	if err != nil {
		return err
	}
	defer r.Close() // it was only read
	in := json.NewDecoder(io.NewSectionReader(r, 0, r.Size()))
	for {
		var a action
		switch err := in.Decode(&a); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("it is no commit: %w", err)
		}
		if err := do(a); err != nil {
			return err
		}
	}
}

// Note is what a commit of weir records about its run.
type Note struct {
	Run    string `json:"run"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

type info struct {
	Timestamp  int64             `json:"timestamp"`
	Operation  string            `json:"operation"`
	Parameters map[string]string `json:"operationParameters"`
	Blind      bool              `json:"isBlindAppend"`
	Engine     string            `json:"engineInfo"`
	Weir       *Note             `json:"weir,omitempty"`
}

// Find returns the note and the added files of a run's commit, searching from the newest; nil: the
// log does not have it, perhaps because old commits were removed.
func (t Table) Find(ctx context.Context, run string) (note *Note, added []Add, err error) {
	l, err := t.list(ctx)
	if err != nil {
		return nil, nil, err
	}
	versions := slices.Sorted(maps.Keys(l.commits))
	for _, n := range slices.Backward(versions) {
		added = nil
		err := t.eachAction(ctx, l.commits[n], func(a action) error {
			if a.Add != nil {
				added = append(added, *a.Add)
			}
			var told info
			if a.CommitInfo != nil && json.Unmarshal(a.CommitInfo, &told) == nil && told.Weir != nil &&
				told.Weir.Run == run { // else it is from another writer, in whatever form
				note = told.Weir
			}
			return nil
		})
		if err != nil && !errors.Is(err, lake.ErrNotFound) || note != nil {
			return note, added, err
		}
	}
	return nil, nil, nil
}

// Change is the contents of a commit.
type Change struct {
	Protocol *Protocol // of a new table
	Metadata *Metadata
	Add      []Add
	Remove   []Add
	Txns     []Txn
	Mode     string // Append, Overwrite, Merge or Optimize, as histories of the table show it
	Note     Note
	Now      int64 // milliseconds since 1970
}

// ErrConflict says that the version exists already. It is another writer's, or ours, if an answer
// of the store was lost: read the table again.
var ErrConflict = errors.New("the table has a newer version")

// Commit commits the version after from. When it returns nil, the version is durable, and readers
// see all of it. After an error other than ErrConflict it may be: read the table again, and look
// for its Txns.
func (t Table) Commit(ctx context.Context, from *Snapshot, c Change) (*Snapshot, error) {
	of := from.Metadata
	if c.Metadata != nil {
		of = *c.Metadata
	}
	partitions, err := json.Marshal(of.PartitionColumns)
	if err != nil {
		return nil, err
	}
	operation := "WRITE"
	if c.Mode == "Merge" || c.Mode == "Optimize" {
		operation = strings.ToUpper(c.Mode)
	}
	changes := c.Mode != "Optimize" // Optimize writes the same rows to other files
	said, err := json.Marshal(info{c.Now, operation, map[string]string{"mode": c.Mode, "partitionBy": string(partitions)},
		c.Mode == "Append", "weir etl", &c.Note})
	if err != nil {
		return nil, err
	}
	actions := []action{{CommitInfo: said}}
	if c.Protocol != nil {
		actions = append(actions, action{Protocol: c.Protocol}, action{MetaData: c.Metadata})
	}
	for _, txn := range c.Txns {
		actions = append(actions, action{Txn: &txn})
	}
	for _, gone := range c.Remove {
		actions = append(actions, action{Remove: &Remove{gone.Path, c.Now, changes, true, gone.PartitionValues, gone.Size,
			gone.DeletionVector}})
	}
	for _, one := range c.Add {
		one.DataChange = changes
		actions = append(actions, action{Add: &one})
	}
	next := *from
	next.Version++
	next.Files, next.Removed, next.Txns = maps.Clone(next.Files), maps.Clone(next.Removed), maps.Clone(next.Txns)
	maps.DeleteFunc(next.Removed, func(_ string, r Remove) bool { // as in checkpoints
		return r.DeletionTimestamp < c.Now-keepRemoved.Milliseconds()
	})
	var body bytes.Buffer
	out := json.NewEncoder(&body)
	out.SetEscapeHTML(false)
	for _, a := range actions {
		if err := errors.Join(out.Encode(a), next.apply(a)); err != nil {
			return nil, err
		}
	}
	err = t.Store.PutNew(ctx, t.commit(next.Version), body.Bytes())
	if errors.Is(err, lake.ErrExists) {
		return nil, ErrConflict
	}
	return &next, err
}
