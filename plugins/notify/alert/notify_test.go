package alert

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func (h *house) produce(records ...string) {
	h.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(h.log.ListenAddrs()...))
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	for _, raw := range records {
		r := &kgo.Record{Topic: "alert-events", Key: []byte("d"), Value: []byte(raw)}
		if err := c.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *house) count(query string) (n int) {
	h.t.Helper()
	if err := h.db.QueryRow(query).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

func TestAlert_WhatIsNoAlertIsADeadLetterAndItsNeighboursGoOn(t *testing.T) {
	h := newHouse(t)
	now := time.Now()
	h.produce(metric("a", "opened", "d", now), `alarm!`, metric("b", "opened", "e", now), metric("a", "opened", "d", now),
		metric("a", "resolved", "d", now.Add(time.Second)))
	h.run("notify.yaml", map[string]string{"WEIR_NOTIFY_GROUP_WAIT": "100ms"})
	within(t, 20*time.Second, "two alerts, one resolved", func() bool {
		return h.count(`SELECT count(*) FROM alert WHERE state = 'open'`) == 1 &&
			h.count(`SELECT count(*) FROM alert WHERE state = 'resolved'`) == 1
	})
	if e := h.deadLetter(); e.Stage != "notify" || e.Code != "invalid_json" || e.Original != "alarm!" || e.Origin == nil ||
		e.Origin.Offset != 1 {
		t.Errorf("the dead letter is %+v", e)
	}
	within(t, 10*time.Second, "the notices", func() bool {
		return h.count(`SELECT count(*) FROM alert_notice WHERE sealed_at IS NOT NULL`) == 2
	})
}

// A stored batch whose offsets were not committed comes again, to another
// process.
func TestAlert_RecordsThatComeAgainChangeNothing(t *testing.T) {
	h := newHouse(t)
	now := time.Now()
	records := []string{metric("a", "opened", "d", now), metric("a", "resolved", "d", now.Add(time.Second)),
		metric("b", "opened", "d", now.Add(time.Minute))}
	h.apply(records...)
	before := h.count(`SELECT count(*) FROM alert_notice`)
	h.produce(records...)
	h.run("notify.yaml", nil)
	within(t, 20*time.Second, "the second delivery", func() bool {
		return h.count(`SELECT count(*) FROM alert WHERE updated_at > recorded_at AND alert_id = 'b'`) == 1
	})
	if n := h.count(`SELECT count(*) FROM alert WHERE state = 'open'`); n != 1 {
		t.Errorf("%d are open", n)
	}
	if n := h.count(`SELECT count(*) FROM alert_notice`); n != before {
		t.Errorf("%d notices were %d", n, before)
	}
}
