package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

// Topic is one topic of the log. Retention is how long a record is kept.
type Topic struct {
	Name       string
	Partitions int32
	Retention  time.Duration
}

// maxLetter is the largest batch that the log must accept: a dead letter has the original bytes in an envelope of at
// most 8 MiB (max_message_bytes of the streams), and the batch adds a little.
const maxLetter = 9 << 20

// usualBatch is the largest batch of all other topics: Kafka's default.
const usualBatch = 1<<20 + 12

const maxMessage = "max.message.bytes"

// limit returns the largest batch of the topic, 0 for the brokers' own limit.
func (t Topic) limit() int {
	if t.Name == "dead-letter" || t.Name == "user-dead-letter" {
		return maxLetter
	}
	return 0
}

// Topics returns the topics of standalone mode. They have few partitions, because each synced batch of a partition
// costs an fsync.
func Topics() []Topic { return topics(1, 1, 1, 1, 1) }

// ClusterTopics returns the topics of the cluster profile, where the number of partitions bounds how many processes
// can share the work.
func ClusterTopics() []Topic { return topics(30, 30, 6, 6, 6) }

func topics(raw, replay, deadLetter, alert, result int32) []Topic {
	return []Topic{
		{"raw-events", raw, 4 * time.Hour},
		{"replay-events", replay, 4 * time.Hour},
		{"dead-letter", deadLetter, 24 * time.Hour},
		{"alert-events", alert, 7 * 24 * time.Hour},
		{"rule-results", result, 7 * 24 * time.Hour},
		{"user-events", raw, 4 * time.Hour}, // empty unless events of users are collected (configs/people)
		{"user-replay-events", replay, 4 * time.Hour},
		{"user-dead-letter", deadLetter, 24 * time.Hour},
	}
}

// Also adds the user's own topics, whose names are separated by commas. They are made like that of raw events, so that
// rules can join them.
func Also(topics []Topic, names string) []Topic {
	all := slices.Clone(topics)
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		if name != "" && !slices.ContainsFunc(all, func(t Topic) bool { return t.Name == name }) {
			all = append(all, Topic{name, topics[0].Partitions, topics[0].Retention})
		}
	}
	return all
}

// configs returns the settings of a topic on external brokers. With three or more replicas, two must have a record
// before it is acknowledged: otherwise the loss of one broker could lose acknowledged events.
func (t Topic) configs(replicas int16) map[string]string {
	set := map[string]string{
		"cleanup.policy":  "delete",
		"retention.ms":    strconv.FormatInt(t.Retention.Milliseconds(), 10),
		"retention.bytes": "-1", // unprocessed records must not be deleted because of their size
	}
	if n := t.limit(); n > 0 {
		set[maxMessage] = strconv.Itoa(n)
	}
	if replicas >= 3 {
		set["min.insync.replicas"] = "2"
	}
	return set
}

// Made is the outcome for one topic.
type Made struct {
	Topic
	Created     bool
	Differences []string // how an existing topic, which was not changed, differs
}

// CreateTopics creates the missing topics on the brokers, and compares the existing ones, which it does not change:
// partitions cannot be removed, and a shorter retention deletes records. When it fails, some topics may have been
// created; it can be called again. When it returns without an error, the topics can be used.
func CreateTopics(ctx context.Context, log kafka.Cluster, topics []Topic, replicas int16) ([]Made, error) {
	client, err := kgo.NewClient(append(log.Options("weir-topics"), kgo.RetryTimeout(20*time.Second))...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the log: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := client.Ping(ctx); err != nil { // the requests below are retried for a while
		return nil, fmt.Errorf("connecting to the log: %w", log.Explain(err))
	}
	var all []Made
	for _, t := range topics {
		made, err := createTopic(ctx, admin, t, replicas)
		if err != nil {
			return all, fmt.Errorf("creating topic %s: %w", t.Name, log.Explain(err))
		}
		all = append(all, made)
	}
	return all, nil
}

func createTopic(ctx context.Context, admin *kadm.Client, t Topic, replicas int16) (Made, error) {
	configs := map[string]*string{}
	for k, v := range t.configs(replicas) {
		configs[k] = &v
	}
	answers, err := admin.CreateTopics(ctx, t.Partitions, replicas, configs, t.Name)
	if err != nil {
		return Made{}, err
	}
	answer, err := answers.On(t.Name, nil)
	if err != nil {
		return Made{}, err
	}
	if answer.Err != nil && !errors.Is(answer.Err, kerr.TopicAlreadyExists) {
		if answer.ErrMessage != "" {
			return Made{}, fmt.Errorf("%w (%s)", answer.Err, answer.ErrMessage)
		}
		return Made{}, answer.Err
	}
	made := Made{Topic: t, Created: answer.Err == nil}
	for { // brokers know a topic only some time after the controller has created it
		made.Differences, err = compare(ctx, admin, t, replicas)
		if !kerr.IsRetriable(err) {
			return made, err
		}
		select {
		case <-ctx.Done():
			return made, err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// compare names the differences between an existing topic and its wanted settings.
func compare(ctx context.Context, admin *kadm.Client, t Topic, replicas int16) (differences []string, err error) {
	details, err := admin.ListTopics(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	if err := details[t.Name].Err; err != nil {
		return nil, err
	}
	if n := len(details[t.Name].Partitions); n != int(t.Partitions) {
		differences = append(differences, fmt.Sprintf("%d partitions, not %d", n, t.Partitions))
	}
	resources, err := admin.DescribeTopicConfigs(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	resource, err := resources.On(t.Name, nil)
	if err != nil {
		return nil, err
	}
	if resource.Err != nil {
		return nil, resource.Err
	}
	wanted := t.configs(replicas)
	for _, config := range resource.Configs {
		if want, ok := wanted[config.Key]; ok && config.MaybeValue() != want {
			differences = append(differences, fmt.Sprintf("%s is %s, not %s", config.Key, config.MaybeValue(), want))
		}
	}
	return differences, nil
}
