package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/plugins/operate/etl/delta"
	"weir/plugins/store/lake"
)

const (
	streamRate       = 50_000
	streamPartitions = 4
)

// appended records when each event of the log was due, by partition and offset.
type appended [streamPartitions]struct {
	mutex sync.Mutex
	due   []time.Time
}

// note records an event. Callbacks of a partition come in the order of its offsets.
func (a *appended) note(r *kgo.Record) error {
	p := &a[r.Partition]
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if r.Offset != int64(len(p.due)) {
		return fmt.Errorf("partition %d has offset %d after %d events", r.Partition, r.Offset, len(p.due))
	}
	p.due = append(p.due, r.Timestamp)
	return nil
}

// seen returns when the events in a range of offsets were due.
func (a *appended) seen(partition int, from, to int64) []time.Time {
	p := &a[partition]
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.due[from:min(to, int64(len(p.due)))]
}

// stream measures a stream from a Kafka topic into a Delta Lake table in S3, and how soon readers see an event in a
// version of the table.
func (e *etlBench) stream(ctx context.Context) (err error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(e.servers["WEIR_TEST_KAFKA_BROKERS"]), kgo.DefaultProduceTopic(e.name),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(1_000_000))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, streamPartitions, 1, nil, e.name); err != nil {
		return fmt.Errorf("making a topic: %w", err)
	}
	defer func() { _, _ = admin.DeleteTopics(context.WithoutCancel(ctx), e.name) }()
	weir, stop, err := e.follow(ctx)
	if err != nil {
		return err
	}
	defer stop()
	var log appended
	if _, err := produce(ctx, client, &log, e.seconds(5)); err != nil { // warm-up: creates the table
		return err
	}
	reader := &deltaReader{folder: e.name + "/events", url: e.servers["WEIR_TEST_S3_URL"], log: &log}
	reader.ended.Store(true)
	if err := reader.follow(ctx, weir); err != nil {
		return err
	}
	before, err := weir.usage()
	if err != nil {
		return err
	}
	reader.ended.Store(false)
	reader.delays, reader.versions = nil, 0
	start := time.Now()
	followed := make(chan error, 1)
	go func() { followed <- reader.follow(ctx, weir) }()
	events, err := produce(ctx, client, &log, e.seconds(60))
	sent := time.Since(start)
	reader.ended.Store(true)
	if err := errors.Join(err, <-followed); err != nil {
		return err
	}
	took := time.Since(start)
	after, err := weir.usage()
	if err != nil {
		return err
	}
	if err := e.counted(ctx, &log); err != nil {
		return err
	}
	t := e.report.table("Events of Kafka into Delta Lake in S3, as a stream",
		fmt.Sprintf("%s events/s of 230 bytes in %d partitions for %s, after five seconds of warm-up; six columns and the "+
			"offset, batches of a second. Delay: from when an event is due in the log until a reader of the table, which "+
			"looks each 50 ms, finds a version that has it. Then deltalake counts the rows, which are as many as the events. "+
			"Broker, S3, generator and reader are on the same cores. Goals: 50,000 events/s, p95 < 5 s.",
			number(streamRate), streamPartitions, e.seconds(60)),
		"events/s appended", "events/s until all are visible", "versions", "delay p50 s", "p95 s", "max s",
		"µs of CPU per event", "peak memory MiB")
	t.row(float64(events)/sent.Seconds(), float64(events)/took.Seconds(), reader.versions, quantile(reader.delays, 0.5),
		quantile(reader.delays, 0.95), quantile(reader.delays, 1), perEvent(before, after, events), after.peak)
	return nil
}

// follow starts the pipeline, which runs until it is stopped.
func (e *etlBench) follow(ctx context.Context) (*process, func(), error) {
	columns := []any{}
	for _, c := range [][2]string{{"event_id", "uuid"}, {"device", "text"}, {"at", "timestamptz"}, {"celsius", "float64"},
		{"amount", "decimal(12,2)"}, {"count", "int64"}} {
		columns = append(columns, map[string]any{"name": c[0], "type": c[1]})
	}
	file, err := e.pipeline(e.name+"-stream", map[string]any{"mode": "stream", "every": "1s",
		"source": map[string]any{"type": "kafka", "brokers": strings.Split(e.servers["WEIR_TEST_KAFKA_BROKERS"], ","),
			"topic": e.name, "columns": columns, "metadata": map[string]any{"offset": "position"}},
		"sinks": []any{map[string]any{"format": "delta", "mode": "append", "url": e.servers["WEIR_TEST_S3_URL"],
			"table": e.name + "/events"}}})
	if err != nil {
		return nil, nil, err
	}
	var metrics string
	if err := freeAddresses(&metrics); err != nil {
		return nil, nil, err
	}
	p, err := e.spawn("etl-stream", e.env, e.binary, "etl", "run", file, "--state", filepath.Join(e.scratch, "stream"),
		"--metrics", metrics)
	if err != nil {
		return nil, nil, err
	}
	if err := p.await(ctx, metrics, ""); err != nil {
		p.stop()
		return nil, nil, err
	}
	return p, p.stop, nil
}

