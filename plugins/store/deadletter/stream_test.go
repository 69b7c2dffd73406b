package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/redpanda-data/benthos/v4/public/service"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// picky is a store that always refuses "poison", and whose first two writes fail if it is down.
type picky struct {
	mu    sync.Mutex
	took  []string
	down  bool
	tries int
}

func (p *picky) Connect(context.Context) error { return nil }
func (p *picky) Close(context.Context) error   { return nil }
func (p *picky) WriteBatch(_ context.Context, batch service.MessageBatch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tries++; p.down && p.tries <= 2 {
		return errors.New("writing to the store: connection refused")
	}
	var failed *service.BatchError
	for i, msg := range batch {
		raw, _ := msg.AsBytes()
		if string(raw) != "poison" {
			p.took = append(p.took, string(raw))
			continue
		}
		err := event.Reject(event.CodeStoreRejected, "/a", "can never be stored")
		if failed == nil {
			failed = service.NewBatchError(batch, err)
		}
		failed.Failed(i, err)
	}
	if failed != nil {
		return failed
	}
	return nil
}

const stream = `
fallback:
  - reject_errored:
      picky:
        batching: { count: 6, period: 50ms }
  - switch:
      cases:
        - check: errored()
          output:
            dead_letter_store:
              url: %q
              batching: { count: 100, period: 10ms }
            processors:
              - dead_letter: { stage: raw }
        - output:
            reject: ${! @fallback_error }
`

