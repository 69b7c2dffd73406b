package etl

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
)

// readByEngine reads a table by delta-rs through its query engine, which knows
// vectors and mapped columns.
const readByEngine = `
import sys, json
from deltalake import DeltaTable, QueryBuilder
t = QueryBuilder().register("t", DeltaTable(sys.argv[1])).execute("select * from t").read_all()
import pyarrow as pa
print("\n".join(sorted(json.dumps(list(r.values()), default=str, ensure_ascii=False) for r in pa.table(t).to_pylist())))
`

// commitOf appends a version of another writer, one action a line.
func commitOf(t *testing.T, dir string, version int, lines ...string) {
	t.Helper()
	file := filepath.Join(dir, fmt.Sprintf("shop/t/_delta_log/%020d.json", version))
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// actionsOf are the actions of a version, by what they are.
func actionsOf(t *testing.T, dir string, version int) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, line := range lines(t, []string{filepath.Join(dir, fmt.Sprintf("shop/t/_delta_log/%020d.json", version))}) {
		var a map[string]map[string]any
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		maps.Copy(all, a)
	}
	return all
}

func asJSON(t *testing.T, name string, v any) string {
	t.Helper()
	raw, err := json.Marshal(map[string]any{name: v})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func idList(rows []row) (ids []string) {
	for _, r := range rows {
		ids = append(ids, r[0].text)
	}
	slices.Sort(ids)
	return ids
}

// Rows that another writer took away by a deletion vector are not read, neither from
// versions nor from a checkpoint of ours, and neither a merge nor a compaction brings
// them back.
func TestDelta_RowsOfAVectorStayAway(t *testing.T) {
	dir, o := t.TempDir(), options(t)
	table := filepath.Join(dir, "shop/t")
	runs(t, toDelta(t, dir, "p", appends, idAndText(), numberedRows(0, 29)), o)
	made := actionsOf(t, dir, 0)
	made["metaData"]["configuration"] = map[string]string{"delta.checkpointInterval": "1"}
	gone := map[string]any{"path": made["add"]["path"], "deletionTimestamp": time.Now().UnixMilli(), "dataChange": true}
	made["add"]["deletionVector"] = map[string]any{"storageType": "i", "sizeInBytes": 44, "cardinality": 6,
		"pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"} // 3, 4, 7, 11, 18, 29
	commitOf(t, dir, 1, `{"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
		"writerFeatures": ["deletionVectors"]}}`, asJSON(t, "metaData", made["metaData"]), asJSON(t, "add", made["add"]),
		asJSON(t, "remove", gone)) // the add first: they are of one moment
	want := idList(numberedRows(0, 29))
	want = slices.DeleteFunc(want, func(id string) bool {
		return slices.Contains([]string{"3", "4", "7", "11", "18", "29"}, id)
	})
	check := func(what string) {
		t.Helper()
		slices.Sort(want)
		if got := idList(rowsOfDelta(t, dir, "shop/t")); !slices.Equal(got, want) {
			t.Fatalf("%s: we read %v, want %v", what, got, want)
		}
		var theirs []string
		for line := range strings.Lines(python(t, readByEngine, table)) {
			theirs = append(theirs, strings.TrimPrefix(strings.Split(strings.TrimSpace(line), ",")[0], "["))
		}
		if slices.Sort(theirs); !slices.Equal(theirs, want) {
			t.Fatalf("%s: delta-rs reads %v, want %v", what, theirs, want)
		}
	}
	check("as it came")

	runs(t, toDelta(t, dir, "p", appends, idAndText(), numberedRows(30, 31)), o)
	want = append(want, "30", "31")
	for _, n := range []int{0, 1, 2} { // the checkpoint of 2 stands for them
		if err := os.Remove(filepath.Join(table, fmt.Sprintf("_delta_log/%020d.json", n))); err != nil {
			t.Fatal(err)
		}
	}
	check("from a checkpoint")

	o.TakeOver = true
	rows := append(numberedRows(3, 3), numberedRows(5, 5)...)
	runs(t, toDelta(t, dir, "m", `"mode": "merge", "key": ["id"]`, idAndText(), rows), o)
	want = append(want, "3")
	check("merged")

	if got := compacts(t, toDelta(t, dir, "p", appends, idAndText(), nil), time.Now()); got.Into != 1 {
		t.Errorf("%+v", got)
	}
	check("compacted")
}

// One vector that cannot be trusted ends a run, and says so.
func TestDelta_AVectorThatIsDamagedIsToldAndFinal(t *testing.T) {
	dir := t.TempDir()
	runs(t, toDelta(t, dir, "p", appends, idAndText(), numberedRows(0, 5)), options(t))
	made := actionsOf(t, dir, 0)
	made["add"]["deletionVector"] = map[string]any{"storageType": "i", "sizeInBytes": 44, "cardinality": 6,
		"pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"}
	commitOf(t, dir, 1, `{"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
		"writerFeatures": ["deletionVectors"]}}`, asJSON(t, "add", made["add"]), asJSON(t, "remove", map[string]any{
		"path": made["add"]["path"], "dataChange": true}))
	p, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": "back", "source": {"type": "delta",
		"url": "file://%s", "table": "shop/t"}, "sinks": [{"format": "csv", "url": "file://out", "object": "x"}]}`, dir)})
	if err == nil {
		_, err = p.Run(t.Context(), options(t))
	}
	if !Final(err) || !strings.Contains(err.Error(), "its deletion vector is damaged") {
		t.Error(err)
	}
}

// mappedTable makes a table whose columns are called otherwise in its files, found by
// their names or by their ids, where the files may call them in yet another way.
const mappedTable = `
import sys, json, os, pyarrow as pa, pyarrow.parquet as pq
table, mode, named = sys.argv[1:]
os.makedirs(table + "/_delta_log")
def field(name, of, id): return pa.field(name, of, metadata={"PARQUET:field_id": str(id)})
shown = [named + "-1", named + "-2"]
def file(name, schema, rows): pq.write_table(pa.Table.from_pylist(rows, schema=schema), table + "/" + name)
file("a", pa.schema([field(shown[1], pa.string(), 2), field(shown[0], pa.int32(), 1), field("old", pa.int32(), 9)]),
    [{shown[0]: 1, shown[1]: "é", "old": 7}, {shown[0]: 2, shown[1]: None, "old": 8}])
