package deadletter

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

func scanned(t *testing.T, s *lake.Store, q Query) []string {
	t.Helper()
	var got []string
	if err := Scan(context.Background(), s, q, func(r *Row) error {
		e, err := r.envelope()
		if err != nil {
			return err
		}
		got = append(got, e.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestDeadLetter_AQueryReturnsEachMatchOnce(t *testing.T) {
	ctx := context.Background()
	o := kept(t, lake.FileURL(t.TempDir()))
	stages, codes := []string{"ingest", "raw", "rollup"}, []event.Code{event.CodeInvalidJSON, event.CodeSchemaViolation}
	var letters []*Envelope
	for i := range 300 {
		c := event.Coordinates{Topic: "raw-events", Offset: int64(i)}
		letters = append(letters, NewEnvelope(Failure{
			Stage: stages[i%3], Fleet: fmt.Sprintf("f%d", i%2), Record: &c,
			Original: []byte(fmt.Sprintf(`{"device_id":"d%d"}`, i%5)),
			FailedAt: someTime.Add(time.Duration(i) * 10 * time.Second), Rejection: event.Reject(codes[i%2], "", "x")}))
	}
	for i := 0; i < len(letters); i += 30 {
		var batch service.MessageBatch
		for j, e := range letters[i : i+30] {
			batch = append(batch, message(0, i+j, mustJSON(t, e)))
			batch = append(batch, message(1, i+j, mustJSON(t, e))) // the topic has it twice
		}
		if err := o.WriteBatch(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		for _, q := range []Query{
			{}, {Stages: []string{"raw"}}, {Fleet: "f1", Codes: codes[:1]}, {Fleet: "f0", Codes: codes[:1], Device: "d3"},
			{From: someTime.Add(10 * time.Minute), To: someTime.Add(31 * time.Minute), Stages: []string{"ingest", "rollup"}},
		} {
			var want []string
			for i, e := range letters {
				at := someTime.Add(time.Duration(i) * 10 * time.Second)
				if (q.Stages == nil || slices.Contains(q.Stages, e.Stage)) && (q.Fleet == "" || q.Fleet == e.Fleet) &&
					(q.Device == "" || q.Device == e.Device) &&
					(q.Codes == nil || slices.Contains(q.Codes, e.Code)) && (q.From.IsZero() || !at.Before(q.From)) &&
					(q.To.IsZero() || at.Before(q.To)) {
					want = append(want, e.ID)
				}
			}
			if got := scanned(t, o.Store, q); !slices.Equal(got, want) {
				t.Fatalf("%+v: got %d dead letters, want %d", q, len(got), len(want))
			}
		}
	}
	check()
	c := lake.DefaultCompaction()
	c.MinGain = 1
	if done, err := o.Store.Compact(ctx, Table(), c, time.Now().Add(time.Hour)); err != nil || done.Inputs == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	check()
	n := 0
	if err := Scan(ctx, o.Store, Query{}, func(*Row) error { n++; return errStop }); err != nil || n != 1 {
		t.Fatal(n, err)
	}
}
