package etl

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // functions of mappings

	"weir/internal/platform/schemadoc"
)

// folder writes files and returns where they are.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func loaded(t testing.TB, files map[string]string) (*Pipeline, error) {
	t.Helper()
	return Load(filepath.Join(folder(t, files), "p.json"))
}

const right = `{"$schema": "x", "name": "orders",
	"source": {"type": "csv", "path": "o.csv", "columns": [{"name": "id", "type": "int64"}, {"name": "a", "type": "text"}]},
	"steps": [{"filter": "this.id > 1"}, {"derive": {"column": "b", "type": "decimal(9,2)", "mapping": "this.id"}},
		{"rename": {"a": "c"}}, {"validate": {"column": "c", "not_null": true, "pattern": "^x", "on_failure": "reject"}},
		{"select": ["c", "b"]}],
	"sinks": [{"format": "parquet", "url": "file://out", "object": "o.parquet"}],
	"rejects": {"url": "s3://bucket?region=x", "object": "r.ndjson"}}`

func TestPipeline_WhatIsWrongIsNamedWithItsPlace(t *testing.T) {
	if _, err := loaded(t, map[string]string{"p.json": "\ufeff" + right}); err != nil {
		t.Fatal(err)
	}
	instead := func(a, b string) string {
		t.Helper()
		if !strings.Contains(right, a) {
			t.Fatalf("%s is not there", a)
		}
		return strings.Replace(right, a, b, 1)
	}
	for says, text := range map[string]string{
		"p.json: line 2: it is not JSON":                                 "{\n\"a\": }",
		"p.json: it is not UTF-8":                                        "{\"a\xff\": 1}",
		"p.json: something follows":                                      "{} {}",
		"p.json: expected an object":                                     "[]",
		"p.json: \"name\" is missing":                                    instead(`"name": "orders",`, ""),
		"p.json: /name: expected small letters":                          instead(`"orders"`, `"Orders"`),
		"p.json: /name: the name stands twice":                           instead(`"name"`, `"name": "x", "name"`),
		"p.json: /sourc: there is no such field":                         instead(`"source"`, `"sourc"`),
		"p.json: \"source\" is missing":                                  instead(`"source"`, `"sourc"`),
		"p.json: /source/type: expected one of":                          instead(`"csv"`, `"oracle"`),
		"p.json: /source/columns/0/type: \"int65\" is no type":           instead("int64", "int65"),
		"p.json: /source/changes: the columns are named here":            instead(`"csv",`, `"csv", "changes": "additions",`),
		"p.json: /source/columns/1: column \"id\" stands twice":          instead(`"name": "a"`, `"name": "id"`),
		"p.json: /steps/0/filter: it is no Bloblang":                     instead("this.id > 1", "this.id >"),
		"that sees the row alone":                                        instead("this.id > 1", `env(\"HOME\") == \"x\"`),
		"p.json: /steps/0: expected one of filter":                       instead(`{"filter": "this.id > 1"}`, `{}`),
		"p.json: /steps/0/fliter: there is no such step":                 instead(`"filter"`, `"fliter"`),
		"p.json: /steps/1/derive/type: \"decimal(2,9)\": a decimal has":  instead("decimal(9,2)", "decimal(2,9)"),
		"p.json: /steps/2: there is no column \"x\" here: there are id,": instead(`{"a": "c"}`, `{"x": "c"}`),
		"p.json: /steps/2: two columns would be named \"b\"":             instead(`{"a": "c"}`, `{"a": "b"}`),
		"p.json: /steps/3/validate: it asks for nothing":                 instead(`"not_null": true, "pattern": "^x",`, ``),
		"p.json: /steps/3: column \"b\" is decimal(9,2): a pattern is":   instead(`"column": "c"`, `"column": "b"`),
		"p.json: /steps/3/validate/pattern: error parsing":               instead(`"^x"`, `"["`),
		"p.json: /steps/4: there is no column \"d\"":                     instead(`["c", "b"]`, `["c", "d"]`),
		"p.json: \"rejects\" is missing":                                 instead(`"rejects"`, `"description"`),
		"p.json: /sinks/0/url: expected a URL that begins":               instead("file://out", "ftp://out"),
		"p.json: /sinks/0/object: expected the name of an object":        instead("o.parquet", "../o.parquet"),
		"p.json: /rejects/url: ":                                         instead("?region=x", "?regoin=x"),
		"p.json: /block: expected a whole number of 1 to 100000":         instead(`"name"`, `"block": 0, "name"`),
	} {
		_, err := loaded(t, map[string]string{"p.json": text})
		var wrong *ProblemsError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), says) {
			t.Errorf("want %s, got %v", says, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "p.json")); err == nil || errors.As(err, new(*ProblemsError)) {
		t.Errorf("a file that is not there: %v", err)
	}
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	if _, err := loaded(t, map[string]string{"p.json": deep}); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("a file that nests: %v", err)
	}
}

