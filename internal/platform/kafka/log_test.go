package kafka

import (
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
