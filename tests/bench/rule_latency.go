package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/sqldb"
	"weir/internal/platform/storeurl"
)

// ruleLatency measures, with all streams running, the time from an event's timestamp to the rule's result in the log,
// and its parts.
func (b *bench) ruleLatency(ctx context.Context) error {
	names, err := b.shipped()
	if err != nil {
		return err
	}
	home, err := b.home(names...) // the rules are read from this folder
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, "configs", "rules.yaml"), []byte(onlyHot), 0o600); err != nil {
		return err
	}
	s, err := b.up(ctx, home)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, stop := context.WithTimeout(ctx, b.seconds(30)+5*time.Minute)
	defer stop()
	if _, err = b.load(ctx, "http://"+s.ingest, s.key, "--duration", b.seconds(30).String(), "--rate", "5000",
		"--batch", "10", "--connections", "64", "--devices", strconv.Itoa(b.devices)); err != nil {
		return err
	}
	if _, err = s.drain(ctx, time.Minute, "weir-rules"); err != nil {
		return err
	}
	told, err := s.toldResults(ctx)
	if err != nil {
		return err
	}
	t := b.report.table("Rules, from a device to a result",
		"All of `weir up` at 5,000 events/s in tens, with a rule that tells at once of each event above 60 °C, in ms: from "+
			"the event's timestamp to its record in the log, after which comes the 202; until what follows from it is "+
			"committed; and until the result's record is in the topic rule-results. Goal: from the log to the topic p99 250 ms.",
		"results", "from", "to", "p50 ms", "p99 ms", "largest ms")
	t.row(len(told), "the device", "the log", told.at(0.5, told.toLog), told.at(0.99, told.toLog), told.at(1, told.toLog))
	t.row("", "the log", "the commit", told.at(0.5, told.toStore), told.at(0.99, told.toStore), told.at(1, told.toStore))
	t.row("", "the commit", "the topic", told.at(0.5, told.toTopic), told.at(0.99, told.toTopic), told.at(1, told.toTopic))
	all := func(r toldResult) time.Duration { return r.topic.Sub(r.log) }
	t.row("", "the log", "the topic", told.at(0.5, all), told.at(0.99, all), told.at(1, all))
	return nil
}

// toldResult is when an event was due, in the log, committed with its result, and in the topic of results.
type toldResult struct{ due, log, store, topic time.Time }

type toldResults []toldResult

func (toldResults) toLog(r toldResult) time.Duration   { return r.log.Sub(r.due) }
func (toldResults) toStore(r toldResult) time.Duration { return r.store.Sub(r.log) }
func (toldResults) toTopic(r toldResult) time.Duration { return r.topic.Sub(r.store) }

// at returns a quantile in ms.
func (t toldResults) at(q float64, of func(toldResult) time.Duration) float64 {
	all := make([]time.Duration, len(t))
	for i, r := range t {
		all[i] = of(r)
	}
	slices.Sort(all)
	return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1e3
}

// toldResults waits until all results are sent to the topic, and returns the times of each. The rule has one result
// per event.
func (s *system) toldResults(ctx context.Context) (told toldResults, err error) {
	db, err := sqldb.Open(ctx, storeurl.New("sqlite", filepath.Join(s.data, "control.db")))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for open := 1; open > 0; time.Sleep(50 * time.Millisecond) {
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM rule_result WHERE sent = 0`).Scan(&open); err != nil {
			return nil, fmt.Errorf("waiting until results are handed on: %w", err)
		}
	}
	written, err := s.times(ctx, "raw-events", func(r *kgo.Record) string {
		return fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
	})
	if err != nil {
		return nil, err
	}
	topic, err := s.times(ctx, "rule-results", func(r *kgo.Record) string {
		for _, h := range r.Headers {
			if h.Key == "weir_result_id" {
				return string(h.Value)
			}
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `SELECT id, window_end, recorded_at, result FROM rule_result`)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var id, text string
		var due, store int64
		var result struct {
			First string `json:"first"`
		}
		if err = rows.Scan(&id, &due, &store, &text); err == nil {
			err = json.NewDecoder(strings.NewReader(text)).Decode(&result)
		}
		if err != nil {
			break
		}
		r := toldResult{time.UnixMicro(due), written[result.First], time.UnixMicro(store), topic[id]}
		if r.log.IsZero() || r.topic.IsZero() {
			err = fmt.Errorf("the result %s is not in the topic, or its event %s not in the log", id, result.First)
			break
		}
		told = append(told, r)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err == nil && len(told) == 0 {
		err = errors.New("no result came")
	}
	return told, err
}

// times reads a topic from its beginning to its current end, and returns when the first record of each name was
// written.
func (s *system) times(ctx context.Context, topic string, name func(*kgo.Record) string) (map[string]time.Time, error) {
	ends, err := s.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	left := map[int32]int64{}
	for n, end := range ends[topic] {
		if end.Offset > 0 {
			left[n] = end.Offset
		}
	}
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	client.AddConsumeTopics(topic)
	found := map[string]time.Time{}
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := errors.Join(fetches.Err(), ctx.Err()); err != nil {
			return nil, fmt.Errorf("reading %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if of := name(r); found[of].IsZero() {
				found[of] = r.Timestamp
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return found, nil
}
