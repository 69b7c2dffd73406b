package replay

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"weir/internal/platform/httpx"
)

// Client makes and watches jobs over the api.
type Client struct{ httpx.API }

// awayMost is how long the api may be away while a job is watched.
const awayMost = 2 * time.Minute

// Create queues a job.
func (c *Client) Create(ctx context.Context, spec Spec) (*Job, error) {
	j := new(Job)
	return j, c.Call(ctx, http.MethodPost, "/v1/replays", spec, j)
}

// get returns a job.
func (c *Client) get(ctx context.Context, id string) (*Job, error) {
	j := new(Job)
	return j, c.Call(ctx, http.MethodGet, "/v1/replays/"+id, nil, j)
}

// Watch calls each with the job as it goes, and returns it when it has ended.
func (c *Client) Watch(ctx context.Context, id string, each func(*Job)) (*Job, error) {
	get := func(ctx context.Context) (*Job, error) { return c.get(ctx, id) }
	j, err := httpx.Watch(ctx, awayMost, get, func(j *Job) bool { return j.State.ended() }, each)
	if err != nil {
		return nil, fmt.Errorf("watching replay %s: %w", id, err)
	}
	return j, nil
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
	}{{p.Published, "published"}, {p.Skipped, "skipped"}, {p.Refused, "refused"}, {p.Windows, "windows replaced"},
		{p.Left, "windows left"}} {
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
