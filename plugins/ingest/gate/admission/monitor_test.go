package admission

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/internal/platform/kafka"
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

// What a store gathers is not behind; what is older is, by how much it is older. For
// how long it gathers, each commit says, whatever the gate's own settings are; they
// count where it does not.
func TestAdmission_WhatBatchingHoldsIsNotBehind(t *testing.T) {
	k := testlog.New(t)
	now := time.Now().Truncate(time.Second)
	k.Write(10, now.Add(-8*time.Minute))
	for group, note := range map[string]string{"weir-raw": "", "weir-rollup": kafka.CommitNote(20 * time.Minute),
		"weir-detect": kafka.CommitNote(0), "weir-rules": "of somebody else"} {
		k.CommitAs(group, 2, note)
	}
	m := &Monitor{conf: Measurement{Topic: "raw-events", Groups: []string{"weir-raw", "weir-rollup", "weir-detect",
		"weir-rules"}, Bounds: Bounds{Records: 1000, Age: 10 * time.Minute, Resume: 0.8},
		Batching: map[string]time.Duration{"weir-raw": 5 * time.Second, "weir-rollup": 2 * time.Second,
			"weir-detect": 3 * time.Second}}, admin: k.Admin}
	if _, err := m.measure(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	for group, hold := range map[string]time.Duration{"weir-raw": 5 * time.Second, "weir-rollup": 20 * time.Minute,
		"weir-detect": 0, "weir-rules": 0} {
		got := m.meter.latest[group]
		if want := max(0, got.age-hold); got.behind != want || got.age < time.Minute {
			t.Errorf("%s is %s behind, at an age of %s: want %s", group, got.behind, got.age, want)
		}
	}
}
