package validate

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"

	"weir/internal/event"
	"weir/schemas"
)

// shippedDir writes the shipped schemas to a folder.
func shippedDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, schemas.FS()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// through sends a batch through a stream of one schema_validate.
func through(t *testing.T, config string, batch ...*service.Message) service.MessageBatch {
	t.Helper()
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.SetLoggerYAML("level: WARN"); err != nil {
		t.Fatal(err)
	}
	send, err := b.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddProcessorYAML("schema_validate:\n" + config); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got service.MessageBatch
	if err := b.AddBatchConsumerFunc(func(_ context.Context, out service.MessageBatch) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, out...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	stream, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- stream.Run(ctx) }()
	if err := send(ctx, batch); err != nil {
		t.Fatal(err)
	}
	if err := stream.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	<-ran
	mu.Lock()
	defer mu.Unlock()
	return got
}

func message(raw string, meta ...string) *service.Message {
	m := service.NewMessage([]byte(raw))
	for i := 0; i+1 < len(meta); i += 2 {
		m.MetaSetMut(meta[i], meta[i+1])
	}
	return m
}

const receivedAt = "2026-11-21T09:30:00.000000Z"

func TestValidate_ABatchComesOutWholeAndMarked(t *testing.T) {
	at := func(when string) string { return strings.Replace(goodEvent, "2026-11-21T09:30:00.123Z", when, 1) }
	var batch []*service.Message
	for _, raw := range []string{
		goodEvent,
		`{"event_id":`,
		at("2026-11-21T09:35:00Z"), at("2026-11-21T09:35:00.001Z"),
		at("2026-11-21T09:20:00Z"), at("2026-11-21T09:19:59Z"),
		strings.Replace(goodEvent, `"pressure"`, `"a,b"`, 1),
		strings.Replace(goodEvent, `2.4.1`, `7.0.0`, 1),
		strings.Replace(goodEvent, `61.25`, `"hot"`, 1),
	} {
		batch = append(batch, message(raw, event.HeaderReceivedAt, receivedAt))
	}
	in := make([]string, len(batch))
	for i, m := range batch {
		raw, err := m.AsBytes()
		if err != nil {
			t.Fatal(err)
		}
		in[i] = string(raw)
	}
	out := through(t, "  url: file://"+shippedDir(t)+"\n  clock_ahead_tolerance: 5m\n  late_after: 10m", batch...)
	if len(out) != len(in) {
		t.Fatalf("%d messages went in, %d came out", len(in), len(out))
	}
	want := []struct{ code, flags, unknown string }{
		{}, {code: "invalid_json"}, {}, {flags: "clock_ahead"}, {}, {flags: "late"}, {unknown: "a,b"},
		{code: "unknown_firmware"}, {code: "schema_violation"},
	}
	for i, m := range out {
		raw, err := m.AsBytes()
		if err != nil || string(raw) != in[i] {
			t.Errorf("%d: changed to %q (%v)", i, raw, err)
		}
		w := want[i]
		if w.code != "" {
			if r := event.RejectionOf(m); r == nil || string(r.Code) != w.code || event.Meta(m, event.HeaderSchema) != "" {
				t.Errorf("%d: got %+v with schema %q, want %s", i, r, event.Meta(m, event.HeaderSchema), w.code)
			}
			continue
		}
		if err := m.GetError(); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if s, d := event.Meta(m, event.HeaderSchema), event.Meta(m, event.MetaDevice); s != "telemetry/2" ||
			d != "device-0042" {
			t.Errorf("%d: schema %q, device %q", i, s, d)
		}
		flags, unknown := event.Meta(m, event.HeaderFlags), event.Meta(m, event.HeaderUnknownMetrics)
		if flags != w.flags || strings.Join(event.Items(unknown), ";") != w.unknown {
			t.Errorf("%d: flags %q, unknown %q", i, flags, unknown)
		}
		if w.unknown != "" && !event.HasFlag(unknown, w.unknown) {
			t.Errorf("%d: %q not found in %q", i, w.unknown, unknown)
		}
	}
}

