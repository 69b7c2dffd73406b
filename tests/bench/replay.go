package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// job holds the fields of a replay job.
type job struct {
	ID       string
	State    string
	Error    string
	Progress struct{ Read, Published, Skipped, Windows, Left int64 }
}

// replay runs 'weir replay' to its end.
func (b *bench) replay(ctx context.Context, s *system, h hour, args ...string) (j job, err error) {
	cmd := exec.CommandContext(ctx, b.binary, append([]string{"replay", "--data", s.data, "--json", "--quiet", "--reason",
		"bench",
		"--from", h.from.Format(time.RFC3339), "--to", h.from.Add(time.Hour).Format(time.RFC3339)}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return j, fmt.Errorf("replaying: %w: %s%s", err, out.String(), errs.String())
	}
	if err := json.Unmarshal(out.Bytes(), &j); err != nil {
		return j, fmt.Errorf("replaying: %w: %s", err, out.String())
	}
	return j, nil
}

// admin sends a request to the API with an admin key.
func (b *bench) admin(ctx context.Context, s *system, method, path string, body, into any) error {
	if s.adminKey == "" {
		out, err := exec.CommandContext(ctx, b.binary, "keys", "create", "--admin", "--data", s.data).Output()
		if err != nil {
			return fmt.Errorf("creating an admin key: %w", err)
		}
		s.adminKey = strings.TrimSpace(string(out))
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.api+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", s.adminKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: answered %d", method, path, resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// stored posts the hour and waits until all consumers have processed it.
func (b *bench) stored(ctx context.Context, s *system, h hour) error {
	if err := h.post(ctx, "http://"+s.ingest, s.key); err != nil {
		return err
	}
	_, err := s.drain(ctx, 5*time.Minute)
	return err
}

// replays measures replaying an hour of 1,000 devices, without other load.
func (b *bench) replays(ctx context.Context) error {
	s, err := b.up(ctx, "")
	if err != nil {
		return err
	}
	defer s.close()
	h := hour{from: time.Now().Add(-3 * time.Hour).Truncate(time.Hour).UTC(), devices: max(10, int(1000*b.scale))}
	if err := b.stored(ctx, s, h); err != nil {
		return err
	}
	t := b.report.table("Using an hour again",
		"One event of each device in ten seconds, from the raw store, through `weir up` with everything running and no "+
			"other load. The seconds are from `weir replay` until the last group has committed the last event. Goal: an hour "+
			"of 1,000 devices in under a minute.",
		"mode", "events", "seconds", "events/s", "µs of CPU per event", "peak memory MiB")
	for _, mode := range []string{"reprocess", "rebuild"} {
		before, err := s.usage()
		if err != nil {
			return err
		}
		began := time.Now()
		j, err := b.replay(ctx, s, h, "--mode", mode)
		if err != nil {
			return err
		}
		if _, err := s.drainTopic(ctx, "replay-events", 5*time.Minute, "weir-raw", "weir-rollup"); err != nil {
			return err
		}
		took := time.Since(began).Seconds()
		after, err := s.usage()
		if err != nil {
			return err
		}
		if p := j.Progress; j.State != "done" || p.Read != h.events() || p.Left != 0 || p.Published+p.Windows == 0 {
			return fmt.Errorf("the %s of %d events: %+v", mode, h.events(), j)
		}
		t.row(mode, h.events(), took, float64(h.events())/took, perEvent(before, after, h.events()), after.peak)
	}
	return nil
}

// replayUnderLoad measures the effect of a replay on live devices. Rounds with and without a replay alternate, so
// that a slow minute of the machine affects both.
func (b *bench) replayUnderLoad(ctx context.Context) error {
	s, err := b.up(ctx, "")
	if err != nil {
		return err
	}
	defer s.close()
	h := hour{from: time.Now().Add(-3 * time.Hour).Truncate(time.Hour).UTC(), devices: 1000}
	if err := b.stored(ctx, s, h); err != nil {
		return err
	}
	load := []string{"--rate", "5000", "--batch", "10", "--connections", "64", "--devices", strconv.Itoa(b.devices)}
	if err := b.seen(ctx, s); err != nil {
		return err
	}
	const rounds = 4
	var without, with []float64
	var slow, fast [2][]float64 // p50, p99.9
	var replayed, lasted float64
	for range rounds {
		m, err := b.drive(ctx, s, b.seconds(25), load...)
		if err != nil {
			return err
		}
		without, slow[0], slow[1] = append(without, m.Latency.P99), append(slow[0], m.Latency.P50),
			append(slow[1], m.Latency.P999)
		var j job
		if err := b.admin(ctx, s, "POST", "/v1/replays", map[string]any{"mode": "reprocess", "from": h.from,
			"to": h.from.Add(time.Hour), "reason": "bench"}, &j); err != nil {
			return err
		}
		m, err = b.drive(ctx, s, b.seconds(25), load...)
		if err != nil {
			return err
		}
		if err := b.admin(ctx, s, "GET", "/v1/replays/"+j.ID, nil, &j); err != nil {
			return err
		}
		if j.Progress.Published == 0 || j.State != "running" {
			return fmt.Errorf("a round without a replay beside it shows nothing: %+v", j)
		}
		if err := b.admin(ctx, s, "POST", "/v1/replays/"+j.ID+"/cancel", nil, new(job)); err != nil {
			return err
		}
		if _, err := s.drainTopic(ctx, "replay-events", time.Minute, "weir-raw", "weir-rollup"); err != nil {
			return err
		}
		replayed, lasted = replayed+float64(j.Progress.Published), lasted+m.Elapsed
		with, fast[0], fast[1] = append(with, m.Latency.P99), append(fast[0], m.Latency.P50), append(fast[1], m.Latency.P999)
	}
	t := b.report.table("Live devices beside a replay",
		fmt.Sprintf("Milliseconds from when an event was due to its 202, at 5,000 events/s; the median of %d alternating "+
			"rounds each. Goal: a p99 within 1.5 times of that without a replay.", rounds),
		"", "p50", "p99", "p99.9", "replayed events/s")
	t.row("alone", median(slow[0]), median(without), median(slow[1]), "-")
	t.row("beside a replay", median(fast[0]), median(with), median(fast[1]), replayed/lasted)
	t.row("times", median(fast[0])/median(slow[0]), median(with)/median(without), median(fast[1])/median(slow[1]), "")
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
