package replay

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weir/internal/platform/httpx"
	"weir/internal/platform/text"
)

// Client makes and watches jobs over the api, which may be away for two minutes
// while one is watched.
func Client(api httpx.API) httpx.Jobs[Spec, Job] {
	return httpx.Jobs[Spec, Job]{API: api, Path: "/v1/replays", Noun: "replay", Away: 2 * time.Minute,
		Ended: func(j *Job) bool { return j.State.ended() }}
}

// Ask tells over the api what a job would come to. It makes none.
func Ask(ctx context.Context, api httpx.API, spec Spec) (*Estimate, error) {
	e := new(Estimate)
	return e, api.Call(ctx, http.MethodPost, "/v1/replays/estimate", spec, e)
}

// Try tells over the api what redriving dead letters of a log, telemetry for "", would
// come to. It sends and notes nothing.
func Try(ctx context.Context, api httpx.API, log string, wish TrialWish) (*Trial, error) {
	t, path := new(Trial), "/v1/dead-letters/dry-run"
	if log != "" {
		path += "?log=" + url.QueryEscape(log)
	}
	return t, api.Call(ctx, http.MethodPost, path, wish, t)
}

// Line is the job in a line, for a terminal.
func (j *Job) Line() string {
	p := j.Progress
	var b strings.Builder
	if p.Total > 0 {
		done := min(float64(p.Read)/float64(p.Total), 1)
		fmt.Fprintf(&b, "%s %3.0f%% ", text.Bar(p.Read, p.Total), done*100)
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
	if all := p.sum(); all.LookedAt > 0 {
		fmt.Fprintf(&b, ", %d look-ups: %s", all.LookedAt, all.Line())
	}
	if j.Progress.Held != "" && j.State == Running {
		fmt.Fprintf(&b, "; it %s", j.Progress.Held)
	}
	if j.ETA != nil {
		fmt.Fprintf(&b, ", %s to go", (time.Duration(*j.ETA * float64(time.Second))).Round(time.Second))
	}
	return b.String()
}
