package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/plugins/store/lake"
)

const (
	betweenCheckpoints = 10                  // commits, unless the table says otherwise
	keepRemoved        = 30 * 24 * time.Hour // how long removed files stay listed, for a late vacuum
)

// row is an action in the form of a checkpoint.
type row struct {
	Txn      *rowTxn      `parquet:"txn"`
	Add      *rowAdd      `parquet:"add"`
	Remove   *rowRemove   `parquet:"remove"`
	MetaData *rowMetadata `parquet:"metaData"`
	Protocol *rowProtocol `parquet:"protocol"`
}

type rowTxn struct {
	AppID       string `parquet:"appId"`
	Version     int64  `parquet:"version"`
	LastUpdated *int64 `parquet:"lastUpdated"`
}

type rowAdd struct {
	Path             string             `parquet:"path"`
	PartitionValues  map[string]*string `parquet:"partitionValues"`
	Size             int64              `parquet:"size"`
	ModificationTime int64              `parquet:"modificationTime"`
	DataChange       bool               `parquet:"dataChange"`
	Stats            *string            `parquet:"stats"`
	Tags             map[string]string  `parquet:"tags,optional"`
	DeletionVector   *rowVector         `parquet:"deletionVector"`
}

type rowRemove struct {
	Path              string `parquet:"path"`
	DeletionTimestamp *int64 `parquet:"deletionTimestamp"`
	DataChange        bool   `parquet:"dataChange"`

	DeletionVector *rowVector `parquet:"deletionVector"`
}

type rowVector struct {
	StorageType string `parquet:"storageType"`
	Path        string `parquet:"pathOrInlineDv"`
	Offset      *int32 `parquet:"offset"`
	Size        int32  `parquet:"sizeInBytes"`
	Cardinality int64  `parquet:"cardinality"`
}

type rowFormat struct {
	Provider string            `parquet:"provider"`
	Options  map[string]string `parquet:"options"`
}

type rowMetadata struct {
	ID               string            `parquet:"id"`
	Name             *string           `parquet:"name"`
	Description      *string           `parquet:"description"`
	Format           rowFormat         `parquet:"format"`
	SchemaString     string            `parquet:"schemaString"`
	PartitionColumns []string          `parquet:"partitionColumns,list"`
	Configuration    map[string]string `parquet:"configuration"`
	CreatedTime      *int64            `parquet:"createdTime"`
}

type rowProtocol struct {
	MinReaderVersion int32    `parquet:"minReaderVersion"`
	MinWriterVersion int32    `parquet:"minWriterVersion"`
	ReaderFeatures   []string `parquet:"readerFeatures,optional,list"`
	WriterFeatures   []string `parquet:"writerFeatures,optional,list"`
}