file("b", pa.schema([field(shown[0], pa.int32(), 1)]), [{shown[0]: 3}])
def column(name, of, id): return {"name": name, "type": of, "nullable": True,
    "metadata": {"delta.columnMapping.id": id, "delta.columnMapping.physicalName": "col-%d" % id}}
schema = {"type": "struct", "fields": [column("a number", "integer", 1), column("t;x", "string", 2), column("day", "date", 3)]}
def add(name, day): return {"add": {"path": name, "partitionValues": {"col-3": day}, "dataChange": True,
    "size": os.path.getsize(table + "/" + name), "modificationTime": 1764000000000}}
with open(table + "/_delta_log/%020d.json" % 0, "w") as out:
    for a in [{"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}},
        {"metaData": {"id": "x", "format": {"provider": "parquet", "options": {}}, "schemaString": json.dumps(schema),
            "partitionColumns": ["day"], "configuration": {"delta.columnMapping.mode": mode,
            "delta.columnMapping.maxColumnId": "3"}}}, add("a", "2026-11-28"), add("b", None)]:
        out.write(json.dumps(a) + "\n")
`

// Columns that are mapped are read and written under the names that the table shows,
// as another engine has them.
func TestDelta_MappedColumnsAreThoseOfTheTable(t *testing.T) {
	for _, c := range []struct{ mode, named string }{{"name", "col"}, {"id", "col"}, {"id", "else"}} {
		mode, dir, o := c.mode, t.TempDir(), options(t)
		table := filepath.Join(dir, "shop/t")
		python(t, mappedTable, table, mode, c.named)
		check := func(what string, want ...string) {
			t.Helper()
			theirs := strings.Split(strings.TrimSpace(python(t, readByEngine, table)), "\n")
			if c.named == "col" && !slices.Equal(theirs, want) { // which goes by names even then
				t.Errorf("by %s, %s: delta-rs reads %v", mode, what, theirs)
			}
			var ours []string
			for _, r := range rowsOfDelta(t, dir, "shop/t") {
				shown := make([]string, len(r))
				for i, c := range r {
					switch {
					case c.null:
						shown[i] = "null"
					case i == 0:
						shown[i] = c.text
					default:
						shown[i] = strconv.Quote(c.text)
					}
				}
				ours = append(ours, "["+strings.Join(shown, ", ")+"]")
			}
			if slices.Sort(ours); !slices.Equal(ours, want) {
				t.Errorf("by %s, %s: we read %v", mode, what, ours)
			}
		}
		one, two, three := `[1, "é", "2026-11-28"]`, `[2, null, "2026-11-28"]`, `[3, null, null]`
		check("as it came", one, two, three)
		columns := columns(column{"day", columnType{kind: kindDate}}, column{"t;x", columnType{kind: kindText}},
			column{"a number", columnType{kind: kindInt32}})
		runs(t, toDelta(t, dir, "p", appends, columns, []row{{{text: "2026-11-28"}, {text: "new"}, {text: "4"}}}), o)
		four := `[4, "new", "2026-11-28"]`
		check("appended to", one, two, three, four)
		if got := compacts(t, toDelta(t, dir, "p", appends, columns, nil), time.Now()); got.Into != 1 {
			t.Errorf("%+v", got)
		}
		check("compacted", one, two, three, four)
		o.TakeOver = true
		runs(t, toDelta(t, dir, "m", `"mode": "merge", "key": ["a number"]`, columns,
			[]row{{{null: true}, {text: "other"}, {text: "1"}}}), o)
		check("merged", `[1, "other", null]`, two, three, four)
	}
}

// oldTimes makes a table whose times are INT96, and whose partitions are times.
const oldTimes = `
import sys, json, os, pyarrow as pa, pyarrow.parquet as pq
table = sys.argv[1]
os.makedirs(table + "/_delta_log")
def micros(n): return pa.table({"at": pa.array([n, None], pa.timestamp("us", "UTC"))})
pq.write_table(micros(1764300000123456), table + "/a", use_deprecated_int96_timestamps=True)
pq.write_table(micros(-2208988800000000), table + "/b", use_deprecated_int96_timestamps=True)
fields = [{"name": n, "type": t, "nullable": True, "metadata": {}} for n, t in [("at", "timestamp"), ("p", "timestamp_ntz")]]
features = {"readerFeatures": ["timestampNtz"], "writerFeatures": ["timestampNtz"]}
def add(name, p): return {"add": {"path": name, "partitionValues": {"p": p}, "dataChange": True, "modificationTime": 1,
    "size": os.path.getsize(table + "/" + name)}}
with open(table + "/_delta_log/%020d.json" % 0, "w") as out:
    for a in [{"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}}, {"metaData": {"id": "x",
        "format": {"provider": "parquet", "options": {}}, "partitionColumns": ["p"], "configuration": {},
        "schemaString": json.dumps({"type": "struct", "fields": fields})}},
        add("a", "2026-11-28 01:02:03"), add("b", "2026-11-28 01:02:03.000004")]:
        out.write(json.dumps(a) + "\n")
