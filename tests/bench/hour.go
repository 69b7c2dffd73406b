package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
)

// hour is the events of an hour in the past: one of each device every 10 s, or every interval that every names, sent
// as fast as the gate answers.
type hour struct {
	from    time.Time
	devices int
	every   time.Duration
}

// steps returns the number of events of a device.
func (h hour) steps() int { return int(time.Hour / h.interval()) }

func (h hour) interval() time.Duration { return cmp.Or(h.every, 10*time.Second) }

func (h hour) events() int64 { return int64(h.devices) * int64(h.steps()) }

// post sends the hour to a gate and returns once all of it is acknowledged.
func (h hour) post(ctx context.Context, url, key string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bodies := make(chan []byte)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for body := range bodies {
				if err := postUntilTaken(ctx, url, key, body); err != nil {
					cancel(err)
				}
			}
		})
	}
	h.bodies(func(body []byte) bool {
		select {
		case bodies <- body:
			return true
		case <-ctx.Done():
			return false
		}
	})
	close(bodies)
	workers.Wait()
	return context.Cause(ctx)
}

// bodies calls each with requests of 100 events, ordered by timestamp, until it returns false.
func (h hour) bodies(each func([]byte) bool) {
	var body bytes.Buffer
	n := 0
	for step := range h.steps() {
		at := h.from.Add(time.Duration(step) * h.interval())
		for d := range h.devices {
			fmt.Fprintf(&body, `{"event_id":%q,"device_id":"press-%05d","device_firmware_version":"2.1.0","timestamp":%q,"metrics":{"cpu_temp":%d.%d,"battery_voltage":3.7,"vibration":0.%d,"pressure":%d,"humidity":41}}`+"\n",
				uuid.NewString(), d, at.Add(time.Duration(d%1000)*time.Millisecond).UTC().Format(time.RFC3339Nano),
				40+step%30, d%10, 1+d%9, 90+step%20)
			if n++; n%100 == 0 {
				if !each(bytes.Clone(body.Bytes())) {
					return
				}
				body.Reset()
			}
		}
	}
	if body.Len() > 0 {
		each(body.Bytes())
	}
}

// postUntilTaken posts a batch, and again while the gate answers 429 or 503, for up to two minutes.
func postUntilTaken(ctx context.Context, url, key string, body []byte) error {
	var err error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline) &&
		ctx.Err() == nil; time.Sleep(time.Second) {
		if err = postBatch(ctx, url, key, body); !errors.Is(err, errNotNow) {
			return err
		}
	}
	return err
}

var errNotNow = errors.New("not now")

func postBatch(ctx context.Context, url, key string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("X-API-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("posting an hour of events: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		err = errNotNow
	} else if err == nil && resp.StatusCode != http.StatusAccepted {
		err = errors.New("not accepted")
	}
	if err != nil {
		return fmt.Errorf("posting an hour of events: answered %d: %.300s: %w", resp.StatusCode, answer, err)
	}
	return nil
}
