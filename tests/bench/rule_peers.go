package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"weir/tests/bench/fleetlog"
)

// peerDevices is the number of devices in the log of the peers.
const peerDevices = 10_000

// peerRule is a rule of the standard set that peers can express, and the goals: how many times weir's cost each peer
// is expected to need.
type peerRule struct {
	name, what     string
	flink, streams float64 // 0: the peer cannot express it
}

func peerRules() []peerRule {
	return []peerRule{
		{"minute", "tumbling, a minute", 1, 5},
		{"visits", "session", 1.5, 5},
		{"slide", "sliding, 5 minutes each 30 seconds: 10 panes", 3, 5},
		{"warms", "pattern of two steps that is found often, in the order of the log", 5, 0},
	}
}

// rulePeers measures rules of the standard set and the same rules on Flink and Kafka Streams, over the same events,
// in alternation. The number of results of each peer is checked.
func (b *bench) rulePeers(ctx context.Context) error {
	n := int(2_000_000 * min(b.scale, 1))
	file := filepath.Join(b.scratch, "events.bin")
	want, err := peerEvents(file, n)
	if err != nil {
		return err
	}
	const rounds = 2
	t := b.report.table("Rules beside their peers",
		fmt.Sprintf("%d events of 10,000 devices, 100,000 a second of their time; processor time of all threads, with "+
			"collecting garbage; the mean of %d rounds in turns. weir: a rule over the log, with its synced journal, "+
			"rows and results, less reading the same JSON. Flink 1.20: heap state, no checkpoints, parallelism 1, events made "+
			"in memory, less the same job without the rule. Kafka Streams 3.9: at least once, RocksDB with its usual cache, "+
			"a quarter of the events, no broker, less a topology that does nothing. Both without JSON, and "+
			"nobody reads their results. Flink closes all windows in the end, and its patterns go by the clock.", n, rounds),
		"rule", "weir µs", "Flink µs", "times weir's", "goal", "Kafka Streams µs", "times weir's", "goal")
	for _, r := range peerRules() {
		var ours, flink, streams float64
		for range rounds {
			cost, err := b.ruleAlone(ctx, r.name, n)
			if err != nil {
				return err
			}
			ours += cost / rounds
			if cost, err = b.peer(ctx, "Flink", r.name, file, want[r.name][n]); err != nil {
				return err
			}
			if flink += cost / rounds; r.streams == 0 {
				continue
			}
			if cost, err = b.peer(ctx, "Streams", r.name, file, want[r.name][n/4]); err != nil {
				return err
			}
			streams += cost / rounds
		}
		if r.streams == 0 {
			t.row(r.what, ours, flink, flink/ours, r.flink, "", "", "")
			continue
		}
		t.row(r.what, ours, flink, flink/ours, r.flink, streams, streams/ours, r.streams)
	}
	return nil
}

// ruleAlone returns the CPU time of a rule per event in µs, without reading the event.
func (b *bench) ruleAlone(ctx context.Context, rule string, n int) (float64, error) {
	batches := strconv.Itoa(n/5000) + "x"
	all, err := b.stage(ctx, stage{"", rulePackage, "Each/" + rule, batches}, "GOGC=400")
	if err != nil {
		return 0, err
	}
	read, err := b.stage(ctx, stage{"", rulePackage, "Read/" + rule, batches}, "GOGC=400")
	return all.units["cpu-µs/event"] - read.units["cpu-µs/event"], err
}

// peer runs a peer and checks its number of results, except for sessions on Streams, whose number is not defined.
func (b *bench) peer(ctx context.Context, peer, rule, events string, want int) (float64, error) {
	script := filepath.Join(b.repo, "tests", "bench", "peers", "rules", "run.sh")
	cmd := exec.CommandContext(ctx, script, peer, rule, events)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("running the rule %s on %s: %w\n%s%s", rule, peer, err, log.String(), out.String())
	}
	var told struct {
		Results int     `json:"results"`
		CPU     float64 `json:"cpu"`
	}
	if err := json.Unmarshal(out.Bytes(), &told); err != nil {
		return 0, fmt.Errorf("reading what %s says of the rule %s: %w\n%s", peer, rule, err, out.String())
	}
	if told.Results != want && (peer != "Streams" || rule != "visits") {
		return 0, fmt.Errorf("the rule %s has %d results on %s, not %d", rule, told.Results, peer, want)
	}
	return told.CPU, nil
}

// peerEvents writes the events for the peers, and returns how many results each rule has over all of them and over
// the first quarter.
func peerEvents(file string, n int) (map[string]map[int]int, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	w, log, c := bufio.NewWriter(f), fleetlog.New(peerDevices), newCounted()
	want := map[string]map[int]int{}
	var b []byte
	for i := 1; i <= n; i++ {
		e := log.Next()
		b = e.AppendBinary(b[:0])
		if _, err := w.Write(b); err != nil {
			return nil, err
		}
		c.add(&e)
		if i == n/4 || i == n {
			for rule, results := range map[string]int{"minute": len(c.minutes), "slide": len(c.slides), "visits": c.visits,
				"warms": c.warms} {
				if want[rule] == nil {
					want[rule] = map[int]int{}
				}
				want[rule][i] = results
			}
		}
	}
	return want, w.Flush()
}

// counted counts the results of the rules by their definitions. Events must come in the order of their timestamps.
type counted struct {
	minutes, slides map[[2]int64]bool // windows by device and start
	last            map[int]time.Time
	hot             map[int]int // hot events in a row, up to 2; then a cool one completes the match
	visits, warms   int
}

func newCounted() *counted {
	return &counted{minutes: map[[2]int64]bool{}, slides: map[[2]int64]bool{}, last: map[int]time.Time{},
		hot: map[int]int{}}
}

func (c *counted) add(e *fleetlog.Event) {
	device, at := int64(e.Device), e.At.Unix()
	c.minutes[[2]int64{device, at / 60}] = true
	for i := range int64(10) {
		c.slides[[2]int64{device, at/30 - i}] = true
	}
	if before, is := c.last[e.Device]; !is || e.At.Sub(before) > 30*time.Second {
		c.visits++
	}
	c.last[e.Device] = e.At
	switch hot := e.Temp > 60; {
	case c.hot[e.Device] < 2 && hot:
		c.hot[e.Device]++
	case c.hot[e.Device] < 2:
		c.hot[e.Device] = 0
	case e.Temp < 40:
		c.warms++
		c.hot[e.Device] = 0
	}
}
