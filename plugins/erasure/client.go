package erasure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Client makes and watches erasures over the api.
type Client struct {
	URL string // of the api, without path
	Key string // an admin key
}

const (
	watchEvery = 500 * time.Millisecond
	awayMost   = 5 * time.Minute // the api may restart while an erasure is watched
	callMost   = 30 * time.Second
)

// errAway says that the api did not answer, or not now: ask again.
var errAway = errors.New("the api does not answer")

// Create queues an erasure.
func (c *Client) Create(ctx context.Context, spec Spec) (*Erasure, error) {
	body, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	e := new(Erasure)
	return e, c.call(ctx, http.MethodPost, "/v1/erasures", body, e)
}

// Get returns an erasure.
func (c *Client) Get(ctx context.Context, id string) (*Erasure, error) {
	e := new(Erasure)
	return e, c.call(ctx, http.MethodGet, "/v1/erasures/"+id, nil, e)
}

func (c *Client) call(ctx context.Context, method, path string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking the api: %w", err)
	}
	req.Header.Set("X-API-Key", c.Key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	if resp.StatusCode >= 300 {
		var p struct{ Title, Detail string }
		if json.Unmarshal(raw, &p) != nil {
			p.Title = http.StatusText(resp.StatusCode)
		}
		err := fmt.Errorf("the api answered %d: %s: %s", resp.StatusCode, p.Title, p.Detail)
		if resp.StatusCode >= 500 {
			return fmt.Errorf("%w: %w", errAway, err)
		}
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading the api's answer: %w", err)
	}
	return nil
}

// Watch calls each with the erasure as it goes, and returns it when it has
// ended. An api that restarts meanwhile is waited for.
func (c *Client) Watch(ctx context.Context, id string, each func(*Erasure)) (*Erasure, error) {
	seen := time.Now()
	for {
		e, err := c.Get(ctx, id)
		switch {
		case err == nil:
			seen = time.Now()
			each(e)
			if e.State.Ended() {
				return e, nil
			}
		case !errors.Is(err, errAway) || time.Since(seen) > awayMost:
			return nil, err
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return nil, fmt.Errorf("watching erasure %s, which goes on: %w", id, ctx.Err())
		}
	}
}

// Line is the erasure in a line of at most 120 characters, for a terminal.
func (e *Erasure) Line() string {
	var b strings.Builder
	if p := e.Progress; p.Steps > 0 {
		const width = 24
		full := min(p.Step, p.Steps) * width / p.Steps
		fmt.Fprintf(&b, "[%s%s] ", strings.Repeat("#", full), strings.Repeat(".", width-full))
	}
	b.WriteString(string(e.State))
	switch {
	case e.Error != "":
		fmt.Fprintf(&b, ": %s", e.Error)
	case e.Progress.Doing != "":
		fmt.Fprintf(&b, ": %s", e.Progress.Doing)
	}
	line := b.String()
	return line[:min(len(line), 120)]
}