func TestValidate_AFailedMessageKeepsItsError(t *testing.T) {
	m := message(goodEvent)
	m.SetError(context.DeadlineExceeded)
	out := through(t, "  url: file://"+shippedDir(t), m)
	if r := event.RejectionOf(out[0]); r == nil || r.Code != event.CodeProcessingFailed {
		t.Errorf("got %+v", r)
	}
}

// benchmarkBatch runs batches of 100 events, each with a received time,
// through a processor.
func benchmarkBatch(b *testing.B, p interface {
	ProcessBatch(context.Context, service.MessageBatch) ([]service.MessageBatch, error)
}) {
	msgs := make(service.MessageBatch, 100)
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(msgs) {
		for i := range msgs {
			msgs[i] = message(goodEvent, event.HeaderReceivedAt, receivedAt)
		}
		out, err := p.ProcessBatch(b.Context(), msgs)
		if err != nil || len(out) != 1 || out[0][0].GetError() != nil {
			b.Fatal(err)
		}
	}
}

// TestValidate_AValidEventCostsOneAllocation counts what validating adds to making the
// messages of a batch: the device in the message's metadata.
func TestValidate_AValidEventCostsOneAllocation(t *testing.T) {
	cost := func(p interface {
		ProcessBatch(context.Context, service.MessageBatch) ([]service.MessageBatch, error)
	}) float64 {
		msgs := make(service.MessageBatch, 100)
		return testing.AllocsPerRun(50, func() {
			for i := range msgs {
				msgs[i] = message(goodEvent, event.HeaderReceivedAt, receivedAt)
			}
			if _, err := p.ProcessBatch(t.Context(), msgs); err != nil {
				t.Fatal(err)
			}
		}) / 100
	}
	if added := cost(validatorOf(t, "url: file://"+shippedDir(t))) - cost(untouched{}); added > 1.1 {
		t.Errorf("validating adds %.2f allocations an event, want 1", added)
	}
}

type untouched struct{}

func (untouched) ProcessBatch(_ context.Context, m service.MessageBatch) ([]service.MessageBatch, error) {
	return []service.MessageBatch{m}, nil
}

func BenchmarkBatchOfMessagesUntouched(b *testing.B) { benchmarkBatch(b, untouched{}) }

func BenchmarkBatchThroughSchemaValidate(b *testing.B) {
	conf, err := validateSpec().ParseYAML("url: file://"+shippedDir(b), nil)
	if err != nil {
		b.Fatal(err)
	}
	p, err := newValidator(conf, service.MockResources())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close(b.Context()) }()
	benchmarkBatch(b, p)
}

// BenchmarkBatchThroughUpstreamJSONSchema is the peer: the engine's own
// processor with the same schema, which has one version and no formats.
func BenchmarkBatchThroughUpstreamJSONSchema(b *testing.B) {
	dir := shippedDir(b)
	builder := service.NewEnvironment().NewStreamBuilder()
	if err := builder.SetLoggerYAML("level: NONE"); err != nil {
		b.Fatal(err)
	}
	if err := builder.AddProcessorYAML("json_schema:\n  schema_path: file://" + dir + "/telemetry/v2.json"); err != nil {
		b.Fatal(err)
	}
	send, err := builder.AddBatchProducerFunc()
	if err != nil {
		b.Fatal(err)
	}
	if err := builder.AddBatchConsumerFunc(func(_ context.Context, m service.MessageBatch) error {
		return m[0].GetError()
	}); err != nil {
		b.Fatal(err)
	}
	stream, err := builder.Build()
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go func() { _ = stream.Run(ctx) }()
	b.ResetTimer()
	msgs := make(service.MessageBatch, 100)
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(msgs) {
		for i := range msgs {
			msgs[i] = message(goodEvent)
		}
		if err := send(ctx, msgs); err != nil {
			b.Fatal(err)
		}
	}
}