func maybe[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

// rows returns the actions that make up the snapshot.
func (s *Snapshot) rows(now time.Time) []row {
	m := s.Metadata
	all := []row{
		{Protocol: &rowProtocol{int32(s.Protocol.MinReaderVersion), int32(s.Protocol.MinWriterVersion),
			s.Protocol.ReaderFeatures, s.Protocol.WriterFeatures}},
		{MetaData: &rowMetadata{m.ID, maybe(m.Name), maybe(m.Description), rowFormat{m.Format.Provider, m.Format.Options},
			m.SchemaString, m.PartitionColumns, m.Configuration, maybe(m.CreatedTime)}}}
	for _, name := range slices.Sorted(maps.Keys(s.Txns)) {
		t := s.Txns[name]
		all = append(all, row{Txn: &rowTxn{t.AppID, t.Version, maybe(t.LastUpdated)}})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Removed)) {
		if r := s.Removed[name]; r.DeletionTimestamp > now.Add(-keepRemoved).UnixMilli() {
			all = append(all, row{Remove: &rowRemove{r.Path, maybe(r.DeletionTimestamp), false,
				(*rowVector)(r.DeletionVector)}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		a := s.Files[name]
		all = append(all, row{Add: &rowAdd{a.Path, a.PartitionValues, a.Size, a.ModificationTime, false, maybe(a.Stats),
			a.Tags, (*rowVector)(a.DeletionVector)}})
	}
	return all
}

// Tidy writes a checkpoint of a version that was just committed, if one is due. Checkpoints only
// make reading faster.
func (t Table) Tidy(ctx context.Context, s *Snapshot, now time.Time) error {
	every := int64(betweenCheckpoints)
	if n, err := strconv.ParseInt(s.Metadata.Configuration["delta.checkpointInterval"], 10, 64); err == nil && n > 0 {
		every = n
	}
	// the writer of the version that is due writes it; a later one does if it is missing for too
	// long
	if behind := s.Version - max(s.Checkpoint, 0); behind == 0 || s.Version%every != 0 && behind < 2*every {
		return nil
	}
	for _, f := range s.Files { // other writers have their statistics in a form that is not read here
		if f.DeletionVector != nil && f.Stats == "" {
			return nil // the protocol asks for the number of rows of such a file
		}
	}
	rows := s.rows(now)
	if err := t.Store.Write(ctx, t.checkpoint(s.Version), func(w io.Writer) error {
		out := parquet.NewGenericWriter[row](w, parquet.CreatedBy("weir", "etl", ""))
		_, err := out.Write(rows)
		return errors.Join(err, out.Close())
	}); err != nil {
		return err
	}
	last, err := json.Marshal(map[string]int64{"version": s.Version, "size": int64(len(rows)),
		"numOfAddFiles": int64(len(s.Files))})
	if err != nil {
		return err
	}
	s.Checkpoint = s.Version
	return t.Store.PutBytes(ctx, t.log()+"/_last_checkpoint", last)
}

// readCheckpoint applies the actions in one part of a checkpoint to a snapshot, and those in its
// sidecars, which it may have if names is set.
func (t Table) readCheckpoint(ctx context.Context, b lake.Blob, s *Snapshot, names bool) error {
	var more []sidecar
	take := func(a action) error {
		if a.Sidecar == nil {
			return s.apply(a)
		}
		more = append(more, *a.Sidecar)
		return nil
	}
	each := t.eachRow
	if strings.HasSuffix(b.Key, ".json") {
		each = t.eachAction
	}
	if err := each(ctx, b, take); err != nil {
		return err
	}
	for _, one := range more {
		name, err := url.PathUnescape(path.Base(one.Path)) // all are in one folder, whatever the path says
		if err != nil || !names {
			return fmt.Errorf("a file with more of it is named wrongly: %q", one.Path)
		}
		in := lake.Blob{Key: t.log() + "/_sidecars/" + name, Size: one.Size}
		if err := t.readCheckpoint(ctx, in, s, false); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// eachRow calls do for each action in a Parquet file.
func (t Table) eachRow(ctx context.Context, b lake.Blob, do func(action) error) error {
	r, err := t.Store.Open(ctx, b)
	if err != nil {
		return err
	}
	defer r.Close() // it was only read
	file, err := parquet.OpenFile(r, r.Size())
	if err != nil {
		return fmt.Errorf("it is no whole file of Parquet: %w", err)
	}
	paths := file.Schema().Columns()
	rows := parquet.MultiRowGroup(file.RowGroups()...).Rows()
	defer rows.Close() // it was only read
	buf := make([]parquet.Row, 64)
	for {
		n, err := rows.ReadRows(buf)
		for _, values := range buf[:n] {
			if err := do(collect(paths, values).action()); err != nil {
				return err
			}
		}
		switch {
		case n > 0: // the next call returns the error again
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// cells are the values of a row, by the names of their columns. Writers name the columns within
// lists and maps differently, so only the first two parts of a name count.
type cells struct {
	one  map[string]parquet.Value
	list map[string][]string
	keys map[string][]string
	vals map[string][]*string
}

func collect(paths [][]string, values parquet.Row) cells {
	c := cells{map[string]parquet.Value{}, map[string][]string{}, map[string][]string{}, map[string][]*string{}}
	for _, v := range values {
		p := paths[v.Column()]
		if len(p) < 2 {
			continue
		}
		name, leaf := p[0]+"."+p[1], p[len(p)-1]
		text := v.Kind() == parquet.ByteArray
		switch {
		case len(p) == 2 && !v.IsNull():
			c.one[name] = v
		case name == "metaData.format" && leaf == "provider" && !v.IsNull():
			c.one[name] = v
		case len(p) == 3 && p[1] == "deletionVector" && !v.IsNull():
			c.one[name+"."+leaf] = v
		case isMap(name) && leaf == "value" && (text || v.IsNull()):
			value := (*string)(nil)
			if !v.IsNull() {
				value = new(string)
				*value = string(v.ByteArray())
			}
			c.vals[name] = append(c.vals[name], value)
		case v.IsNull() || !text:
		case isMap(name) && leaf == "key":
			c.keys[name] = append(c.keys[name], string(v.ByteArray()))
		case isList(name):
			c.list[name] = append(c.list[name], string(v.ByteArray()))
		}
	}
	return c
}

// isMap and isList tell which nested columns are read. Other writers also store statistics and
// values of partitions in typed columns, which are not.
func isMap(name string) bool {
	return slices.Contains([]string{"metaData.configuration", "add.partitionValues", "add.tags"}, name)
}

func isList(name string) bool {
	return slices.Contains([]string{"protocol.readerFeatures", "protocol.writerFeatures", "metaData.partitionColumns"},
		name)
}

func (c cells) has(name string) bool { _, is := c.one[name]; return is }

func (c cells) text(name string) string {
	if v, is := c.one[name]; is && v.Kind() == parquet.ByteArray {
		return string(v.ByteArray())
	}
	return ""
}

func (c cells) number(name string) int64 {
	v, is := c.one[name]
	switch {
	case !is:
		return 0
	case v.Kind() == parquet.Int32:
		return int64(v.Int32())
	case v.Kind() == parquet.Int64:
		return v.Int64()
	}
	return 0
}

func (c cells) pairs(name string) map[string]*string {
	all := map[string]*string{}
	for i, key := range c.keys[name] {
		if i < len(c.vals[name]) {
			all[key] = c.vals[name][i]
		}
	}
	return all
}

func (c cells) texts(name string) map[string]string {
	all := map[string]string{}
	for key, value := range c.pairs(name) {
		if value != nil {
			all[key] = *value
		}
	}
	return all
}

// vector returns the deletion vector of an add or a remove, if it has one.
func (c cells) vector(of string) *Vector {
	of += ".deletionVector."
	if !c.has(of + "storageType") {
		return nil
	}
	v := &Vector{c.text(of + "storageType"), c.text(of + "pathOrInlineDv"), nil, int32(c.number(of + "sizeInBytes")),
		c.number(of + "cardinality")}
	if c.has(of + "offset") {
		at := int32(c.number(of + "offset"))
		v.Offset = &at
	}
	return v
}

func (c cells) action() (a action) {
	switch {
	case c.has("protocol.minReaderVersion"):
		a.Protocol = &Protocol{int(c.number("protocol.minReaderVersion")), int(c.number("protocol.minWriterVersion")),
			c.list["protocol.readerFeatures"], c.list["protocol.writerFeatures"]}
	case c.has("metaData.id"):
		a.MetaData = &Metadata{c.text("metaData.id"), c.text("metaData.name"), c.text("metaData.description"),
			Format{c.text("metaData.format"), map[string]string{}}, c.text("metaData.schemaString"),
			append([]string{}, c.list["metaData.partitionColumns"]...), c.texts("metaData.configuration"),
			c.number("metaData.createdTime")}
	case c.has("add.path"):
		a.Add = &Add{Path: c.text("add.path"), PartitionValues: c.pairs("add.partitionValues"), Size: c.number("add.size"),
			ModificationTime: c.number("add.modificationTime"), Stats: c.text("add.stats"), Tags: c.texts("add.tags"),
			DeletionVector: c.vector("add")}
	case c.has("remove.path"):
		a.Remove = &Remove{Path: c.text("remove.path"), DeletionTimestamp: c.number("remove.deletionTimestamp"),
			DeletionVector: c.vector("remove")}
	case c.has("sidecar.path"):
		a.Sidecar = &sidecar{c.text("sidecar.path"), c.number("sidecar.sizeInBytes")}
	case c.has("txn.appId"):
		a.Txn = &Txn{c.text("txn.appId"), c.number("txn.version"), c.number("txn.lastUpdated")}
	}
	return a
}
