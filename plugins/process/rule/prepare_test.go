package rule

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// seen is a processor that counts the events that it is given, and marks those that it has seen before
// as duplicates.
type seen struct {
	ids   map[string]int64
	given int
	then  func() // called once, after the next batch
}

func (p *seen) ProcessBatch(_ context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	for _, msg := range batch {
		raw, err := msg.AsBytes()
		if err != nil {
			return nil, err
		}
		var e event.Event
		if err := event.Parse(raw, &e); err != nil {
			return nil, err
		}
		at, _, _ := event.CoordinatesOf(msg)
		p.given++
		if first, there := p.ids[string(e.UUID[:])]; there && first != at.Offset {
			msg.MetaSetMut(event.MetaDuplicateOf, "raw-events/0/0")
		} else {
			p.ids[string(e.UUID[:])] = at.Offset
		}
	}
	if then := p.then; then != nil {
		p.then = nil
		then()
	}
	return []service.MessageBatch{batch}, nil
}

func (p *seen) Close(context.Context) error { return nil }

// preparing returns a bench whose outputs have the processor seen.
func preparing(t *testing.T, rules string) (*bench, *seen) {
	t.Helper()
	p := &seen{ids: map[string]int64{}}
	b := newBench(t, rules)
	b.env, b.extra = service.NewEnvironment(), "processors: [ { seen: {} } ]\n"
	if err := b.env.RegisterBatchProcessor("seen", service.NewConfigSpec(),
		func(*service.ParsedConfig, *service.Resources) (service.BatchProcessor, error) { return p, nil }); err != nil {
		t.Fatal(err)
	}
	return b, p
}

// Without rules the processors do not run. New rules begin at the first offset of a batch that is
// prepared as a whole. Rules that are removed leave no state.
func TestEventRules_WithoutRulesEventsAreNotPrepared(t *testing.T) {
	b, p := preparing(t, "rules: []")
	o := b.operator()
	change := func(rules string) {
		t.Helper()
		b.write(rules)
		if changed, err := o.rules.Refresh(t.Context()); err != nil || !changed {
			t.Fatal(changed, err)
		}
	}
	b.apply(o, message(0, 0, at(0, 1)), message(0, 1, "no event"))
	b.apply(o, message(0, 2, at(1*s, 2)))
	if p.given != 0 {
		t.Fatalf("without rules, %d events were prepared", p.given)
	}
	change(perMinute)
	b.apply(o, message(0, 3, at(2*s, 4)), message(0, 4, at(2*s, 4)))
	b.apply(o, message(0, 4, at(2*s, 4)), message(0, 5, at(61*s, 8)), message(0, 6, at(70*s, 8)))
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 1"}) || p.given != 5 {
		t.Errorf("%q, %d prepared", got, p.given)
	}
	accounts, err := Accounts(t.Context(), o.db)
	if err != nil || len(accounts) != 1 || accounts[0].First != 3 || accounts[0].Read != 4 || accounts[0].Missed != 0 ||
		accounts[0].Duplicates != 1 || accounts[0].Rules[0].Since != 3 || accounts[0].Rules[0].Reached != 3 {
		t.Errorf("%+v %v", accounts, err)
	}
	change("rules: []")
	b.apply(o, message(0, 7, at(71*s, 8)))
	change(perMinute)
	b.apply(o, message(0, 9, at(72*s, 8))) // offset 8 was skipped while there were no rules to miss it
	b.apply(o, message(0, 10, at(130*s, 8)))
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 1", "pump-1 1m0s 1"}) || p.given != 7 {
		t.Errorf("%q, %d prepared", got, p.given)
	}
}

// If other rules come into force while a batch is prepared, it is applied by them. If there are none
// any more, it is not applied.
func TestEventRules_RulesMayChangeWhileABatchIsPrepared(t *testing.T) {
	b, p := preparing(t, "rules: []")
	o := b.operator()
	versions := &Versions{o.db}
	activate := func(rules string) {
		t.Helper()
		v, err := versions.Put(t.Context(), rules, "test", "")
		if err == nil {
			_, err = versions.Activate(t.Context(), v.Number, "test")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	activate(perMinute)
	p.then = func() { activate("rules: []") }
	b.apply(o, message(0, 0, at(0, 1)))
	if accounts, err := Accounts(t.Context(), o.db); err != nil || len(accounts) != 0 {
		t.Errorf("%+v %v", accounts, err)
	}
	activate(perMinute)
	p.then = func() { activate(strings.Replace(perMinute, "minute", "other", 1)) }
	b.apply(o, message(0, 1, at(1*s, 1)), message(0, 2, at(70*s, 1)))
	if got := b.count("minute"); len(got) != 0 || p.given != 3 {
		t.Errorf("%q, %d prepared", got, p.given)
	}
}

// A batch that is prepared while weir stops is not applied, because a processor that waits for its store
// then lets events pass. The batch is unchanged, and can be delivered again.
func TestEventRules_WhatIsPreparedAsWeirStopsIsNotApplied(t *testing.T) {
	b, p := preparing(t, perMinute)
	o := b.operator()
	batch := service.MessageBatch{message(0, 0, at(0, 1)), message(0, 1, at(0, 1)), message(0, 2, at(70*s, 1))}
	ctx, stop := context.WithCancel(t.Context())
	p.then = stop
	if err := o.WriteBatch(ctx, batch); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if accounts, err := Accounts(t.Context(), o.db); err != nil || len(accounts) != 0 {
		t.Errorf("%+v %v", accounts, err)
	}
	if event.Meta(batch[1], event.MetaDuplicateOf) != "" {
		t.Error("preparing changed the messages of the input")
	}
	b.apply(o, batch...)
	if got := b.count("minute"); !slices.Equal(got, []string{"pump-1 0s 1"}) || p.given != 6 {
		t.Errorf("%q, %d prepared", got, p.given)
	}
}
