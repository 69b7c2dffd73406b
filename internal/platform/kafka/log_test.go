package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

func TestLogs_ATopicMadeAnewIsSeenAtOnce(t *testing.T) {
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events", "others"))
	if err != nil {
		t.Fatal(err)
	}
	defer brokers.Close()
	cluster, err := New(brokers.ListenAddrs(), nil, Login{})
	if err != nil {
		t.Fatal(err)
	}
	logs := NewLogs(cluster, "test")
	defer logs.Close()
	read := func(since time.Time) []Log {
		t.Helper()
		got, err := logs.Of(t.Context(), since, "events", "none", "others")
		if err != nil || got[1] != 0 {
			t.Fatal(got, err)
		}
		return got
	}
	began := time.Now()
	before := read(began)
	if before[0] == 0 || before[0] == before[2] {
		t.Errorf("two topics are %v", before)
	}
	if err := brokers.DeleteTopic("events"); err != nil {
		t.Fatal(err)
	}
	if err := brokers.CreateTopic("events", 1, nil); err != nil {
		t.Fatal(err)
	}
	if again := read(began); again[0] != before[0] {
		t.Error("what was read since was read again")
	}
	now := read(time.Now())
	if now[0] == before[0] || now[0] == 0 || now[2] != before[2] {
		t.Errorf("%v, and before %v", now, before)
	}
}

// What was asked for is known again without a wait, even while somebody asks.
func TestLogs_WhatWasRenewedIsKnownAtOnce(t *testing.T) {
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer brokers.Close()
	cluster, err := New(brokers.ListenAddrs(), nil, Login{})
	if err != nil {
		t.Fatal(err)
	}
	logs := NewLogs(cluster, "test")
	defer logs.Close()
	if err := logs.Renew(t.Context()); err != nil {
		t.Fatalf("nothing was asked for, and is renewed: %v", err)
	}
	first, err := logs.Of(t.Context(), time.Time{}, "events")
	if err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	if err := logs.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	logs.turn <- struct{}{} // somebody asks
	stopped, stop := context.WithCancel(t.Context())
	stop()
	again, err := logs.Of(stopped, since, "events")
	if err != nil || again[0] != first[0] {
		t.Errorf("%v, and before %v: %v", again, first, err)
	}
	if _, err := logs.Of(stopped, time.Now(), "events"); err == nil {
		t.Error("what is too old is answered")
	}
	<-logs.turn
}
