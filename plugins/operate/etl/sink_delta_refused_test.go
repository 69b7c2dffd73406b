package etl

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// foreign is a table of another writer, with a column id, without rows.
type foreign struct {
	protocol   string // "": 2 and 6, with which no feature is named
	of         string // the type, as JSON
	properties string // of the table
	metadata   string // of the column
	never      bool   // null
}

func (f foreign) write(t *testing.T, dir string) {
	t.Helper()
	or := func(given, instead string) string {
		if given == "" {
			return instead
		}
		return given
	}
	schema, err := json.Marshal(fmt.Sprintf(`{"type": "struct", "fields": [{"name": "id", "type": %s, "nullable": %t,
		"metadata": {%s}}]}`, or(f.of, `"integer"`), !f.never, f.metadata))
	if err != nil {
		t.Fatal(err)
	}
	log := fmt.Sprintf(`{"protocol": {%s}}
		{"metaData": {"id": "x", "format": {"provider": "parquet", "options": {}}, "schemaString": %s, "partitionColumns": [],
		"configuration": {%s}}}`, or(f.protocol, `"minReaderVersion": 2, "minWriterVersion": 6`), schema, f.properties)
	file := filepath.Join(dir, "shop/t/_delta_log/00000000000000000000.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a table does not hold, and what we do not know of it, is refused by name, and
// the table stays as it was.
func TestDelta_IsRefusedByName(t *testing.T) {
	typed := func(name string, k kind) column { return column{name, columnType{kind: k}} }
	id, text := typed("id", kindInt32), typed("x", kindText)
	features := func(readers, writers string) *foreign {
		return &foreign{protocol: fmt.Sprintf(`"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": [%s],
			"writerFeatures": [%s]`, readers, writers)}
	}
	for _, c := range []struct {
		says    string // "": it is taken
		table   *foreign
		columns []column // nil: id
		more    string   // "": append
		null    bool
	}{
		{says: "", table: &foreign{}},
		{says: "", table: &foreign{of: `"long"`}},
		{says: "", table: features(``, `"appendOnly", "invariants", "columnMapping"`)},
		{says: `column "id": the table takes no null`, table: &foreign{never: true}, null: true},
		{says: `column "id" of the table is never null, and the run has none`, table: &foreign{never: true},
			columns: columns(text)},
		{says: `column "id": the table has it as integer, which does not hold every int64: long does`, table: &foreign{},
			columns: columns(typed("id", kindInt64))},
		{says: `column "id": the table has it as array<>`, table: &foreign{of: `{"type": "array", "elementType": "long"}`}},
		{says: `column "x": the table has none of that name`, table: &foreign{}, columns: columns(text)},
		{says: `the feature changeDataFeed`, table: &foreign{properties: `"delta.enableChangeDataFeed": "true"`}},
		{says: `column "id" has no name or no id for the files`,
			table: &foreign{properties: `"delta.columnMapping.mode": "name"`}},
		{says: `the feature columnMapping by other`, table: &foreign{properties: `"delta.columnMapping.mode": "other"`}},
		{says: `the feature checkConstraints`, table: &foreign{properties: `"delta.constraints.c": "id > 1"`}},
		{says: `the feature invariants of column "id"`, table: &foreign{metadata: `"delta.invariants": "{}"`}},
		{says: `the feature generatedColumns of column "id"`, table: &foreign{metadata: `"delta.generationExpression": "1"`}},
		{says: `the feature identityColumns of column "id"`, table: &foreign{metadata: `"delta.identity.start": 1`}},
		{says: `only appended to`, table: &foreign{properties: `"delta.appendOnly": "true"`}, more: replaces},
		{says: `the feature rowTracking`, table: features(``, `"rowTracking"`)},
		{says: "", table: features(`"deletionVectors", "v2Checkpoint"`, `"deletionVectors", "v2Checkpoint"`)},
		{says: `the feature typeWidening`, table: features(`"typeWidening"`, `"typeWidening"`)},
		{says: `version 4 of the readers`, table: &foreign{protocol: `"minReaderVersion": 4, "minWriterVersion": 7`}},
		{says: `version 8 of the writers`, table: &foreign{protocol: `"minReaderVersion": 1, "minWriterVersion": 8`}},
		{says: `partitioned by nothing, and not by x`, table: &foreign{}, more: appends + `, "partition_by": ["x"]`},
		{says: `column "a b": Delta Lake has no blank`, columns: columns(typed("a b", kindInt32))},
		{says: `columns "A" and "a": Delta Lake has them as one`,
			columns: columns(typed("A", kindInt32), typed("a", kindInt32))},
		{says: `column "f" is float64, by which no table is partitioned`, columns: columns(id, typed("f", kindFloat64)),
			more: appends + `, "partition_by": ["f"]`},
		{says: `partitioned by all of its columns`, more: appends + `, "partition_by": ["id"]`},
		{says: `column "x": a partition of the empty text is one of null`, columns: columns(id, text),
			more: appends + `, "partition_by": ["x"]`},
	} {
		dir := t.TempDir()
		if c.table != nil {
			c.table.write(t, dir)
		}
		if c.columns == nil {
			c.columns = columns(id)
		}
		if c.more == "" {
			c.more = appends
		}
		one := make(row, len(c.columns))
		if one[0] = (cell{text: "1"}); c.null {
			one[0] = cell{null: true}
		}
		_, err := toDelta(t, dir, "p", c.more, c.columns, []row{one}).Run(t.Context(), options(t))
		if c.says == "" && err != nil || c.says != "" && (!Final(err) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%v, want %s", err, c.says)
		}
		logs, _ := filepath.Glob(filepath.Join(dir, "shop/t/_delta_log/*.json"))
		if there := len(logs); c.says != "" && there != map[bool]int{true: 1}[c.table != nil] || c.says == "" && there != 2 {
			t.Errorf("%s: there is %v", c.says, logs)
		}
	}
}

func columns(all ...column) []column { return all }
