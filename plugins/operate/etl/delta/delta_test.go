package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/plugins/store/lake"
)

func at(t *testing.T, dir string) Table {
	t.Helper()
	store, err := lake.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	return Table{store, "a/b"}
}

func made(t *testing.T, now time.Time) Change {
	t.Helper()
	fields := []Field{{"x", "timestamp_ntz", true, map[string]any{}}, {"p", "string", true, nil}}
	p, m, err := New("id", fields, []string{"p"}, now.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	m.Configuration["any"] = "thing"
	return Change{Protocol: &p, Metadata: &m, Now: now.UnixMilli()}
}

// What a checkpoint says is what the versions before it say, whichever are gone.
func TestTable_ACheckpointIsTheLogBeforeIt(t *testing.T) {
	dir := t.TempDir()
	table, now, text := at(t, dir), time.Now(), "a/b"
	s := empty()
	for n := range 25 {
		c := Change{Now: now.UnixMilli()}
		if n == 0 {
			c = made(t, now)
		}
		c.Txns = []Txn{{fmt.Sprintf("w%d", n%3), int64(n), now.UnixMilli()}}
		c.Add = []Add{{Path: fmt.Sprintf("f%d", n), PartitionValues: map[string]*string{"p": nil}, Size: 7,
			Stats: `{"numRecords":1}`, Tags: map[string]string{"k": "v"}}}
		if n%2 == 0 {
			c.Add[0].PartitionValues["p"] = &text
		}
		if old, is := s.Files[fmt.Sprintf("f%d", n-5)]; is {
			c.Remove = []Add{old}
		}
		c.Note.Run = fmt.Sprintf("run %d", n)
		var err error
		if s, err = table.Commit(t.Context(), s, c); err != nil {
			t.Fatal(err)
		}
		if err := table.Tidy(t.Context(), s, now); err != nil {
			t.Fatal(err)
		}
		read, err := table.Read(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Checkpoint = read.Checkpoint
		if want := int64(max((n)/10*10, -1)); n >= 10 && read.Checkpoint != want {
			t.Fatalf("version %d has checkpoint %d", n, read.Checkpoint)
		}
		for name, r := range s.Removed { // of which a checkpoint keeps two fields
			s.Removed[name] = Remove{Path: r.Path, DeletionTimestamp: r.DeletionTimestamp}
			r = read.Removed[name]
			read.Removed[name] = Remove{Path: r.Path, DeletionTimestamp: r.DeletionTimestamp}
		}
		for name := range s.Files {
			f := read.Files[name]
			f.DataChange = s.Files[name].DataChange
			read.Files[name] = f
		}
		if !reflect.DeepEqual(read, s) {
			t.Fatalf("version %d is read as\n%+v\nand was\n%+v", n, read, s)
		}
		if n == 20 {
			for gone := range 20 {
				if err := os.Remove(filepath.Join(dir, table.commit(int64(gone)))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	note, added, err := table.Find(t.Context(), "run 22")
	if err != nil || note == nil || len(added) != 1 || added[0].Path != "f22" {
		t.Errorf("%+v %+v %v", note, added, err)
	}
	if note, _, err := table.Find(t.Context(), "run 2"); note != nil || err != nil {
		t.Errorf("%+v %v", note, err)
	}
	if err := os.Remove(filepath.Join(dir, table.commit(22))); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Read(t.Context(), nil); !errors.As(err, new(*gapError)) {
		t.Error(err)
	}
}

// Of many that make one version one does; the others hear that it is another's.
func TestTable_OneOfManyMakesAVersion(t *testing.T) {
	dir := t.TempDir()
	var won, lost atomic.Int64
	var group sync.WaitGroup
	for n := range 8 {
		table, c := at(t, dir), made(t, time.Now())
		c.Txns = []Txn{{fmt.Sprint(n), 1, 1}}
		group.Go(func() {
			switch _, err := table.Commit(context.Background(), empty(), c); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrConflict):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if s, err := at(t, dir).Read(t.Context(), nil); err != nil || won.Load() != 1 || lost.Load() != 7 || len(s.Txns) != 1 {
		t.Errorf("%d made it, %d not: %+v, %v", won.Load(), lost.Load(), s, err)
	}
}

// No file of a table leads out of its folder.
func TestTable_AFileIsBelowIt(t *testing.T) {
	table := Table{Folder: "a/b"}
	for file, want := range map[string]string{"x.parquet": "a/b/x.parquet", "p=a%2520b/x": "a/b/p=a%20b/x", "../x": "",
		"/x": "", "s3://other/x": "", "a/../../x": "", "%2e%2e/x": "", "file:///etc/passwd": ""} {
		if got, err := table.Key(file); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
}

// Another engine writes statistics and partitions into a checkpoint once more, in
// columns of their types, and a table's own columns may have any name.
func TestTable_ACheckpointOfAnotherEngineIsRead(t *testing.T) {
	type stats struct {
		NumRecords int64 `parquet:"numRecords"`
		MinValues  struct {
			Key   int64   `parquet:"key"`
			Value float64 `parquet:"value"`
			Name  string  `parquet:"name"`
		} `parquet:"minValues"`
	}
	type add struct {
		Path            string             `parquet:"path"`
		PartitionValues map[string]*string `parquet:"partitionValues"`
		Size            int64              `parquet:"size"`
		Parsed          struct {
			Day int32 `parquet:"day,date"`
		} `parquet:"partitionValues_parsed"`
		Stats stats `parquet:"stats_parsed"`
	}
	type action struct {
		Add      *add         `parquet:"add"`
		MetaData *rowMetadata `parquet:"metaData"`
		Protocol *rowProtocol `parquet:"protocol"`
	}
	dir := t.TempDir()
	table, now, day := at(t, dir), time.Now(), "2026-11-27"
	s, err := table.Commit(t.Context(), empty(), made(t, now))
	if err != nil {
		t.Fatal(err)
	}
	var rows []action
	for _, r := range s.rows(now) {
		if r.MetaData != nil || r.Protocol != nil {
			rows = append(rows, action{MetaData: r.MetaData, Protocol: r.Protocol})
		}
	}
	given := &add{Path: "f", PartitionValues: map[string]*string{"p": &day}, Size: 7}
	given.Parsed.Day, given.Stats.NumRecords = 20_000, 12
	given.Stats.MinValues.Key, given.Stats.MinValues.Value, given.Stats.MinValues.Name = 99, 1.5, "a name"
	rows = append(rows, action{Add: given})
	if err := table.Store.Write(t.Context(), table.checkpoint(0), func(w io.Writer) error {
		out := parquet.NewGenericWriter[action](w)
		_, err := out.Write(rows)
		return errors.Join(err, out.Close())
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, table.commit(0))); err != nil {
		t.Fatal(err)
	}
	read, err := table.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f, is := read.Files["f"]
	if !is || len(f.PartitionValues) != 1 || *f.PartitionValues["p"] != day || f.Size != 7 || len(f.Tags) != 0 ||
		!reflect.DeepEqual(read.Metadata.PartitionColumns, s.Metadata.PartitionColumns) {
		t.Errorf("%+v", read)
	}
}

// Checkpoints of the second form, whose files with more of them are elsewhere, are the
// log before them, whether they are JSON or Parquet, and whatever their name.
func TestTable_ACheckpointOfTheSecondFormIsRead(t *testing.T) {
	const id = "80a083e8-7026-4e79-81be-64bd76c43a11"
	for _, name := range []string{id + ".json", id + ".parquet", "parquet"} {
		dir := t.TempDir()
		table, now := at(t, dir), time.Now()
		c, four := made(t, now), int32(4)
		c.Txns = []Txn{{"w", 7, now.UnixMilli()}}
		c.Add = []Add{{Path: "f", Stats: `{"numRecords":1}`}, {Path: "h", Stats: "{}", DeletionVector: specVector()},
			{Path: "g", Stats: `{"numRecords":9}`, DeletionVector: &Vector{"u", "^-aqEH.-t@S}K{vb[*k^", &four, 40, 6}}}
		was, err := table.Commit(t.Context(), empty(), c)
		if err != nil {
			t.Fatal(err)
		}
		var here, elsewhere []row
		for _, r := range was.rows(now) {
			if r.Add != nil {
				elsewhere = append(elsewhere, r)
			} else {
				here = append(here, r)
			}
		}
		write := func(name string, rows []row) error {
			return table.Store.Write(t.Context(), table.log()+"/"+name, func(w io.Writer) error {
				out := parquet.NewGenericWriter[row](w)
				_, err := out.Write(rows)
				return errors.Join(err, out.Close())
			})
		}
		err = errors.Join(write("_sidecars/one.parquet", elsewhere[:1]), write("_sidecars/t%20wo.parquet", elsewhere[1:]))
		base, parts := fmt.Sprintf("%020d.checkpoint.", 0), []sidecar{}
		for _, name := range []string{"one.parquet", "t%20wo.parquet"} {
			file, told := os.Stat(filepath.Join(dir, table.log(), "_sidecars", name))
			if err = errors.Join(err, told); err != nil {
				t.Fatal(err)
			}
			parts = append(parts, sidecar{Path(name), file.Size()})
		}
		err = errors.Join(err, writeSecond(t, table, base+name, here, parts))
		if err = errors.Join(err, os.Remove(filepath.Join(dir, table.commit(0)))); err != nil {
			t.Fatal(err)
		}
		read, err := table.Read(t.Context(), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		read.Checkpoint = was.Checkpoint
		for name, f := range was.Files {
			f.DataChange = false
			if f.PartitionValues == nil {
				f.PartitionValues = map[string]*string{}
			}
			f.Tags = map[string]string{}
			was.Files[name] = f
		}
		if !reflect.DeepEqual(read, was) {
			t.Errorf("%s is read as\n%+v\nand was\n%+v", name, read, was)
		}
	}
}

// writeSecond writes a checkpoint of the second form.
func writeSecond(t *testing.T, table Table, name string, here []row, parts []sidecar) error {
	type rowSidecar struct {
		Path string `parquet:"path"`
		Size int64  `parquet:"sizeInBytes"`
	}
	type second struct {
		row
		Sidecar *rowSidecar `parquet:"sidecar"`
	}
	return table.Store.Write(t.Context(), table.log()+"/"+name, func(w io.Writer) error {
		if filepath.Ext(name) == ".json" {
			out := json.NewEncoder(w)
			var err error
			for _, r := range here {
				a := action{}
				switch {
				case r.Protocol != nil:
					p := r.Protocol
					a.Protocol = &Protocol{int(p.MinReaderVersion), int(p.MinWriterVersion), p.ReaderFeatures, p.WriterFeatures}
				case r.MetaData != nil:
					m := r.MetaData
					a.MetaData = &Metadata{ID: m.ID, Format: Format{m.Format.Provider, m.Format.Options},
						SchemaString: m.SchemaString, PartitionColumns: m.PartitionColumns, Configuration: m.Configuration,
						CreatedTime: *m.CreatedTime}
				case r.Txn != nil:
					a.Txn = &Txn{r.Txn.AppID, r.Txn.Version, *r.Txn.LastUpdated}
				}
				err = errors.Join(err, out.Encode(a))
			}
			for _, one := range parts {
				err = errors.Join(err, out.Encode(action{Sidecar: &one}))
			}
			_, told := io.WriteString(w, `{"checkpointMetadata":{"version":0}}`)
			return errors.Join(err, told)
		}
		out := parquet.NewGenericWriter[second](w)
		var all []second
		for _, r := range here {
			all = append(all, second{row: r})
		}
		for _, one := range parts {
			all = append(all, second{Sidecar: &rowSidecar{one.Path, one.Size}})
		}
		_, err := out.Write(all)
		return errors.Join(err, out.Close())
	})
}
