package eventlog

import (
	"fmt"
	"math"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/conf"
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

// The least and the most that a record may have.
const leastBytes, mostBytes = 1 << 10, math.MaxInt32 / 2

func configFromParsed(parsed *service.ParsedConfig, log *service.Logger) (config, error) {
	c := config{log: log}
	var compression string
	var most, letterMost int
	const letters = eventLogFieldDeadLetter + "."
	err := conf.Read(parsed, eventLogFieldClientID, &c.clientID, eventLogFieldTopic, &c.topic, eventLogFieldCompression,
		&compression,
		eventLogFieldLinger, conf.NotNegative(&c.linger), eventLogFieldTimeout, conf.NotNegative(&c.timeout),
		eventLogFieldMaxBytes, conf.Size(&most, leastBytes, mostBytes), eventLogFieldMaxBuffered,
		conf.Positive(&c.maxBuffered),
		eventLogFieldMaxInFlight, conf.Positive(&c.inFlight), letters+eventLogFieldTopic, &c.letterTopic,
		letters+eventLogFieldMaxBytes, conf.Size(&letterMost, leastBytes, mostBytes))
	if err != nil {
		return c, err
	}
	if c.cluster, err = kafka.FromParsed(parsed); err != nil {
		return c, err
	}
	switch {
	case c.topic == "":
		return c, fmt.Errorf("reading field %s: it is empty", eventLogFieldTopic)
	case c.topic == c.letterTopic:
		return c, fmt.Errorf("reading field %s%s: expected another topic than that of events", letters, eventLogFieldTopic)
	}
	c.compression = codec(compression)
	c.maxBytes, c.letterBytes = int32(most), int32(max(most, letterMost))
	if err := conf.Checked(parsed, nil); err != nil {
		return c, err
	}
	c.processors, err = parsed.FieldProcessorList(eventLogFieldDeadLetter, eventLogFieldProcessors)
	return c, err
}

func codec(name string) kgo.CompressionCodec {
	switch name {
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
	return append(c.cluster.Options(c.clientID), kgo.WithLogger(kafka.ClientLog{To: c.log}),
		kgo.ProducerLinger(c.linger), kgo.ProduceRequestTimeout(c.timeout), kgo.ProducerBatchCompression(c.compression),
		kgo.ProducerBatchMaxBytes(n), kgo.MaxBufferedRecords(c.maxBuffered),
		kgo.MetadataMinAge(leaderLookup))
}
