package etl

import (
	"fmt"
	"testing"

	"weir/plugins/store/lake"
)

// A stream that is told to puts the small files of all its sinks together, and its
// report says so.
func TestStream_CompactsByItself(t *testing.T) {
	l, dir, o := newKafkaLog(t), t.TempDir(), options(t)
	p := l.pipeline(fmt.Sprintf(`{"name": "s", "mode": "stream", "block": 4, "every": "10ms", "source": %s,
		"compact": {"every": "1s", "small_mib": 1, "least": 2, "keep": "1h"},
		"sinks": [{"format": "csv", "url": "file://%s", "object": "orders"},
			{"format": "delta", "url": "file://%[2]s", "table": "t", "mode": "append"}]}`, l.source(""), dir))
	l.more(50)
	var told []string
	o.Tell = func(line string) { told = append(told, line) }
	r := streams(t, p, o)
	if len(r.Stream.Compacted) != 2 {
		t.Fatalf("%+v: %v", r.Stream, told)
	}
	for _, one := range r.Stream.Compacted {
		if one.Files < 12 || one.Into > one.Files/2 || one.Bytes == 0 {
			t.Errorf("%+v", one)
		}
	}
	l.more(10)
	if r = streams(t, p, o); r.Stream.Compacted[0].Files < 14 {
		t.Errorf("a stream that goes on counts on: %+v", r.Stream.Compacted)
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
	store, err := lake.OpenReading(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	f := &batchFolder{store, "orders", "csv", "s"}
	listed, err := f.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	has, err := f.has(t.Context(), listed, 0)
	if err != nil || has.rows != 60 || len(has.files) > 3 {
		t.Errorf("%+v, %v", has, err)
	}
	if n := len(deltaIDs(t, dir)); n != 60 {
		t.Errorf("the table has %d rows", n)
	}
}