// produce appends events at the rate, each when it is due, for d, and returns their number.
func produce(ctx context.Context, client *kgo.Client, log *appended, d time.Duration) (int64, error) {
	const tick = 10 * time.Millisecond
	var failed atomic.Pointer[error]
	var events int64
	start := time.Now()
	for due := start; due.Before(start.Add(d)); due = due.Add(tick) {
		time.Sleep(time.Until(due))
		for range streamRate * int64(tick) / int64(time.Second) {
			i := events
			events++
			client.Produce(ctx, &kgo.Record{Timestamp: due, Value: measurement(i, due)}, func(r *kgo.Record, err error) {
				if err == nil {
					r.Timestamp = due
					err = log.note(r)
				}
				if err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			})
		}
		if err := failed.Load(); err != nil {
			return events, fmt.Errorf("appending events: %w", *err)
		}
	}
	if err := client.Flush(ctx); err != nil {
		return events, fmt.Errorf("appending events: %w", err)
	}
	if err := failed.Load(); err != nil {
		return events, fmt.Errorf("appending events: %w", *err)
	}
	return events, nil
}

func measurement(i int64, at time.Time) []byte {
	return fmt.Appendf(make([]byte, 0, 256), `{"event_id":"0197b2f4-5d0e-7c3a-9f1e-%012x","device":"device-%06d","at":"%s",`+
		`"celsius":%d.%d,"amount":"%d.25","count":%d}`, i, i%5000, at.UTC().Format("2006-01-02T15:04:05.000000Z"), 15+i%20,
		i%10, i%777, i)
}

// deltaReader polls which events the table contains.
type deltaReader struct {
	url, folder string
	log         *appended
	known       *delta.Snapshot
	at          [streamPartitions]int64
	delays      []float64 // seconds
	versions    int
	ended       atomic.Bool // no more events will come
}

// look reads the new part of the table's log and records the delays of its events.
func (r *deltaReader) look(ctx context.Context, table delta.Table) error {
	s, err := table.Read(ctx, r.known)
	if err != nil {
		return err
	}
	now := time.Now()
	if r.known == nil || s.Version != r.known.Version {
		r.versions++
	}
	r.known = s
	for id, txn := range s.Txns {
		p, err := strconv.Atoi(id[strings.LastIndexByte(id, '/')+1:])
		if err != nil || p >= streamPartitions {
			return fmt.Errorf("the table knows of %s, which is no partition", id)
		}
		for _, due := range r.log.seen(p, r.at[p], txn.Version) {
			r.delays = append(r.delays, now.Sub(due).Seconds())
			r.at[p]++
		}
	}
	return nil
}

// behind returns how many events of the log are not in the table.
func (r *deltaReader) behind() (n int) {
	for p := range r.log {
		n += len(r.log.seen(p, r.at[p], 1<<62))
	}
	return n
}

// follow polls the table until, after the end of the load, it contains all events.
func (r *deltaReader) follow(ctx context.Context, of *process) error {
	store, err := lake.Open(ctx, r.url)
	if err != nil {
		return err
	}
	defer store.Close()
	table := delta.Table{Store: store, Folder: r.folder}
	var deadline time.Time
	for {
		ended := r.ended.Load()
		if err := r.look(ctx, table); err != nil {
			return fmt.Errorf("reading the table: %w", err)
		}
		if ended && deadline.IsZero() {
			deadline = time.Now().Add(2 * time.Minute)
		}
		switch behind := r.behind(); {
		case ended && behind == 0:
			return nil
		case ended && time.Now().After(deadline):
			return fmt.Errorf("%d events are not visible two minutes after the last", behind)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-of.done:
			of.done <- err
			raw, _ := os.ReadFile(of.log)
			return fmt.Errorf("the stream has ended: %v\n%s", err, lastLines(raw, 20))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// counted checks the number of rows with another reader, deltalake for Python.
func (e *etlBench) counted(ctx context.Context, log *appended) error {
	events := 0
	for p := range log {
		events += len(log.seen(p, 0, 1<<62))
	}
	python, err := exec.CommandContext(ctx, filepath.Join(e.repo, "tests", "integration", "venv.sh")).Output()
	if err != nil {
		return fmt.Errorf("making the environment of the tests: %w", err)
	}
	bucket, query, _ := strings.Cut(strings.TrimPrefix(e.servers["WEIR_TEST_S3_URL"], "s3://"), "?")
	endpoint := ""
	for part := range strings.SplitSeq(query, "&") {
		if value, is := strings.CutPrefix(part, "endpoint="); is {
			endpoint = value
		}
	}
	c, err := e.spent(ctx, []string{"AWS_ENDPOINT_URL=" + endpoint, "AWS_ALLOW_HTTP=true", "AWS_REGION=us-east-1"},
		strings.TrimSpace(string(python)), "-c", "import sys, deltalake; print(deltalake.DeltaTable(sys.argv[1]).count())",
		"s3://"+bucket+"/"+e.name+"/events")
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(c.out)); got != strconv.Itoa(events) {
		return fmt.Errorf("the table has %s rows, and the log %d events", got, events)
	}
	return nil
}
