package admission

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/require"
	"weir/tests/integration/testlog"
)

// A gate that starts beside an old backlog knows how old it is.
func TestAdmission_AgeOfTheBacklogIsKnownAfterARestart(t *testing.T) {
	k := testlog.New(t)
	k.Write(10, time.Now().Add(-8*time.Minute))
	k.Write(10, time.Now())
	k.Commit("weir-raw", 2)
	m := &Monitor{conf: Measurement{Topic: "raw-events", Groups: []string{"weir-raw"}, Bounds: Bounds{Records: 1000,
		Age: 10 * time.Minute, Resume: 0.8}}, admin: k.Admin}
	r, err := m.measure(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if r.records != 16 || r.age < 5*time.Minute || r.age > 9*time.Minute {
		t.Errorf("%+v", r)
	}
}

// The same against a real broker: groups that never committed, that did, and
// how old what they have left is.
func TestAdmission_BacklogIsMeasuredInRealKafka(t *testing.T) {
	brokers := strings.Split(require.Env(t, "WEIR_TEST_KAFKA_BROKERS"), ",")
	topic := fmt.Sprintf("gate-backlog-%d", time.Now().UnixNano())
	k := testlog.At(t, topic, brokers...)
	if _, err := k.Admin.CreateTopic(t.Context(), 2, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = k.Admin.DeleteTopics(context.Background(), topic) })
	k.Write(10, time.Now().Add(-8*time.Minute))
	k.Write(10, time.Now())
	k.Commit(topic+"-fast", 9)
	conf := Measurement{Topic: topic, Groups: []string{topic + "-fast"}, Interval: 20 * time.Millisecond,
		Bounds: Bounds{Records: 1000, Age: 10 * time.Minute, Resume: 0.8}}
	m := &Monitor{conf: conf, admin: k.Admin}
	if r, err := m.measure(t.Context(), time.Now()); err != nil || r.records != 2 || r.age > time.Minute {
		t.Errorf("a group that is almost there: %+v %v", r, err)
	}
	m.conf.Groups = append(m.conf.Groups, topic+"-none")
	if r, err := m.measure(t.Context(), time.Now()); err != nil || r.group != topic+"-none" || r.records != 20 ||
		r.age < 5*time.Minute || r.age > 9*time.Minute {
		t.Errorf("a group that never committed: %+v %v", r, err)
	}
}

// What a store gathers is not behind; what is older is, by how much it is older.
func TestAdmission_WhatBatchingHoldsIsNotBehind(t *testing.T) {
	c := Measurement{Batching: map[string]time.Duration{"weir-raw": 5 * time.Second}}
	for _, is := range []struct {
		group     string
		age, want time.Duration
	}{{"weir-raw", 4 * time.Second, 0}, {"weir-raw", 65 * time.Second, time.Minute},
		{"weir-detect", time.Second, time.Second}} {
		if got := c.behind(is.group, is.age); got != is.want {
			t.Errorf("a record of %s that is %s old is %s behind, want %s", is.group, is.age, got, is.want)
		}
	}
}
