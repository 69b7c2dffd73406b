package eventlog

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

// config is an event_log's, read.
type config struct {
	cluster     kafka.Cluster
	clientID    string
	topic       string
	compression kgo.CompressionCodec
	linger      time.Duration
	timeout     time.Duration
	maxBytes    int32
	maxBuffered int
	inFlight    int

	letterTopic string
	letterBytes int32
	processors  []*service.OwnedProcessor

	log *service.Logger
}

// fields reads a parsed config and keeps the first error.
type fields struct {
	conf *service.ParsedConfig
	err  error
}

func (f *fields) keep(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (f *fields) text(path ...string) string {
	s, err := f.conf.FieldString(path...)
	f.keep(err)
	return s
}

func (f *fields) positive(name string) int {
	n, err := f.conf.FieldInt(name)
	f.keep(err)
	if n < 1 {
		f.keep(fmt.Errorf("%s must be at least 1", name))
	}
	return n
}

func (f *fields) duration(name string) time.Duration {
	d, err := f.conf.FieldDuration(name)
	f.keep(err)
	if d < 0 {
		f.keep(fmt.Errorf("%s must not be negative", name))
	}
	return d
}

func (f *fields) bytes(path ...string) int32 {
	n, err := humanize.ParseBytes(f.text(path...))
	if err == nil && (n < 1<<10 || n > math.MaxInt32/2) {
		err = errors.New("must lie between 1KiB and 1GiB")
	}
	if err != nil {
		f.keep(fmt.Errorf("%s: %w", strings.Join(path, "."), err))
		return 0
	}
	return int32(n)
}

func configFromParsed(conf *service.ParsedConfig, log *service.Logger) (config, error) {
	f := &fields{conf: conf}
	c := config{
		clientID: f.text(eventLogFieldClientID), topic: f.text(eventLogFieldTopic),
		linger: f.duration(eventLogFieldLinger), timeout: f.duration(eventLogFieldTimeout),
		maxBytes: f.bytes(eventLogFieldMaxBytes), maxBuffered: f.positive(eventLogFieldMaxBuffered), inFlight: f.positive(eventLogFieldMaxInFlight),
		letterTopic: f.text(eventLogFieldDeadLetter, eventLogFieldTopic), letterBytes: f.bytes(eventLogFieldDeadLetter, eventLogFieldMaxBytes),
		compression: f.codec(), log: log,
	}
	var err error
	c.cluster, err = kafka.FromParsed(conf)
	f.keep(err)
	switch {
	case c.topic == "":
		f.keep(fmt.Errorf("%s is empty", eventLogFieldTopic))
	case c.topic == c.letterTopic:
		f.keep(fmt.Errorf("%s.%s must be another topic", eventLogFieldDeadLetter, eventLogFieldTopic))
	}
	if f.err != nil {
		return c, f.err
	}
	c.letterBytes = max(c.letterBytes, c.maxBytes)
	c.processors, err = conf.FieldProcessorList(eventLogFieldDeadLetter, eventLogFieldProcessors)
	return c, err
}

func (f *fields) codec() kgo.CompressionCodec {
	switch f.text(eventLogFieldCompression) {
	case "lz4":
		return kgo.Lz4Compression()
	case "snappy":
		return kgo.SnappyCompression()
	case "zstd":
		return kgo.ZstdCompression()
	case "gzip":
		return kgo.GzipCompression()
	}
	return kgo.NoCompression()
}

// leaderLookup is how soon a refused request may ask again who leads a
// partition: until it knows, its batches wait.
const leaderLookup = 500 * time.Millisecond

// client returns the options of a client whose batches have at most n bytes.
// What they leave out are the client's defaults: idempotent writes that wait for
// all replicas in sync, tried again until the brokers are back.
func (c *config) client(n int32) []kgo.Opt {
	return append(c.cluster.Options(c.clientID), kgo.WithLogger(clientLog{c.log}),
		kgo.ProducerLinger(c.linger), kgo.ProduceRequestTimeout(c.timeout), kgo.ProducerBatchCompression(c.compression),
		kgo.ProducerBatchMaxBytes(n), kgo.MaxBufferedRecords(c.maxBuffered),
		kgo.MetadataMinAge(leaderLookup))
}

// clientLog passes on what the client has to say: what it tries again by itself
// is worth a warning at most.
type clientLog struct{ log *service.Logger }

func (clientLog) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (l clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	log := l.log.With(keyvals...)
	if level == kgo.LogLevelError {
		log.Error(msg)
	} else {
		log.Warn(msg)
	}
}
