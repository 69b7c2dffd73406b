// Package broker runs the embedded Kafka broker of standalone mode: franz-go's kfake, on disk, with each produced
// batch synced before it is acknowledged.
//
// kfake is meant for tests. Here it is a broker on one machine and one disk, durable across crashes and not
// replicated. For more, run the same stream configs against Kafka or Redpanda.
//
// A crash leaves a log with all acknowledged batches, and perhaps later ones, and group offsets that are never ahead
// of what was committed.
package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/platform/kafka"
)

// Config has the address of the broker and the folder of its log.
type Config struct {
	Dir      string // created if missing
	Address  string // on loopback; port 0 picks a free port
	Password string // the password of the broker's only user
	Topics   []Topic
	MinFree  uint64 // free bytes below which writes are refused until there is more room
	Logger   *slog.Logger
}

// defaultMinFree leaves room for the other stores on the same disk to finish their work.
const defaultMinFree = 128 << 20

// Broker is a running embedded broker.
type Broker struct {
	cluster *kfake.Cluster
	conf    Config
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// Start opens the log, creates the topics that are missing, and listens. When
// it returns, clients can connect.
func Start(conf Config) (*Broker, error) {
	host, portText, err := net.SplitHostPort(conf.Address)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded broker: address %q: %w", conf.Address, err)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("starting the embedded broker: it listens on loopback only, not on %q; for other machines "+
			"run Kafka and the cluster profile", host)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded broker: port %q: %w", portText, err)
	}
	if conf.Password == "" {
		return nil, errors.New("starting the embedded broker: it needs a password; every process of this machine reaches " +
			"its address")
	}
	if err := os.MkdirAll(conf.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("starting the embedded broker: %w", err)
	}
	// kfake would use the users of an earlier run instead of ours, or none at all.
	if err := os.Remove(filepath.Join(conf.Dir, "sasl.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("starting the embedded broker: forgetting earlier passwords: %w", err)
	}
	if conf.MinFree == 0 {
		conf.MinFree = defaultMinFree
	}
	ends := newTails()
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1), kfake.Ports(port), kfake.ClusterID("weir"),
		kfake.DataDir(conf.Dir), kfake.SyncWrites(),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			_, port, err := net.SplitHostPort(address) // kfake always returns 127.0.0.1
			if err != nil {
				return nil, err
			}
			l, err := net.Listen(network, net.JoinHostPort(host, port))
			return listener{l, ends}, err
		}),
		kfake.EnableSASL(), kfake.Superuser(mechanism, user, conf.Password),
		kfake.GroupMinSessionTimeout(time.Second),
		kfake.WithLogger(logger{conf.Logger}),
		kfake.BrokerConfigs(map[string]string{
			// kfake may delete the last batch of an idle partition, and after a crash would number its records from zero
			// again. So its retention is off, and retention.go does it.
			"log.cleaner.backoff.ms":    strconv.FormatInt((10 * 365 * 24 * time.Hour).Milliseconds(), 10),
			"log.segment.bytes":         strconv.Itoa(64 << 20),
			"message.max.bytes":         strconv.Itoa(usualBatch),
			"offsets.retention.minutes": strconv.Itoa(60 * 24 * 365),
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded broker on %s: %w", conf.Dir, err)
	}
	cluster.ControlKey(int16(kmsg.GetTelemetrySubscriptions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return noMetrics(req), nil, true
	})
	b := &Broker{cluster: cluster, conf: conf}
	if err := b.createTopics(); err != nil {
		cluster.Close()
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	guard := newGuard(b)
	b.done.Go(func() { guard.run(ctx) })
	b.done.Go(func() { b.retain(ctx) })
	return b, nil
}

// Address returns the address at which the broker listens.
func (b *Broker) Address() string { return b.cluster.ListenAddrs()[0] }

// Log returns the cluster config for clients of the broker, with the login.
func (b *Broker) Log() (kafka.Cluster, error) {
	return kafka.New([]string{b.Address()}, nil, Login(b.conf.Password))
}

// Close syncs the log and stops. Clients must have been closed before.
func (b *Broker) Close() {
	b.stop()
	b.done.Wait()
	b.cluster.Close()
}

func (b *Broker) createTopics() error {
	for _, t := range b.conf.Topics {
		settings := map[string]string{"retention.ms": strconv.FormatInt(t.Retention.Milliseconds(), 10)}
		if n := t.limit(); n > 0 {
			settings[maxMessage] = strconv.Itoa(n)
		}
		info := b.cluster.TopicInfo(t.Name)
		var err error
		switch {
		case info == nil:
			err = b.cluster.CreateTopic(t.Name, t.Partitions, settings)
		case info.Configs[maxMessage] == nil && t.limit() > 0: // created by a version that had one limit for all topics
			err = b.set(t.Name, maxMessage, settings[maxMessage])
		}
		if err != nil {
			return fmt.Errorf("creating topic %s: %w", t.Name, err)
		}
	}
	return nil
}

// set changes one setting of an existing topic.
func (b *Broker) set(topic, name, value string) error {
	log, err := b.Log()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(log.Options("weir-topics")...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	answers, err := kadm.NewClient(client).AlterTopicConfigs(ctx,
		[]kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
	if err != nil {
		return err
	}
	_, err = answers.On(topic, func(a *kadm.AlterConfigsResponse) error { return a.Err })
	return err
}

// noMetrics answers that no client metrics are wanted (KIP-714), and to ask again in an hour. Otherwise kfake would
// get the metrics of each client of the process twice a minute, and nobody reads them.
func noMetrics(req kmsg.Request) kmsg.Response {
	answer := req.ResponseKind().(*kmsg.GetTelemetrySubscriptionsResponse)
	answer.ClientInstanceID = req.(*kmsg.GetTelemetrySubscriptionsRequest).ClientInstanceID
	if answer.ClientInstanceID == [16]byte{} {
		_, _ = rand.Read(answer.ClientInstanceID[:]) // rand.Read never fails
	}
	answer.PushIntervalMillis = int32(time.Hour / time.Millisecond)
	return answer
}

// HasLog reports whether dir has the log of an earlier run.
func HasLog(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, "topics.json"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// free returns how many bytes an ordinary user may still write below dir.
func free(dir string) (uint64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("measuring the free space of %s: %w", dir, err)
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// logger logs kfake's warnings and errors, and discards its other messages.
type logger struct{ to *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.to.Error("embedded broker: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.to.Warn("embedded broker: " + fmt.Sprintf(format, args...))
	}
}
