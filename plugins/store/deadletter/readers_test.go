package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"path"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle/expire"
	"weir/internal/platform/storeurl"
	"weir/plugins/store/lake"
	"weir/tests/integration/require"
)

// oldObjects writes dead letters in the format of an older weir: in folders stage=, without the
// columns that were added later. Each is in its own object.
func oldObjects(t *testing.T, url string, n int) {
	t.Helper()
	store, err := lake.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	all := reflect.TypeFor[layout]()
	var fields []reflect.StructField
	for i := range all.NumField() {
		if i < colOriginalSize {
			fields = append(fields, all.Field(i))
		}
	}
	old := *Table()
	old.Schema = parquet.NewSchema("dead_letter", parquet.SchemaOf(reflect.New(reflect.StructOf(fields)).Interface()))
	for i := range n {
		at := someTime.Add(time.Duration(i) * time.Second)
		c := event.Coordinates{Topic: "raw-events", Offset: int64(1000 + i)}
		r, err := NewEnvelope(Failure{Stage: "raw", Fleet: "old", Record: &c, FailedAt: at,
			Original:  []byte(`{"device_id":"d"}`),
			Rejection: event.Reject(event.CodeInvalidEvent, "", "x")}).row()
		if err != nil {
			t.Fatal(err)
		}
		var covers lake.Collector
		r.cover(&covers)
		coverage := covers.Coverage()
		body, err := old.Encode(1, lake.Options{}, &coverage, columns([]*Row{r}))
		if err != nil {
			t.Fatal(err)
		}
		name := lake.NewName(path.Join(lake.DateFolder(at), stageFolder+"=raw"), at, at, at)
		if err := store.PutBytes(t.Context(), name.Path(), body); err != nil {
			t.Fatal(err)
		}
	}
}

// Objects of an older weir are read together with new ones, and compaction merges them.
func TestScan_ReadsFoldersAndObjectsOfAnOlderWeir(t *testing.T) {
	url := lake.FileURL(t.TempDir())
	oldObjects(t, url, 24)
	kept(t, url, someTime, someTime.Add(time.Minute))
	store, err := lake.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	count := func(q Query) (n int) {
		t.Helper()
		if err := Scan(t.Context(), store, q, func(r *Row) error {
			n++
			if r.Cut() != "" || r.Stage != "raw" {
				t.Errorf("%+v", r)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, when := range []string{"before", "after"} {
		if n, none := count(Query{Stages: []string{"raw"}}), count(Query{Stages: []string{"rollup"}}); n != 26 || none != 0 {
			t.Errorf("%d and %d dead letters %s compaction", n, none, when)
		}
		if n := count(Query{Fleet: "old"}); n != 24 {
			t.Errorf("%d old dead letters %s compaction", n, when)
		}
		if r := maintained(t, url, expire.Pass{Now: someTime.Add(48 * time.Hour)}); when == "before" && r.Merged < 20 {
			t.Errorf("%+v", r)
		}
	}
}

// Arrow (and so pandas) and DuckDB read the folder as one data set.
func TestOthers_ReadTheFolderAsADataSet(t *testing.T) {
	interpreter := require.Python(t, "../../..")
	dir := t.TempDir()
	o := kept(t, storeurl.New("file", dir), someTime, someTime.Add(time.Minute), someTime.AddDate(0, 0, 1))
	var batch service.MessageBatch
	for i, f := range failures() { // with other stages, and with empty fields
		batch = append(batch, message(1, i, mustJSON(t, NewEnvelope(f))))
	}
	if err := o.WriteBatch(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(interpreter, "../../../tests/integration/dataset_check.py",
		dir).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("%s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var seen struct {
		Rows      int
		Made      []string
		PerFolder map[string]int `json:"per_folder"`
	}
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"failed_in=raw": 4, "failed_in=ingest": 2, "failed_in=rollup": 1}; seen.Rows != 7 ||
		!slices.Equal(seen.Made, []string{"date", "failed_in"}) || !reflect.DeepEqual(seen.PerFolder, want) {
		t.Errorf("pyarrow and DuckDB read %s", out)
	}
}
