package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/cli"
	"weir/internal/event"
	"weir/internal/platform/kafka"
)

// system is a running 'weir up' on a data directory.
type system struct {
	*process
	data                     string
	ingest, api, ops, broker string
	key, adminKey            string
	admin                    *kadm.Client
	logEnv                   []string // address and credentials of the broker, for other processes
}

// up starts weir with the shipped streams, or those of home if it is not "", on a new data directory, and waits until
// it is ready.
func (b *bench) up(ctx context.Context, home string, env ...string) (*system, error) {
	dir, err := os.MkdirTemp(b.scratch, "up-")
	if err != nil {
		return nil, err
	}
	return b.upOn(ctx, filepath.Join(dir, "data"), home, env...)
}

// upOn is up on a given data directory.
func (b *bench) upOn(ctx context.Context, data, home string, env ...string) (s *system, err error) {
	dir := filepath.Dir(data)
	s = &system{data: data}
	if err := freeAddresses(&s.ingest, &s.api, &s.ops, &s.broker); err != nil {
		return nil, err
	}
	args := []string{b.binary, "up", "--data", s.data, "--ingest", s.ingest, "--api", s.api, "--ops", s.ops, "--broker",
		s.broker}
	await := s.ingest
	if home != "" {
		args, await = append(args, "--home", home), s.broker
	}
	if s.process, err = b.spawn(filepath.Base(dir), env, args...); err != nil {
		return nil, err
	}
	if err := s.await(ctx, await, "http://"+s.ops+"/ready"); err != nil {
		s.stop()
		return nil, err
	}
	if s.key, err = b.fleetKey(s.data); err != nil {
		s.stop()
		return nil, err
	}
	client, err := s.client()
	if err != nil {
		s.stop()
		return nil, err
	}
	s.admin = kadm.NewClient(client)
	return s, nil
}

// fleetKey returns the key of the devices. It is kept beside the data directory, because a fleet has at most two
// keys.
func (b *bench) fleetKey(data string) (string, error) {
	path := filepath.Join(filepath.Dir(data), "bench.key")
	if raw, err := os.ReadFile(path); err == nil {
		return string(raw), nil
	}
	raw, err := exec.Command(b.binary, "keys", "create", "--fleet", "bench", "--scope", "ingest,query", "--data",
		data).Output()
	if err != nil {
		return "", fmt.Errorf("creating a key: %w", err)
	}
	key := strings.TrimSpace(string(raw))
	return key, os.WriteFile(path, []byte(key), 0o600)
}

// client returns a client of the embedded broker, with the password of the data directory.
func (s *system) client() (*kgo.Client, error) {
	login, err := cli.DataDir(s.data).BrokerLogin()
	if err != nil {
		return nil, err
	}
	log, err := kafka.New([]string{s.broker}, nil, login)
	if err != nil {
		return nil, err
	}
	s.logEnv = []string{"WEIR_BROKERS=" + s.broker, "WEIR_KAFKA_SASL=" + login.Mechanism,
		"WEIR_KAFKA_USER=" + login.User, "WEIR_KAFKA_PASSWORD=" + login.Password}
	return kgo.NewClient(log.Options("bench")...)
}

func (s *system) close() {
	s.admin.Close()
	s.stop()
}

func freeAddresses(into ...*string) error {
	for _, a := range into {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close() // only at the end, so that no two are the same
		*a = l.Addr().String()
	}
	return nil
}

// lag returns how many records of raw-events the slowest group has not committed.
func (s *system) lag(ctx context.Context, groups ...string) (int64, error) {
	return s.lagOf(ctx, "raw-events", groups...)
}

func (s *system) lagOf(ctx context.Context, topic string, groups ...string) (int64, error) {
	if len(groups) == 0 {
		groups = event.Groups()
	}
	ends, err := s.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("reading the log's ends: %w", err)
	}
	var worst int64
	for _, group := range groups {
		committed, err := s.admin.FetchOffsets(ctx, group)
		if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // the group has not read anything yet
			return 0, fmt.Errorf("reading the offsets of %s: %w", group, err)
		}
		var behind int64
		ends.Each(func(end kadm.ListedOffset) {
			at, ok := committed.Lookup(end.Topic, end.Partition)
			if !ok {
				at.At = 0
			}
			behind += end.Offset - max(at.At, 0)
		})
		worst = max(worst, behind)
	}
	return worst, nil
}

// settled waits until no existing group lags. With ingest alone there are none.
func (s *system) settled(ctx context.Context) error {
	there, err := s.admin.ListGroups(ctx)
	if err != nil {
		return fmt.Errorf("listing the groups: %w", err)
	}
	var groups []string
	for _, group := range event.Groups() {
		if _, runs := there[group]; runs {
			groups = append(groups, group)
		}
	}
	if len(groups) == 0 {
		return nil
	}
	_, err = s.drain(ctx, 5*time.Minute, groups...)
	return err
}

// drained is how fast a backlog was processed.
type drained struct {
	took time.Duration // until the last offset was committed
	rate float64       // events a second from 90 % to 10 % of the backlog, 0 if that was too fast to see
}

// drain waits until no group lags.
func (s *system) drain(ctx context.Context, atMost time.Duration, groups ...string) (drained, error) {
	return s.drainTopic(ctx, "raw-events", atMost, groups...)
}

func (s *system) drainTopic(ctx context.Context, topic string, atMost time.Duration, groups ...string) (d drained,
	err error) {
	start := time.Now()
	var first int64 = -1
	var high, low time.Duration // times at 90 % and 10 % of the backlog
	for {
		lag, err := s.lagOf(ctx, topic, groups...)
		if err != nil {
			return d, err
		}
		d.took = time.Since(start)
		if first < 0 {
			first = lag
		}
		if high == 0 && lag <= first*9/10 {
			high = d.took
		}
		if low == 0 && lag <= first/10 {
			low = d.took
		}
		if lag == 0 {
			if low > high {
				d.rate = float64(first) * 0.8 / (low - high).Seconds()
			}
			return d, nil
		}
		if d.took > atMost {
			return d, fmt.Errorf("%d records were not processed %v after the load had ended", lag, atMost)
		}
		select {
		case <-ctx.Done():
			return d, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// watchLag samples the lag until stop is called, which returns the largest.
func (s *system) watchLag(ctx context.Context) (stop func() (int64, error)) {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		worst int64
		err   error
	}
	done := make(chan result)
	go func() {
		var r result
		for ctx.Err() == nil {
			lag, err := s.lag(ctx)
			if err != nil && ctx.Err() == nil {
				r.err = err
			}
			if err == nil {
				r.worst = max(r.worst, lag)
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
		done <- r
	}()
	return func() (int64, error) { cancel(); r := <-done; return r.worst, r.err }
}
