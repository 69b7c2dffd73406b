package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// attack is a kind of hostile request with the status it must get.
type attack struct {
	name   string
	header map[string]string
	body   []byte
	expect int
}

func attacks(key string) ([]attack, error) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(bytes.Repeat([]byte(" "), 50<<20)); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	known := func(more ...string) map[string]string {
		h := map[string]string{"X-API-Key": key}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	return []attack{
		{"an unknown key", map[string]string{"X-API-Key": "weir_" + strings.Repeat("a", 10) + "_" + strings.Repeat("b", 52)},
			[]byte("{}"), 401},
		{"no key", nil, []byte("{}"), 401},
		{"no JSON", known(), []byte(`[{"event_id":`), 400},
		{"deep nesting", known(), bytes.Repeat([]byte("["), 900_000), 400},
		{"an array of 100,000", known(), []byte("[" + strings.Repeat("0,", 100_000) + "0]"), 413},
		{"a body of 4 MiB", known(), bytes.Repeat([]byte("x"), 4<<20), 413},
		{"50 MiB in a gzip bomb", known("Content-Encoding", "gzip"), bomb.Bytes(), 413},
		{"a body that is no gzip", known("Content-Encoding", "gzip"), []byte("{}"), 400},
		{"another media type", known("Content-Type", "text/html"), []byte("{}"), 415},
	}, nil
}

// assault sends hostile requests until it is stopped: rate requests a second, of each kind in turn, and on further
// connections one byte a second.
type assault struct {
	requests, wrong atomic.Int64
	mu              sync.Mutex
	first           error // first request with another status than expected
	work            sync.WaitGroup
	cancel          context.CancelFunc
}

const slowConnections = 50

func startAssault(ctx context.Context, addr, key string, rate int) (*assault, error) {
	kinds, err := attacks(key)
	if err != nil {
		return nil, err
	}
	a := &assault{}
	ctx, a.cancel = context.WithCancel(ctx)
	client := &http.Client{Timeout: 10 * time.Second}
	a.work.Go(func() {
		defer client.CloseIdleConnections()
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				a.work.Go(func() { a.send(ctx, client, addr, kinds[n%len(kinds)]) })
			}
		}
	})
	for n := range slowConnections {
		a.work.Go(func() {
			for ctx.Err() == nil {
				dawdle(ctx, addr, n%2 == 0)
			}
		})
	}
	return a, nil
}

func (a *assault) send(ctx context.Context, client *http.Client, addr string, k attack) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/events", bytes.NewReader(k.body))
	if err != nil {
		a.unexpected(k, err)
		return
	}
	for name, value := range k.header {
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != k.expect {
			err = fmt.Errorf("status %d, not %d", res.StatusCode, k.expect)
		}
	}
	if ctx.Err() != nil {
		return // aborted by stop
	}
	a.requests.Add(1)
	if err != nil {
		a.unexpected(k, err)
	}
}

func (a *assault) unexpected(k attack, err error) {
	a.wrong.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.first == nil {
		a.first = fmt.Errorf("%s: %w", k.name, err)
	}
}

// dawdle sends a byte a second, in the middle of a header or of a body, until the server closes the connection.
func dawdle(ctx context.Context, addr string, header bool) {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		time.Sleep(100 * time.Millisecond)
		return
	}
	defer c.Close()
	text := "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: nobody\r\n"
	if !header {
		text += "Content-Length: 100000\r\n\r\n"
	}
	_, _ = io.WriteString(c, text)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
			if _, err := io.WriteString(c, "x"); err != nil {
				return // closed by the server, as it must be
			}
		}
	}
}

// stop ends the assault and returns an error unless every request got its expected status.
func (a *assault) stop() error {
	a.cancel()
	a.work.Wait()
	switch {
	case a.wrong.Load() > 0:
		return fmt.Errorf("%d of %d hostile requests were answered wrongly, first %w", a.wrong.Load(), a.requests.Load(),
			a.first)
	case a.requests.Load() == 0:
		return errors.New("no hostile request was answered")
	}
	return nil
}

// hostile measures whether hostile traffic affects other devices.
func (b *bench) hostile(ctx context.Context) error {
	t := b.report.table("Beside hostile traffic",
		fmt.Sprintf("5,000 events/s in batches of 10 from 1,000 connections, 1 %% of the events malformed, and one "+
			"hostile request for every hundred honest ones: unknown keys, bodies that are no JSON, too deep, too large, gzip "+
			"bombs. "+
			"%d more connections send a byte a second. Each hostile request got the refusal it must get, or this would have "+
			"failed. Milliseconds from when an event was due to its verdict. Goal: p99 < 50 ms.", slowConnections),
		"what runs", "hostile requests/s", "events/s", "p50", "p99", "p99.9", "max", "failed", "µs of CPU per event")
	alone, home, err := b.brokerAlone(ctx)
	if err != nil {
		return err
	}
	defer alone.close()
	weir, err := b.weirIngest(alone, home)
	if err != nil {
		return err
	}
	p, err := b.spawn("ingest", weir.env, weir.argv...)
	if err != nil {
		return err
	}
	err = p.await(ctx, weir.addr, "")
	for _, rate := range []int{0, 5} {
		if err == nil {
			err = b.besieged(ctx, t, "the gate alone", p, weir.addr, alone.key, rate)
		}
	}
	p.stop()
	if err != nil {
		return err
	}
	s, err := b.up(ctx, "")
	if err != nil {
		return err
	}
	defer s.close()
	for _, rate := range []int{0, 5} {
		if err := b.besieged(ctx, t, "everything", s.process, s.ingest, s.key, rate); err != nil {
			return err
		}
		if _, err := s.drain(ctx, time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// besieged measures devices beside rate hostile requests a second.
func (b *bench) besieged(ctx context.Context, t *table, name string, p *process, addr, key string,
	rate int) (err error) {
	load := []string{"--rate", "5000", "--batch", "10", "--connections", "1000", "--devices",
		strconv.Itoa(b.devices), "--malformed", "1", "--duration"}
	warmup := 2 * time.Duration(b.devices) * time.Second / 5000 // all devices report twice
	if _, err := b.load(ctx, "http://"+addr, key, append(load, secondsArg(warmup))...); err != nil {
		return err
	}
	if rate > 0 {
		a, err := startAssault(ctx, addr, key, rate)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.stop()) }()
	}
	before, err := p.usage()
	if err != nil {
		return err
	}
	sum, err := b.load(ctx, "http://"+addr, key, append(load, secondsArg(b.seconds(15)))...)
	if err != nil {
		return err
	}
	after, err := p.usage()
	if err != nil {
		return err
	}
	t.row(name, rate, sum.Rate, sum.Latency.P50, sum.Latency.P99, sum.Latency.P999, sum.Latency.Max, sum.Failed,
		perEvent(before, after, sum.Accepted+sum.Rejected))
	return nil
}