func TestReference_IsMergedAndNeverLeavesTheFolder(t *testing.T) {
	p, err := loaded(t, map[string]string{
		"p.json": `{"$ref": "shared/base.json", "name": "orders", "source": {"path": "other.csv"}}`,
		"shared/base.json": `{"name": "base", "source": {"$ref": "../sources.json#/all/0", "type": "csv"},
			"sinks": [{"url": "file://out", "object": "a.csv", "format": "csv"}], "steps": [{"$ref": "#/x~1y"}], "x/y": {}}`,
		"sources.json": `{"all": [{"path": "x.csv", "columns": [{"name": "id", "type": "int64"}]}]}`,
	})
	if err == nil || !strings.Contains(err.Error(), "shared/base.json: /x~1y: there is no such field") {
		t.Errorf("%v, %v", p, err)
	}
	p, err = loaded(t, map[string]string{
		"p.json": `{"$ref": "shared/base.json", "name": "orders", "source": {"path": "other.csv"}}`,
		"shared/base.json": `{"name": "base", "source": {"$ref": "../sources.json#/all/0", "type": "csv"},
			"sinks": [{"url": "file://out", "object": "a.csv", "format": "csv"}]}`,
		"sources.json": `{"all": [{"path": "x.csv", "columns": [{"name": "id", "type": "int64"}]}]}`,
	})
	if err != nil || p.Name != "orders" || p.source.describe() != "csv file other.csv" || len(p.columns) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	for says, files := range map[string]map[string]string{
		"b.json: /$ref: references go in a circle: a.json → b.json → a.json": {"p.json": `{"$ref": "a.json"}`,
			"a.json": `{"x": {"$ref": "b.json"}}`, "b.json": `{"$ref": "a.json"}`},
		"references go in a circle: p.json#/a → p.json#/a":      {"p.json": `{"b": {"$ref": "#/a"}, "a": {"$ref": "#/a"}}`},
		"p.json: /$ref: ../x.json leads out of the folder":      {"p.json": `{"$ref": "../x.json"}`},
		"p.json: /$ref: /etc/passwd leads out of the folder":    {"p.json": `{"$ref": "/etc/passwd"}`},
		"p.json: /$ref: there is no file gone.json":             {"p.json": `{"$ref": "gone.json"}`},
		"p.json: /$ref: a.json#/x/1: there is nothing at \"1\"": {"p.json": `{"$ref": "a.json#/x/1"}`, "a.json": `{"x": [0]}`},
		"p.json: /$ref: expected FILE":                          {"p.json": `{"$ref": 1}`},
		"a.json: /x: the name stands twice":                     {"p.json": `{"$ref": "a.json"}`, "a.json": `{"x": 1, "x": 2}`},
		"p.json: /x/$ref: what stands beside a $ref goes over an": {"p.json": `{"x": {"$ref": "a.json", "x": 1}}`,
			"a.json": "[]"},
	} {
		if _, err := loaded(t, files); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %s, got %v", says, err)
		}
	}
	dir := folder(t, map[string]string{"in/p.json": `{"$ref": "link.json"}`, "secret.json": right})
	if err := os.Symlink("../secret.json", filepath.Join(dir, "in", "link.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(filepath.Join(dir, "in", "p.json")); err == nil ||
		!strings.Contains(err.Error(), "/$ref: reading link.json") {
		t.Errorf("a link that leads out: %v", err)
	}
}

const fromPostgres = `{"name": "p", "source": {"type": "postgres", "host": "h", "database": "d", "user": "u", "table": "t",
	"password": PASSWORD}, "sinks": [{"url": "file://out", "object": "a", "format": "csv"}]}`

func TestSecret_IsNeverWrittenIntoAPipeline(t *testing.T) {
	for secret, says := range map[string]string{
		`{"$vault": "secret/data/pg#password"}`: "", `{"$file": "/run/secrets/pg"}`: "",
		`"s3cret"`: "a secret is not written", `""`: "a secret is not written", `{"$env": "X"}`: "a secret is not written",
		`{"$vault": "secret/data/pg"}`:           "PATH#FIELD",
		`{"$vault": "a#b", "$file": "/x"}`:       "a secret is not written",
		`["s3cret"]`:                             "a secret is not written",
		`{"$vault": "a#b", "default": "s3cret"}`: "a secret is not written", `{"$vault": 1}`: "expected a text",
	} {
		_, err := loaded(t, map[string]string{"p.json": strings.Replace(fromPostgres, "PASSWORD", secret, 1)})
		if (err == nil) != (says == "") || err != nil && (!strings.Contains(err.Error(), says) ||
			!strings.Contains(err.Error(), "/source/password") || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: %v", secret, err)
		}
	}
	text := strings.Replace(right, "s3://bucket?", "s3://key:s3cret@bucket?", 1)
	if _, err := loaded(t, map[string]string{"p.json": text}); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("keys in a URL: %v", err)
	}
}

