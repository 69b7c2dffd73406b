package broker

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

func at(t *testing.T, brokers ...string) kafka.Cluster {
	t.Helper()
	log, err := kafka.New(brokers, nil, kafka.Login{})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestBroker_TopicsAreMadeOnceAndFoundAgain(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	for _, again := range []bool{false, true} {
		made, err := CreateTopics(t.Context(), at(t, cluster.ListenAddrs()...), ClusterTopics(), 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(made) != len(ClusterTopics()) {
			t.Fatalf("%d topics, want %d", len(made), len(ClusterTopics()))
		}
		for _, m := range made {
			if m.Created == again || len(m.Differences) > 0 {
				t.Errorf("%s: created %t (again %t), differences %v", m.Name, m.Created, again, m.Differences)
			}
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	resources, err := kadm.NewClient(client).DescribeTopicConfigs(t.Context(), "dead-letter")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range resources[0].Configs {
		got[c.Key] = c.MaybeValue()
	}
	for key, want := range map[string]string{"retention.ms": "86400000", "max.message.bytes": "9437184",
		"min.insync.replicas": "2"} {
		if got[key] != want {
			t.Errorf("%s of dead-letter is %q, want %q", key, got[key], want)
		}
	}
}

// Partitions cannot be taken back, and another retention deletes: what is there
// is named, and left.
func TestBroker_TopicsThatDifferAreNamedAndLeft(t *testing.T) {
	b := start(t, t.TempDir(), 1)
	made, err := CreateTopics(t.Context(), logOf(t, b), ClusterTopics(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range made {
		want := Topics()[i].Partitions
		if m.Created || !strings.Contains(strings.Join(m.Differences, "; "), "partitions, not") {
			t.Errorf("%s: created %t, differences %v", m.Name, m.Created, m.Differences)
		}
		if got := partitions(t, b, m.Name); got != int(want) {
			t.Errorf("%s has %d partitions now, want the %d it had", m.Name, got, want)
		}
	}
}

func partitions(t *testing.T, b *Broker, topic string) int {
	t.Helper()
	details, err := kadm.NewClient(dial(t, b)).ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return len(details[topic].Partitions)
}
