package etl

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/tests/integration/require"
)

// avroTypes are all types with their border values, as NDJSON has them.
const avroTypes = `{"id":9223372036854775807,"ok":true,"s":32767,"i":-2147483648,"f":0.1,"d":5e-324,"n":"-1234567890123456789012345678.0123456789","small":"-0.50","x":"é \"q\"","b":"AP8=","day":"9999-12-31","local":"9999-12-31T23:59:59.999999","at":"1969-12-31T23:59:59.5Z","u":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f"}
{"id":-9223372036854775808,"ok":false,"s":-32768,"i":2147483647,"f":"NaN","d":"-Infinity","n":"0.0000000001","small":"1.28","x":"","b":"","day":"0001-01-01","local":"0001-01-01T00:00:00","at":"0001-01-01T00:00:00.000001Z","u":"00000000-0000-0000-0000-000000000000"}
{"id":null,"ok":null,"s":null,"i":null,"f":null,"d":null,"n":null,"small":null,"x":null,"b":null,"day":null,"local":null,"at":null,"u":null}
`

const avroColumns = `[{"name": "id", "type": "int64"}, {"name": "ok", "type": "bool"}, {"name": "s", "type": "int16"},
	{"name": "i", "type": "int32"}, {"name": "f", "type": "float32"}, {"name": "d", "type": "float64"},
	{"name": "n", "type": "decimal(38,10)"}, {"name": "small", "type": "decimal(3,2)"}, {"name": "x", "type": "text"},
	{"name": "b", "type": "bytes"}, {"name": "day", "type": "date"}, {"name": "local", "type": "timestamp"},
	{"name": "at", "type": "timestamptz"}, {"name": "u", "type": "uuid"}]`