// The schema for editors says of a whole file what lint says, as far as a schema
// can.
func TestSchema_AgreesWithLint(t *testing.T) {
	s, err := schemadoc.Compile(Schema())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		right, strings.Replace(fromPostgres, "PASSWORD", `{"$vault": "a#b"}`, 1),
		strings.Replace(strings.Replace(fromPostgres, "PASSWORD", `{"$file": "a"}, "ca": "x", "zero_dates": "null"`, 1), "postgres",
			"mysql", 1), strings.Replace(fromPostgres, "PASSWORD", `{"$file": "a"}, "zero_dates": "0"`, 1),
		strings.Replace(fromPostgres, "PASSWORD", `"s3cret"`, 1), strings.Replace(right, `"name"`, `"nmae"`, 1),
		strings.Replace(right, "int64", "int65", 1), strings.Replace(right, `"filter"`, `"fliter"`, 1),
		strings.Replace(right, `"reject"`, `"ignore"`, 1), strings.Replace(right, `"parquet"`, `"orc"`, 1),
		strings.Replace(right, `"file://out"`, `"ftp://out"`, 1), strings.Replace(right, `"csv"`, `"oracle"`, 1),
		strings.Replace(right, `"sinks"`, `"tests": [{"name": "a", "rows": [], "expect": {"rows": []}}], "sinks"`, 1),
		strings.Replace(right, `"sinks"`, `"tests": [{"name": "a", "rows": 1, "expect": {"rows": []}}], "sinks"`, 1),
		strings.Replace(right, `"steps": [`, `"steps": [{"dedupe": {"by": ["id"]}}, {"unique": {"by": ["id"]}},
			{"aggregate": {"by": ["id"], "columns": [{"column": "a", "max": "a"}]}}, `, 1),
		strings.Replace(right, `"steps": [`, `"steps": [{"dedupe": {"by": []}}, `, 1),
		strings.Replace(right, `"steps": [`, `"steps": [{"derive": {"column": "j", "type": "json", "mapping": "[]"}},
			{"unnest": {"column": "j", "value": {"name": "v", "type": "text"}}}, `, 1),
		strings.Replace(right, `"steps": [`, `"steps": [{"unnest": {"column": 1}}, `, 1),
		strings.Replace(right, `"steps": [`, `"steps": [`+strings.Replace(strings.Replace(lookingUp, "ON", "null", 1),
			`"on": {"k": "k", "n": "n"}`, `"on": {"id": "n"}`, 1)+`, `, 1),
		strings.Replace(right, `"steps": [`, `"steps": [{"lookup": {"name": ""}}, `, 1),
		strings.Replace(right, `"steps": [`, `"steps": [{"check": {"min_rows": 1}},
			{"validate": {"column": "a", "one_of": ["x"]}}, `, 1), united,
		strings.Replace(right, `"steps": [`, `"steps": [{"check": {"min_rows": "1"}}, `, 1),
		strings.Replace(united, `"type": "csv"`, `"type": "sql"`, 1),
		strings.Replace(right, `"steps": [`, `"steps": [{"aggregate": {"columns": []}}, `, 1),
		`{"name": "a", "source": {"type": "parquet", "path": "a"}, "sinks": [{"url": "file://b", "object": "c", "format": "csv"}]}`,
		strings.Replace(right, `"sinks": [{`, `"sinks": [], "x": [{`, 1), fromREST,
		strings.Replace(fromREST, `"rows": "/x"`, `"rows": "x"`, 1), strings.Replace(fromREST, `"cursor"`, `"curser"`, 1), `[]`, `{}`, streaming,
		strings.Replace(streaming, `"b:1"`, `"b:1", "tls://c"`, 1), strings.Replace(streaming, `"stream"`, `"steam"`, 1),
		strings.Replace(streaming, `"headers"`, `"header"`, 1),
		strings.Replace(streaming, `"columns": [{"name": "id", "type": "int64"}]`, `"format": "avro", "schema_id": 1,
			"schema": {"type": "record", "name": "r", "fields": [{"name": "x", "type": "int"}]}`, 1),
		strings.Replace(streaming, `"format": "csv", "url": "file://o", "object": "x"`, `"format": "kafka", "brokers": ["b:1"],
			"topic": "o", "metadata": {"key": "k"}`, 1),
		changing, strings.Replace(changing, `"slot": "s"`, `"slot": "S"`, 1),
		strings.Replace(changing, `"apply"`, `"ignore"`, 1), strings.Replace(changing, `"operation"`, `"operator"`, 1),
	} {
		doc, err := schemadoc.Decode([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		_, lint := loaded(t, map[string]string{"p.json": text})
		if bySchema := s.Validate(doc); (bySchema == nil) != (lint == nil) {
			t.Errorf("%s\nby the schema: %v\nby lint: %v", text, bySchema, lint)
		}
	}
	var doc map[string]any
	if err := json.Unmarshal(Schema(), &doc); err != nil || doc["title"] == "" {
		t.Errorf("%v: %v", doc, err)
	}
}