`

func TestDelta_TimesOfOlderEnginesAreExact(t *testing.T) {
	dir := t.TempDir()
	python(t, oldTimes, filepath.Join(dir, "shop/t"))
	want := []string{"[{2025-11-28T03:20:00.123456Z false} {2026-11-28T01:02:03 false}]",
		"[{ true} {2026-11-28T01:02:03 false}]",
		"[{1900-01-01T00:00:00Z false} {2026-11-28T01:02:03.000004 false}]",
		"[{ true} {2026-11-28T01:02:03.000004 false}]"}
	var ours []string
	for _, r := range rowsOfDelta(t, dir, "shop/t") {
		ours = append(ours, fmt.Sprint(r))
	}
	if !slices.Equal(ours, want) {
		t.Errorf("we read %v", ours)
	}
	at := column{"at", columnType{kind: kindTimestampTZ}}
	zoned := "2026-11-28T01:02:03.5Z"
	for given, want := range map[string]string{zoned: zoned, "2026-11-28 01:02:03": ""} {
		if got, err := partitionCell(at, &given); got.text != want || (err == nil) != (want != "") {
			t.Errorf("%s: %v, %v", given, got, err)
		}
	}
	if _, err := int96Time(parquet.Int96Value(deprecated.Int96{0, 0, 2_415_020})); err == nil {
		t.Error("a day of 1899 is taken")
	}
}
