package etl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/tests/integration/require"
)

// unsure is a sink whose answers are lost, or that is away: nobody knows whether what
// was brought has come.
type unsure struct {
	streamSink
	chance *rand.Rand
}

var errLost = errors.New("the answer was lost")

func (u unsure) bring(ctx context.Context, d delivery) error {
	switch u.chance.IntN(3) {
	case 0:
		return errLost
	case 1:
		if err := u.streamSink.bring(ctx, d); err != nil {
			return err
		}
		return errLost
	}
	return u.streamSink.bring(ctx, d)
}

func untilEnd(o Options) Options {
	o.UntilEnd, o.Tries = true, 1
	return o
}

func streams(t *testing.T, p *Pipeline, o Options) *Report {
	t.Helper()
	r, err := p.Stream(t.Context(), untilEnd(o))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// toAll streams into an object, a table of Delta Lake, and rejects.
func (l *kafkaLog) toAll(dir, more string) *Pipeline {
	return l.pipeline(fmt.Sprintf(`{"name": "s", "mode": "stream", "block": 4, "every": "10ms", "source": %s,
		"steps": [{"filter": "this.id %% 5 != 4"}, {"validate": {"column": "id", "max": 1000000, "on_failure": "reject"}}],
		"sinks": [{"format": "csv", "url": "file://%s", "object": "orders"},
			{"format": "delta", "url": "file://%[2]s", "table": "t", "mode": "append"}%[3]s],
		"rejects": {"url": "file://%[2]s", "object": "rejects"}}`, l.source(`, "on_failure": "reject"`), dir, more))
}

// wantIDs says what is not there once.
func wantIDs(t *testing.T, where string, ids []int, written int) {
	t.Helper()
	slices.Sort(ids)
	var want []int
	for id := range written {
		if id%5 != 4 {
			want = append(want, id)
		}
	}
	if !slices.Equal(ids, want) {
		t.Errorf("%s has %d rows, want %d: %v", where, len(ids), len(want), ids)
	}
}

func idsOf(t *testing.T, found []string) (ids []int) {
	t.Helper()
	for _, line := range lines(t, found) {
		if id, err := strconv.Atoi(line); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// rowsOfDelta are those of a table, in any order.
func rowsOfDelta(t *testing.T, dir, table string) (all []row) {
	t.Helper()
	p, err := loaded(t, map[string]string{"p.json": fmt.Sprintf(`{"name": "back", "source": {"type": "delta",
		"url": "file://%s", "table": %q}, "sinks": [{"format": "csv", "url": "file://out", "object": "x"}]}`, dir, table)})
	if err != nil {
		t.Fatal(err)
	}
	in, err := p.source.open(t.Context())
	if err == nil {
		defer in.close()
		err = in.from(t.Context(), "")
	}
	for err == nil {
		var r row
		if r, _, err = in.next(); err == nil {
			all = append(all, r)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return all
}

func deltaIDs(t *testing.T, dir string) (ids []int) {
	t.Helper()
	for _, r := range rowsOfDelta(t, dir, "t") {
		id, err := strconv.Atoi(r[0].text)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// Whatever is lost between the rows, the sinks and the account: each record comes
// once into each sink, and is counted once.
func TestStream_EachRecordComesOnceWhateverIsLost(t *testing.T) {
	l, dir, o := newKafkaLog(t), t.TempDir(), options(t)
	p := l.toAll(dir, "")
	chance := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	lost := 0
	for range 25 {
		l.more(chance.IntN(12))
		o.wrap = func(s streamSink) streamSink { return unsure{s, chance} }
		switch _, err := p.Stream(t.Context(), untilEnd(o)); {
		case errors.Is(err, errLost):
			lost++
		case err != nil:
			t.Fatal(err)
		}
	}
	l.put(recordOf(0, `{"id": 2000000}`), recordOf(1, `bad`))
	o.wrap = nil
	r := streams(t, p, o)
	if lost == 0 {
		t.Error("nothing was lost")
	}
	c := r.Counts
	if c.Read != int64(l.written)+2 || c.Rejected != 2 || c.unexplained() != 0 || c.Unreadable != 1 {
		t.Errorf("%+v of %d", c, l.written+2)
	}
	wantIDs(t, "the folder", idsOf(t, files(t, dir, "orders", "*.csv")), l.written)
	wantIDs(t, "the table", deltaIDs(t, dir), l.written)
	if got := lines(t, files(t, dir, "rejects", "*.ndjson")); len(got) != 2 || !strings.Contains(got[0]+got[1], `"place":"orders/1/`) {
		t.Errorf("rejects: %v", got)
	}
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
}

// A sink that is added later gets all that the log has; the others, nothing twice.
// And a state that is lost loses no place.
func TestStream_ASinkThatIsBehindIsBroughtUp(t *testing.T) {
	l, dir, o := newKafkaLog(t), t.TempDir(), options(t)
	l.more(30)
	streams(t, l.toAll(dir, ""), o)
	l.more(10)
	p := l.toAll(dir, fmt.Sprintf(`, {"format": "csv", "url": "file://%s", "object": "late"}`, dir))
	r := streams(t, p, o)
	if r.Counts.Read != 40 {
		t.Errorf("%+v", r.Counts)
	}
	l.more(5)
	o.State, o.TakeOver = t.TempDir(), true
	if r = streams(t, p, o); r.Counts.Read != 5 {
		t.Errorf("a state that knows nothing counts %+v", r.Counts)
	}
	for _, folder := range []string{"orders", "late"} {
		wantIDs(t, folder, idsOf(t, files(t, dir, folder, "*.csv")), 45)
	}
	wantIDs(t, "the table", deltaIDs(t, dir), 45)
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
}

// Records that the topic keeps no longer, and a log that is shorter than what was
// read of it, end the stream by their names.
func TestStream_WhatIsGoneIsNamed(t *testing.T) {
	l, dir, o := newKafkaLog(t), t.TempDir(), options(t)
	l.more(9)
	p := l.toAll(dir, "")
	streams(t, p, o)
	l.more(9)
	l.forget(1, 5)
	if _, err := p.Stream(t.Context(), untilEnd(o)); !Final(err) ||
		!strings.Contains(err.Error(), "records of orders/1 from offset 3 to 4 are gone before they were read") {
		t.Error(err)
	}
}

// A stream that is stopped ends without an error and says how far it is; it goes on
// there, with what came meanwhile.
func TestStream_StopsAndGoesOn(t *testing.T) {
	l, dir, o := newKafkaLog(t), t.TempDir(), options(t)
	p := l.toAll(dir, "")
	for range 3 {
		l.more(10)
		ctx, stop := context.WithCancel(t.Context())
		o.Watch = func(now Progress) {
			if now.Counts.Read == int64(l.written) {
				stop()
			}
		}
		r, err := p.Stream(ctx, o)
		if err != nil || r.Counts.Read != int64(l.written) || r.Stream.Lag[0] < 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	wantIDs(t, "the table", deltaIDs(t, dir), l.written)
}

// Two streams that both believe to have the sinks - one was taken for dead - bring
// nothing twice: the slower one is told.
func TestStream_OneThatWasTakenForDeadBringsNothing(t *testing.T) {
	l, dir, o := newKafkaLog(t), t.TempDir(), options(t)
	l.more(10)
	p := l.toAll(dir, "")
	other := o
	other.State, other.TakeOver = t.TempDir(), true
	second := false
	o.wrap = func(s streamSink) streamSink {
		return before{s, func() {
			if !second {
				second = true
				streams(t, p, other)
			}
		}}
	}
	if _, err := p.Stream(t.Context(), untilEnd(o)); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Error(err)
	}
	wantIDs(t, "the folder", idsOf(t, files(t, dir, "orders", "*.csv")), 10)
	wantIDs(t, "the table", deltaIDs(t, dir), 10)
}

type before struct {
	streamSink
	do func()
}

func (b before) bring(ctx context.Context, d delivery) error {
	b.do()
	return b.streamSink.bring(ctx, d)
}

const streaming = `{"name": "s", "mode": "stream", "every": "1s", "source": {"type": "kafka", "brokers": ["b:1"], "topic": "t",
	"tls": true, "sasl": "PLAIN", "user": "u", "password": {"$file": "x"}, "metadata": {"key": "k", "headers": "h"},
	"columns": [{"name": "id", "type": "int64"}]}, "steps": [], "sinks": [{"format": "csv", "url": "file://o", "object": "x"}]}`

func TestStream_WhatItCannotIsNamed(t *testing.T) {
	for _, c := range [][3]string{
		{`"steps": []`, `"steps": [{"dedupe": {}}]`, "/steps/0: dedupe needs all rows"},
		{`"format": "csv", "url": "file://o", "object"`, `"format": "delta", "url": "file://o", "table"`, "a stream never has all rows"},
		{`"mode": "stream"`, `"mode": "batch"`, "only a stream has batches by time"},
		{`"every": "1s"`, `"every": "1"`, "expected a duration of 10ms to 1h, such as 2s"},
		{`"steps": []`, `"compact": {"every": "1ms"}`, "/compact/every: expected a duration of 1s to 168h, such as 10m"},
		{`"steps": []`, `"compact": {"keep": "59m"}`, "/compact/keep: expected a duration of 1h to"},
		{`"steps": []`, `"compact": {"least": 1}`, "/compact/least: expected a whole number of 2"},
		{`"mode": "stream", "every": "1s"`, `"compact": {}`, "only a stream puts small files together by itself"},
		{`"type": "kafka", "brokers": ["b:1"], "topic": "t",`, `"type": "csv", "path": "x",`, "a stream follows a log"},
	} {
		_, err := loaded(t, map[string]string{"p.json": strings.Replace(streaming, c[0], c[1], 1)})
		if err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s: %v", c[1], err)
		}
	}
	if _, err := loaded(t, map[string]string{"p.json": streaming}); err != nil {
		t.Error(err)
	}
}

// The same in a table of a database, with the positions in the transaction of the
// rows, and by a merge, of whose rows with one key in a batch the last stays.
func TestStream_IntoTables(t *testing.T) { onEach(t, streamIntoTable) }

func streamIntoTable(t *testing.T, d testTables) {
	fields := d.fields
	l, dir, o := newKafkaLog(t), t.TempDir(), options(t)
	p := l.toAll(dir, `, {`+fields+`, "table": "etl_sink.t", "mode": "append"}`)
	merged := l.pipeline(`{"name": "merged", "mode": "stream", "every": "10ms", "source": ` + l.source("") + `,
		"steps": [{"derive": {"column": "k", "type": "int64", "mapping": "this.id % 4"}}],
		"sinks": [{` + fields + `, "table": "etl_sink.m", "mode": "merge", "key": ["k"]},
			{"format": "delta", "url": "file://` + dir + `", "table": "m", "mode": "merge", "key": ["k"]}]}`)
	chance := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	for range 5 {
		l.more(10)
		o.wrap = func(s streamSink) streamSink { return unsure{s, chance} }
		for _, p := range []*Pipeline{p, merged} {
			if _, err := p.Stream(t.Context(), untilEnd(o)); err != nil && !errors.Is(err, errLost) {
				t.Fatal(err)
			}
		}
	}
	o.wrap = nil
	r := streams(t, p, o)
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
	wantIDs(t, "the table of Delta Lake", deltaIDs(t, dir), 50)
	if got := d.one("SELECT count(*) * 1000 + sum(id) FROM etl_sink.t WHERE id < 13"); got !=
		"11065" || d.one("SELECT count(DISTINCT id) FROM etl_sink.t") != "40" ||
		d.one("SELECT count(*) FROM etl_sink.t") != "40" {
		t.Error(got)
	}
	streams(t, merged, o)
	if got := d.one("SELECT count(*) FROM etl_sink.m"); got != "4" || len(rowsOfDelta(t, dir, "m")) != 4 {
		t.Error(got)
	}
}

// In S3, too, a batch is there when its manifest is.
func TestStream_IntoS3(t *testing.T) {
	raw := require.Env(t, "WEIR_TEST_S3_URL")
	l, o := newKafkaLog(t), options(t)
	l.more(10)
	p := l.toAll(t.TempDir(), "")
	folder := "etl-stream-" + newRun(time.Now())
	for i := range p.sinks {
		p.sinks[i].url, p.sinks[i].object = raw, fmt.Sprintf("%s/%d", folder, i)
	}
	streams(t, p, o)
	l.more(10)
	r := streams(t, p, o)
	if findings, err := p.Audit(t.Context(), r); err != nil || len(findings) > 0 || r.Counts.Written != 16 {
		t.Error(findings, err, r.Counts)
	}
}

// What lay before where a batch is to end may have been compacted away: the batch
// ends there all the same, and what comes behind waits.
func TestStream_ABatchEndsWhereNoRecordIsLeft(t *testing.T) {
	s := &logStream{next: marks{Next: map[int32]int64{0: 3}}, held: map[int32][]*kgo.Record{0: {{Offset: 3}, {Offset: 9}}}}
	g := trigger{rows: 10, bytes: 1000, until: &marks{Next: map[int32]int64{0: 7}}}
	var b kafkaBatch
	s.take(&b, g, 0)
	if len(b.records) != 1 || s.next.Next[0] != 7 || !s.next.reached(*g.until) || len(s.held[0]) != 1 {
		t.Errorf("%d records up to %d, and %d wait", len(b.records), s.next.Next[0], len(s.held[0]))
	}
	if !g.ends(s.held[0]) {
		t.Error("what is behind the end is asked for on and on")
	}
}