// toAvro writes the types into a file of Avro, over and over.
func toAvro(t *testing.T, times int) (p *Pipeline) {
	t.Helper()
	lines := strings.NewReplacer(`"f":"NaN"`, `"f":1e38`, `"d":"-Infinity"`, `"d":1e308`).Replace(avroTypes)
	p, err := loaded(t, map[string]string{"in.ndjson": strings.Repeat(lines, times), "p.json": `{"name": "to", "source":
		{"type": "ndjson", "path": "in.ndjson", "columns": ` + avroColumns + `}, "sinks": [{"format": "avro", "url": "file://out",
		"object": "a/1.avro"}, {"format": "ndjson", "url": "file://out", "object": "x"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ofAvro(t *testing.T, dir, where string) *Pipeline {
	t.Helper()
	p, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": "of", "block": 1000, "source": {"type": "avro", "url": "file://%s",
		%s}, "sinks": [{"format": "ndjson", "url": "file://out", "object": "x"}]}`, dir, where)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What is written is what is read, value by value, the same bytes each time; a run
// that was interrupted goes on within a file, behind the files before it.
func TestAvroFile_WhatIsWrittenIsRead(t *testing.T) {
	p := toAvro(t, 1500) // of several blocks
	o := options(t)
	runs(t, p, o)
	out := filepath.Join(p.dir, "out")
	first, err := os.ReadFile(filepath.Join(out, "a/1.avro"))
	if err != nil {
		t.Fatal(err)
	}
	runs(t, p, o)
	if again, err := os.ReadFile(filepath.Join(out, "a/1.avro")); err != nil || !bytes.Equal(first, again) {
		t.Errorf("another run writes other bytes: %v", err)
	}
	want := strings.ReplaceAll(contents(t, p)["x"], `"f":1e38`, `"f":1e+38`)
	back := ofAvro(t, out, `"object": "a/1.avro"`)
	runs(t, back, options(t))
	if got := contents(t, back)["x"]; got != want {
		t.Errorf("read %d bytes of %d: %.900s", len(got), len(want), got)
	}
	if err := os.WriteFile(filepath.Join(out, "a/2.avro"), first, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, after := range []int{1_150, 4_490, 5_610, 7_000} {
		folder, o := ofAvro(t, out, `"folder": "a"`), options(t)
		n := after
		folder.source = breaking{folder.source, &n, errors.New("the cable is out")}
		if _, err := folder.Run(t.Context(), o); err == nil {
			t.Fatal("it did not break")
		}
		on := false
		o.Tell = func(line string) { on = on || strings.HasPrefix(line, "going on with run") }
		r := runs(t, folder, o)
		if got := contents(t, folder)["x"]; !on || got != want+want || r.Counts.Read != 9_000 {
			t.Errorf("after %d: %d rows, went on: %t", after, r.Counts.Read, on)
		}
	}
	empty := toAvro(t, 0)
	runs(t, empty, options(t))
	back = ofAvro(t, filepath.Join(empty.dir, "out"), `"object": "a/1.avro"`)
	if r := runs(t, back, options(t)); r.Counts.Read != 0 {
		t.Errorf("%+v", r.Counts)
	}
}

const readByFastavro = `
import sys, fastavro
for path in sys.argv[1:]:
    with open(path, "rb") as f:
        for r in fastavro.reader(f): print({k: (str(v) if k in ("n", "small", "u", "day", "local", "at") else v) for k, v in r.items()})
`

const writtenByFastavro = `
import sys, fastavro, decimal, datetime as d
schema = {"type": "record", "name": "r", "namespace": "a.b", "fields": [
  {"name": "id", "type": "long"}, {"name": "s", "type": ["string", "null"]}, {"name": "e", "type": {"type": "enum", "name": "e", "symbols": ["x", "y"]}},
  {"name": "n", "type": {"type": "fixed", "name": "f", "size": 6, "logicalType": "decimal", "precision": 12, "scale": 3}},
  {"name": "ms", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}
for codec in ["null", "deflate"] + sys.argv[2:]:
    with open(sys.argv[1] + "/" + codec + ".avro", "wb") as f:
        fastavro.writer(f, schema, ({"id": i, "s": None if i % 3 else "é%d" % i, "e": "xy"[i % 2], "n": decimal.Decimal(-i) / 8,
            "ms": d.datetime(2026, 1, 1, tzinfo=d.timezone.utc) + d.timedelta(milliseconds=i)} for i in range(5000)), codec=codec, sync_interval=9000)
with open(sys.argv[1] + "/bad.avro", "wb") as f:
    fastavro.writer(f, {"type": "record", "name": "r", "fields": [{"name": "ok", "type": "int"}, {"name": "l", "type": {"type": "array", "items": "int"}},
        {"name": "t", "type": {"type": "int", "logicalType": "time-millis"}}, {"name": "u", "type": ["int", "string"]}]}, [])
`

// Another reader finds what was written, and what another writer has written is found.
func TestAvroFile_FastavroReadsAndWritesTheSame(t *testing.T) {
	python := require.Python(t, "../../..")
	p := toAvro(t, 1)
	runs(t, p, options(t))
	got, err := exec.Command(python, "-c", readByFastavro, filepath.Join(p.dir, "out/a/1.avro")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	for _, part := range []string{"'id': 9223372036854775807, 'ok': True, 's': 32767, 'i': -2147483648",
		"'n': '-1234567890123456789012345678.0123456789', 'small': '-0.50'", "'b': b'\\x00\\xff', 'day': '9999-12-31'",
		"'local': '9999-12-31 23:59:59.999999'", "'at': '1969-12-31 23:59:59.500000+00:00'", "'d': 5e-324",
		"'day': '0001-01-01'", "'at': '0001-01-01 00:00:00.000001+00:00'", "'small': '1.28'", "'id': None, 'ok': None"} {
		if !strings.Contains(string(got), part) {
			t.Errorf("fastavro does not read %s:\n%s", part, got)
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command(python, "-c", writtenByFastavro, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, codec := range []string{"null", "deflate"} {
		p := ofAvro(t, dir, fmt.Sprintf(`"object": %q`, codec+".avro"))
		runs(t, p, options(t))
		lines := strings.Split(strings.TrimSpace(contents(t, p)["x"]), "\n")
		if len(lines) != 5000 || lines[0] != `{"id":0,"s":"é0","e":"x","n":"0.000","ms":"2026-01-01T00:00:00Z"}` ||
			lines[4999] != `{"id":4999,"s":null,"e":"y","n":"-624.875","ms":"2026-01-01T00:00:04.999Z"}` {
			t.Errorf("%s: %d lines, %s, %s", codec, len(lines), lines[0], lines[len(lines)-1])
		}
	}
	_, err = ofAvro(t, dir, `"object": "bad.avro"`).Run(t.Context(), options(t))
	if !Final(err) || strings.Contains(err.Error(), `"ok"`) {
		t.Error(err)
	}
	for _, name := range []string{`"l"`, `"t"`, `"u"`} {
		if !strings.Contains(err.Error(), "("+name+")") {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}

// A file that is cut anywhere, or has another byte anywhere, is refused or read as it
// was, and nothing of it is to be seen.
func TestAvroFile_DamageIsRefused(t *testing.T) {
	p := toAvro(t, 100)
	runs(t, p, options(t))
	whole, err := os.ReadFile(filepath.Join(p.dir, "out/a/1.avro"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	read := func(raw []byte) error {
		if err := os.WriteFile(filepath.Join(dir, "x.avro"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := openAvro(bytes.NewReader(raw))
		for n := 0; err == nil; n++ {
			if _, err = file.next(); n > 1000 {
				t.Fatal("it has no end")
			}
		}
		return err
	}
	for n := 0; n < len(whole); n += 1 + n/9 {
		if err := read(whole[:n]); !Final(err) {
			t.Errorf("cut at %d: %v", n, err)
		}
		other := bytes.Clone(whole)
		other[n] ^= 0x41
		_ = read(other) // ends, whatever it says
	}
	p = ofAvro(t, dir, `"folder": ""`)
	if err := os.WriteFile(filepath.Join(dir, "x.avro"), whole[:len(whole)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), options(t)); !Final(err) ||
		!strings.Contains(err.Error(), "x.avro: it is no whole file") {
		t.Error(err)
	}
	if got := contents(t, p); len(got) > 0 {
		t.Errorf("there is %v", got)
	}
	if _, err := ofAvro(t, dir, `"object": "none.avro"`).Run(t.Context(), options(t)); !Final(err) {
		t.Error(err)
	}
	q, err := loaded(t, map[string]string{"p.json": `{"name": "a", "source": {"type": "csv", "path": "x", "columns": [{"name": "a.b",
		"type": "text"}]}, "sinks": [{"format": "avro", "url": "file://o", "object": "x"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Run(t.Context(), options(t)); err == nil {
		t.Error("a name that Avro has not")
	}
}
