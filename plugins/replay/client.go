package replay

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

// Client makes and watches jobs over the api.
type Client struct {
	URL string // of the api, without path
	Key string // an admin key
}

const (
	watchEvery = 500 * time.Millisecond
	awayMost   = 2 * time.Minute // the api may restart while a job is watched
	callMost   = 30 * time.Second
)

// errAway says that the api did not answer, or not now: ask again.
var errAway = errors.New("the api does not answer")

// Create queues a job.
func (c *Client) Create(ctx context.Context, spec Spec) (*Job, error) {
	body, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	return c.call(ctx, http.MethodPost, "/v1/replays", body)
}

// Get returns a job.
func (c *Client) Get(ctx context.Context, id string) (*Job, error) {
	return c.call(ctx, http.MethodGet, "/v1/replays/"+id, nil)
}

func (c *Client) call(ctx context.Context, method, path string, body []byte) (*Job, error) {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking the api: %w", err)
	}
	req.Header.Set("X-API-Key", c.Key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAway, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAway, err)
	}
	if resp.StatusCode >= 300 {
		var p struct{ Title, Detail string }
		if json.Unmarshal(raw, &p) != nil {
			p.Title = http.StatusText(resp.StatusCode)
		}
		err := fmt.Errorf("the api answered %d: %s: %s", resp.StatusCode, p.Title, p.Detail)
		if resp.StatusCode >= 500 {
			return nil, fmt.Errorf("%w: %w", errAway, err)
		}
		return nil, err
	}
	j := new(Job)
	if err := json.Unmarshal(raw, j); err != nil {
		return nil, fmt.Errorf("reading the api's answer: %w", err)
	}
	return j, nil
}

// Watch calls each with the job as it goes, and returns it when it has ended.
// An api that restarts meanwhile is waited for.
func (c *Client) Watch(ctx context.Context, id string, each func(*Job)) (*Job, error) {
	seen := time.Now()
	for {
		j, err := c.Get(ctx, id)
		switch {
		case err == nil:
			seen = time.Now()
			each(j)
			if j.State.Ended() {
				return j, nil
			}
		case !errors.Is(err, errAway) || time.Since(seen) > awayMost:
			return nil, err
		}
		if err := sleep(ctx, watchEvery); err != nil {
			return nil, fmt.Errorf("watching replay %s, which goes on: %w", id, err)
		}
	}
}

// Line is the job in a line, for a terminal.
func (j *Job) Line() string {
	p := j.Progress
	var b strings.Builder
	if p.Total > 0 {
		done := min(float64(p.Read)/float64(p.Total), 1)
		const width = 24
		full := int(done * width)
		fmt.Fprintf(&b, "[%s%s] %3.0f%% ", strings.Repeat("#", full), strings.Repeat(".", width-full), done*100)
	}
	fmt.Fprintf(&b, "%s: %d read", j.State, p.Read)
	for _, part := range []struct {
		n    int64
		what string
	}{{p.Published, "published"}, {p.Skipped, "skipped"}, {p.Refused, "refused"}, {p.Windows, "windows replaced"}, {p.Left, "windows left"}} {
		if part.n > 0 {
			fmt.Fprintf(&b, ", %d %s", part.n, part.what)
		}
	}
	if j.Progress.Held != "" && j.State == Running {
		fmt.Fprintf(&b, "; it %s", j.Progress.Held)
	}
	if j.ETA != nil {
		fmt.Fprintf(&b, ", %s to go", (time.Duration(*j.ETA * float64(time.Second))).Round(time.Second))
	}
	return b.String()
}
