package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// poster sends a load to any ingest: events of many devices at a steady rate, as JSON arrays, on a number of
// connections. A status of 2xx counts as accepted.
type poster struct {
	url, key          string
	devices, batch    int
	rate, connections int
	least             int // minimum of events, whatever the duration

	event func(n int, device, at string) string // returns the nth event; nil: reported
}

// reported returns a device's report.
func reported(n int, device, at string) string {
	d := n % 1000
	return fmt.Sprintf(`{"event_id":%q,"device_id":%q,"device_firmware_version":"2.1.0","timestamp":%q,`+
		`"metrics":{"cpu_temp":%d.%d,"battery_voltage":3.7,"vibration":0.%d,"pressure":%d,"humidity":41}}`,
		uuid.NewString(), device, at, 40+n%30, d%10, 1+d%9, 90+n%20)
}

// post sends for d, or longer if answers are late, and returns how many events were accepted and how many refused.
func (p poster) post(ctx context.Context, d time.Duration) (taken, failed int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	each := time.Second * time.Duration(p.batch*p.connections) / time.Duration(p.rate)
	var took, refused atomic.Int64
	var workers sync.WaitGroup
	start := time.Now()
	for c := range p.connections {
		workers.Go(func() {
			wire, err := newWire(p.url, p.key)
			if err != nil {
				cancel(err)
				return
			}
			defer wire.close()
			var body []byte
			due := start.Add(each * time.Duration(c) / time.Duration(p.connections))
			for n := c * p.batch; due.Before(start.Add(d)) || n < p.least; n, due = n+p.connections*p.batch, due.Add(each) {
				select {
				case <-time.After(time.Until(due)):
				case <-ctx.Done():
					return
				}
				body = p.append(body[:0], n)
				ok, err := wire.post(ctx, body)
				if err != nil {
					cancel(err)
					return
				}
				if ok {
					took.Add(int64(p.batch))
				} else {
					refused.Add(int64(p.batch))
				}
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return 0, 0, err
	}
	return took.Load(), refused.Load(), ctx.Err()
}

// append appends a batch: the events from the nth on.
func (p poster) append(body []byte, n int) []byte {
	at := time.Now().UTC().Format(time.RFC3339Nano)
	event := p.event
	if event == nil {
		event = reported
	}
	for i := range p.batch {
		body = append(body, "[,"[min(i, 1)])
		body = append(body, event(n+i, fmt.Sprintf("press-%05d", (n+i)%p.devices), at)...)
	}
	return append(body, ']')
}

// send posts a body of events and reports whether they were accepted.
func (p poster) send(ctx context.Context, client *http.Client, body io.Reader) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/events", body)
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-API-Key", p.key)
	resp, err := client.Do(req)
	if err != nil {
		return false, fmt.Errorf("posting events: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return false, fmt.Errorf("posting events: %w", err)
	}
	return resp.StatusCode/100 == 2, nil
}
