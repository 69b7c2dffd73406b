package rule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// What was told is handed on in order, until it is acknowledged, and not again.
func TestRuleResults_AreHandedOnUntilAcknowledged(t *testing.T) {
	b := newBench(t, strings.Replace(perMinute, "}, window", "}, emit: { on: update }, window", 1))
	o := b.operator()
	input := func() *results {
		t.Helper()
		parsed, err := ruleResultsSpec().ParseYAML(fmt.Sprintf("url: %q\npoll: 1ms", b.url), nil)
		if err != nil {
			t.Fatal(err)
		}
		in, err := newResults(parsed, service.MockResources())
		if err == nil {
			err = in.Connect(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close(context.Background()) })
		return in
	}
	read := func(in *results) (told []string, ack service.AckFunc) {
		t.Helper()
		batch, ack, err := in.ReadBatch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, msg := range batch {
			raw, err := msg.AsBytes()
			if err != nil {
				t.Fatal(err)
			}
			r := parseTold(t, raw)
			if event.Meta(msg, event.HeaderResult) != r.ID || event.Meta(msg, event.HeaderRevision) != fmt.Sprint(r.Revision) ||
				event.Meta(msg, event.HeaderFleet) != "plant-1" || event.Meta(msg, event.MetaDevice) != "pump-1" {
				t.Errorf("%s goes with other metadata", raw)
			}
			told = append(told, fmt.Sprintf("%s/%d", r.Status, r.Revision))
		}
		return told, ack
	}
	b.apply(o, message(0, 0, at(0, 1)), message(0, 1, at(1*s, 1)))
	in := input()
	want := []string{"provisional/0", "provisional/1"}
	told, ack := read(in)
	expect(t, told, want...)
	if err := ack(t.Context(), errors.New("refused")); err != nil {
		t.Fatal(err)
	}
	told, _ = read(in) // and the process is killed
	expect(t, told, want...)
	in = input()
	told, ack = read(in)
	expect(t, told, want...)
	if err := ack(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	b.apply(o, message(0, 2, at(66*s, 1)))
	told, _ = read(in)
	slices.Sort(told)
	expect(t, told, "final/2", "provisional/0")
}
