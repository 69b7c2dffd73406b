package erasure

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"weir/internal/platform/httpx"
)

// Client makes and watches erasures over the api.
type Client struct{ httpx.API }

// awayMost is how long the api may be away while an erasure is watched.
const awayMost = 5 * time.Minute

// Create queues an erasure.
func (c *Client) Create(ctx context.Context, spec Spec) (*Erasure, error) {
	e := new(Erasure)
	return e, c.Call(ctx, http.MethodPost, "/v1/erasures", spec, e)
}

// get returns an erasure.
func (c *Client) get(ctx context.Context, id string) (*Erasure, error) {
	e := new(Erasure)
	return e, c.Call(ctx, http.MethodGet, "/v1/erasures/"+id, nil, e)
}

// Watch calls each with the erasure as it goes, and returns it when it has
// ended.
func (c *Client) Watch(ctx context.Context, id string, each func(*Erasure)) (*Erasure, error) {
	get := func(ctx context.Context) (*Erasure, error) { return c.get(ctx, id) }
	e, err := httpx.Watch(ctx, awayMost, get, func(e *Erasure) bool { return e.State.Ended() }, each)
	if err != nil {
		return nil, fmt.Errorf("watching erasure %s: %w", id, err)
	}
	return e, nil
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
	if line := []rune(b.String()); len(line) > 120 {
		return string(line[:119]) + "…"
	}
	return b.String()
}
