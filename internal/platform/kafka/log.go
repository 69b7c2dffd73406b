package kafka

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Log is the identity of a topic's log, a hash of the cluster's ID and the topic's ID. A topic that was deleted and
// created again under its name is another Log, as is one of the same name in another cluster; a restart of the brokers
// changes nothing. Zero is no log: the brokers have no such topic. If brokers give topics no ID (Kafka before 2.8),
// only the cluster's counts.
type Log uint64

// String returns 16 hexadecimal digits, "" for no log.
func (l Log) String() string {
	if l == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", uint64(l))
}

func logOf(cluster, topic string, id [16]byte) Log {
	h := sha256.New()
	_, _ = h.Write([]byte(cluster)) // writing to a hash never fails
	_, _ = h.Write([]byte{0})
	if id == [16]byte{} {
		_, _ = h.Write([]byte(topic))
	} else {
		_, _ = h.Write(id[:])
	}
	return Log(max(1, binary.BigEndian.Uint64(h.Sum(nil))))
}

// Logs caches the identities of a cluster's topics. It is safe for concurrent use, and connects with the first query.
type Logs struct {
	cluster  Cluster
	clientID string
	turn     chan struct{} // held during a query
	client   *kgo.Client

	mu    sync.Mutex
	known map[string]seen
}

type seen struct {
	log Log
	at  time.Time
}

// NewLogs returns the Logs of a cluster, whose client has the ID.
func NewLogs(cluster Cluster, clientID string) *Logs {
	return &Logs{cluster: cluster, clientID: clientID, turn: make(chan struct{}, 1), known: map[string]seen{}}
}

// askMost bounds one query, so that callers learn of an outage.
const askMost = 10 * time.Second

// Of returns the identities of topics, read at since or later, in the order of topics. If all are cached, it does not
// wait.
func (l *Logs) Of(ctx context.Context, since time.Time, topics ...string) ([]Log, error) {
	if out, known := l.since(since, topics); known {
		return out, nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	out, known := l.since(since, topics)
	if !known {
		if err := l.ask(ctx, topics); err != nil {
			return nil, fmt.Errorf("reading which log topic %s is: %w", strings.Join(topics, ", "), l.cluster.Explain(err))
		}
		out, _ = l.since(time.Time{}, topics)
	}
	return out, nil
}

// since returns the cached identities of topics; known is false if some were read before since.
func (l *Logs) since(since time.Time, topics []string) (out []Log, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out = make([]Log, len(topics))
	for i, topic := range topics {
		k, ok := l.known[topic]
		if !ok || k.at.Before(since) {
			return nil, false
		}
		out[i] = k.log
	}
	return out, true
}

// Renew reads the identities of all known topics again, so that Of need not.
func (l *Logs) Renew(ctx context.Context) error {
	l.mu.Lock()
	topics := slices.Sorted(maps.Keys(l.known))
	l.mu.Unlock()
	if len(topics) == 0 {
		return nil
	}
	_, err := l.Of(ctx, time.Now(), topics...)
	return err
}

func (l *Logs) ask(ctx context.Context, topics []string) error {
	if l.client == nil {
		client, err := kgo.NewClient(l.cluster.Options(l.clientID)...)
		if err != nil {
			return err
		}
		l.client = client
	}
	ctx, cancel := context.WithTimeout(ctx, askMost)
	defer cancel()
	// The request goes to a broker: kadm would answer from the client's cache.
	req := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
	}
	at := time.Now()
	m, err := req.RequestWith(ctx, l.client)
	if err != nil {
		return err
	}
	cluster := ""
	if m.ClusterID != nil {
		cluster = *m.ClusterID
	}
	now := map[string]Log{}
	for _, t := range m.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		switch {
		case t.Topic == nil, errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InvalidTopicException):
		case err != nil:
			return err
		default:
			now[*t.Topic] = logOf(cluster, *t.Topic, t.TopicID)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, topic := range topics {
		l.known[topic] = seen{now[topic], at}
	}
	return nil
}

// Close closes the connections. Of must not be called afterwards.
func (l *Logs) Close() {
	l.turn <- struct{}{}
	if l.client != nil {
		l.client.Close()
	}
}
