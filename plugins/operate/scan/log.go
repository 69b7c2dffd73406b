package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/kafka"
)

const (
	clientID = "weir-privacy-scan"

	// quiet is how long to wait for records before asking whether there are any more, and silent
	// how long before the log counts as unreadable.
	quiet, silent = 5 * time.Second, 2 * time.Minute
)

// log reads every record of the topics, also those of open or aborted transactions, because they
// are on the log's disks.
func (s *scan) log(ctx context.Context) error {
	client, err := kgo.NewClient(s.Log.Options(clientID)...)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topics, err := s.present(ctx, admin)
	if err != nil || len(topics) == 0 {
		return err
	}
	positions := kafka.Positions{Admin: admin}
	ends, err := positions.Ends(ctx, topics...)
	if err != nil {
		return s.Log.Explain(err)
	}
	starts, err := positions.Starts(ctx, topics...)
	if err != nil {
		return s.Log.Explain(err)
	}
	if !s.Since.IsZero() {
		after, err := positions.After(ctx, s.Since, topics...)
		if err != nil {
			return s.Log.Explain(err)
		}
		for p, first := range after {
			if first < 0 {
				first = ends[p]
			}
			starts[p] = max(starts[p], first)
		}
	}
	for p, end := range ends {
		if starts[p] >= end {
			continue
		}
		if err := s.partition(ctx, positions, p, starts[p], end); err != nil {
			return fmt.Errorf("reading %s: %w", p, s.Log.Explain(err))
		}
	}
	return nil
}

// present returns which of the topics exist.
func (s *scan) present(ctx context.Context, admin *kadm.Client) (topics []string, err error) {
	details, err := admin.ListTopics(ctx, s.Topics...)
	if err != nil {
		return nil, fmt.Errorf("listing the topics: %w", s.Log.Explain(err))
	}
	for _, t := range details.Sorted() {
		switch {
		case errors.Is(t.Err, kerr.UnknownTopicOrPartition):
		case t.Err != nil:
			return nil, fmt.Errorf("looking for topic %s: %w", t.Topic, s.Log.Explain(t.Err))
		default:
			topics = append(topics, t.Topic)
		}
	}
	return topics, nil
}

// partition reads the records with offsets in [next, end).
func (s *scan) partition(ctx context.Context, positions kafka.Positions, p kafka.Partition, next, end int64) error {
	client, err := kgo.NewClient(append(s.Log.Options(clientID),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.Topic: {p.Number: kgo.NewOffset().At(next)}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadUncommitted()),
		kgo.FetchMaxPartitionBytes(1<<20), kgo.FetchMaxBytes(1<<20),
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	for heard := time.Now(); next < end; {
		polled, cancel := context.WithTimeout(ctx, quiet)
		fetches := client.PollRecords(polled, 1000)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) {
				return e.Err
			}
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if r.Offset < end && !r.Attrs.IsControl() {
				s.record(r)
			}
			next, heard = r.Offset+1, time.Now()
		}
		if fetches.NumRecords() > 0 {
			continue
		}
		starts, err := positions.Starts(ctx, p.Topic)
		if err != nil {
			return err
		}
		if next = max(next, starts[p]); next < end && time.Since(heard) > silent {
			return fmt.Errorf("the log has offset %d and does not give it", next)
		}
	}
	return nil
}

// record scans a record. Its fleet is that of its header, or else of the document in it.
func (s *scan) record(r *kgo.Record) {
	var letter struct {
		Fleet    string `json:"fleet"`
		Original []byte `json:"original"` // in base64
		Encoding string `json:"original_encoding"`
	}
	fleet, said := "", false
	for _, h := range r.Headers {
		if h.Key == event.HeaderFleet {
			fleet, said = string(h.Value), true
		}
	}
	if s.Fleet != "" && !said || bytes.Contains(r.Value, []byte(`"original_encoding"`)) {
		_ = json.Unmarshal(r.Value, &letter) // members that it lacks stay empty
	}
	if !said {
		fleet = letter.Fleet
	}
	if s.Fleet != "" && fleet != s.Fleet {
		return
	}
	s.row()
	s.value(r.Topic+" key", "", r.Key)
	s.value(r.Topic+" value", "", r.Value)
	if letter.Encoding == "base64" {
		s.value(r.Topic+" value /original", "", letter.Original)
	}
	for _, h := range r.Headers {
		s.value(r.Topic+" header "+h.Key, h.Key, h.Value)
	}
}