// run sends batches through an output with a failure path as configs have it. It returns the store
// of the dead letters, and the error that each batch was answered with.
func run(t *testing.T, p *picky, batches ...service.MessageBatch) (url string, errs []error) {
	t.Helper()
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	err := env.RegisterBatchOutput("picky", service.NewConfigSpec().Field(service.NewBatchPolicyField("batching")),
		func(conf *service.ParsedConfig, _ *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
			policy, err := conf.FieldBatchPolicy("batching")
			return p, policy, 1, err
		})
	if err != nil {
		t.Fatal(err)
	}
	url = lake.FileURL(t.TempDir())
	b := env.NewStreamBuilder()
	send, err := b.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddOutputYAML(fmt.Sprintf(stream, url)); err != nil {
		t.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: none"); err != nil {
		t.Fatal(err)
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	errs = make([]error, len(batches))
	go func() {
		var wg sync.WaitGroup
		for i, batch := range batches {
			wg.Go(func() { errs[i] = send(ctx, batch) })
		}
		wg.Wait()
		_ = s.StopWithin(5 * time.Second)
	}()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return url, errs
}

func message(partition, offset int, body string) *service.Message {
	msg := service.NewMessage([]byte(body))
	msg.MetaSetMut("kafka_topic", "raw-events")
	msg.MetaSetMut("kafka_partition", partition)
	msg.MetaSetMut("kafka_offset", offset)
	msg.MetaSetMut(event.HeaderFleet, "acme")
	return msg
}

// stored reads every dead letter of a store.
func stored(t testing.TB, url string) []layout {
	t.Helper()
	ctx := context.Background()
	s, err := lake.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	objects, err := s.Objects(ctx, lake.Select{})
	if err != nil {
		t.Fatal(err)
	}
	var out []layout
	for _, o := range objects {
		r, err := s.Open(ctx, o.Blob)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := parquet.Read[layout](r, r.Size())
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		for _, row := range rows {
			if row.Stage != stageOf(o) {
				t.Fatalf("a row of stage %s is in %s", row.Stage, o.Key)
			}
		}
		out = append(out, rows...)
	}
	return out
}

func TestDeadLetter_APoisonRecordGoesToTheDeadLettersAndItsNeighboursGoOn(t *testing.T) {
	p := &picky{}
	marked := message(0, 3, "marked")
	event.MarkRejected(marked, event.Reject(event.CodeInvalidEvent, "/x", "is wrong"))
	plain := message(0, 4, "plain")
	plain.SetError(errors.New("a mapping failed"))
	url, errs := run(t, p,
		service.MessageBatch{message(0, 1, "a"), message(0, 2, "b"), marked, plain, message(0, 5, "c")},
		service.MessageBatch{message(1, 1, "d"), message(1, 2, "e")})
	if errs[0] != nil || errs[1] != nil {
		t.Fatalf("not acknowledged: %v", errs)
	}
	slices.Sort(p.took)
	if fmt.Sprint(p.took) != "[a b c d e]" {
		t.Fatalf("the store accepted %v", p.took)
	}
	if got := origins(t, url); got != "[0/3 invalid_event marked acme 0/4 processing_failed plain acme]" {
		t.Fatalf("dead letters %v", got)
	}
}

func origins(t testing.TB, url string) string {
	t.Helper()
	var got []string
	for _, r := range stored(t, url) {
		got = append(got, fmt.Sprintf("%d/%d %s %s %s", r.OriginPartition, r.OriginOffset, r.Code, r.Original, r.Fleet))
	}
	slices.Sort(got)
	return fmt.Sprint(got)
}

// The engine gives the batch error of an output as a whole to each transaction, so the fallback
// cannot know which messages failed. An event that a store can never accept must therefore be marked
// before the store, and a failure path must select dead letters by errored(), never by the text of
// fallback_error.
func TestDeadLetter_WhatABatchingStoreRefusesNeverDeadLettersItsNeighbours(t *testing.T) {
	p := &picky{}
	url, errs := run(t, p,
		service.MessageBatch{message(0, 1, "a"), message(0, 2, "poison"), message(0, 3, "b")},
		service.MessageBatch{message(1, 1, "c"), message(1, 2, "d"), message(1, 3, "e")})
	if errs[0] == nil || errs[1] != nil {
		t.Fatalf("want a nack for the first batch alone, got %v", errs)
	}
	if got := origins(t, url); got != "[]" {
		t.Fatalf("dead letters %v", got)
	}
}

func TestDeadLetter_AnOutageIsNeverADeadLetter(t *testing.T) {
	p := &picky{down: true}
	url, errs := run(t, p, service.MessageBatch{message(0, 1, "a"), message(0, 2, "b")})
	if errs[0] == nil {
		t.Fatal("the batch was acknowledged although the store was down")
	}
	if rows := stored(t, url); len(rows) > 0 {
		t.Fatalf("got %d dead letters", len(rows))
	}
}

func TestDeadLetter_TheRequestLearnsThatItsEventWasRejected(t *testing.T) {
	conf, err := processorSpec().ParseYAML("stage: ingest", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcessor(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	var v event.Verdicts
	msg := service.NewMessage([]byte("x"))
	v.Attach(msg, 7)
	msg.MetaSetMut(event.HeaderFleet, "acme")
	msg.MetaSetMut(event.HeaderDelivery, "raw-events/1/1")
	event.MarkRejected(msg, event.Reject(event.CodeInvalidJSON, "", "expected a value"))
	batch, err := p.Process(context.Background(), msg)
	if err != nil || len(batch) != 1 {
		t.Fatal(batch, err)
	}
	if r := v.Rejected()[7]; r == nil || r.Code != event.CodeInvalidJSON {
		t.Fatalf("got %+v", r)
	}
	out := batch[0]
	var e Envelope
	raw, _ := out.AsBytes()
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	if out.GetError() != nil || event.FleetOf(out) != "acme" || event.Meta(out, event.HeaderDelivery) != "" ||
		event.Meta(out, event.MetaDevice) != e.ID || e.Headers[event.HeaderDelivery] != "raw-events/1/1" {
		t.Fatalf("error %v, envelope %s", out.GetError(), raw)
	}
}

func TestDeadLetter_ADeadLetterDeliveredAgainIsStoredOnceAndJunkIsKept(t *testing.T) {
	url := lake.FileURL(t.TempDir())
	good := mustJSON(t, NewEnvelope(failures()[2]))
	for range 2 {
		conf, err := outputSpec().ParseYAML("url: "+url, nil)
		if err != nil {
			t.Fatal(err)
		}
		o, err := newOutput(conf, service.MockResources())
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Connect(context.Background()); err != nil {
			t.Fatal(err)
		}
		batch := service.MessageBatch{message(0, 1, good), message(0, 2, "junk"), message(0, 3, `{"version":2}`)}
		for range 2 {
			if err := o.WriteBatch(context.Background(), batch); err != nil {
				t.Fatal(err)
			}
		}
		_ = o.Close(context.Background())
	}
	var got []string
	for _, r := range stored(t, url) {
		got = append(got, r.Stage+" "+r.Code+" "+string(r.Original))
	}
	slices.Sort(got)
	want := []string{"dead_letter invalid_event junk", `dead_letter invalid_event {"version":2}`,
		"raw invalid_event \xff\x00\xfe"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("stored %q", got)
	}
}
