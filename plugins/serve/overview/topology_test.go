package overview

import (
	"testing"
	"time"

	"weir/internal/control/status"
)

// Streams that several processes run are one; what each has counted adds up, and
// what nobody has counted is not known. A process of one stream names it in no
// metric; one that is gone takes no part.
func TestTopology_ProcessesOfAStreamAddUp(t *testing.T) {
	now := time.Now()
	raw := status.Stream{Name: "raw", Input: status.Port{Path: "root.input", Kind: "log_input", Group: "weir-raw",
		Topics: []string{"raw-events", "replay-events"}},
		Outputs: []status.Port{{Path: "root.output", Kind: "raw_store", Label: "raw_store"},
			{Path: "root.output.dead", Kind: "dead_letters", Topics: []string{"dead-letter"}}}}
	counts := func(stream string, events int64, at time.Time) *status.Counts {
		return &status.Counts{At: at, Flows: []status.Flow{{Stream: stream, Path: "root.input", Events: events},
			{Stream: stream, Path: "root.output", Events: events, Errors: 1}}}
	}
	other := status.Stream{Name: "watch", Input: status.Port{Path: "root.input", Kind: "pipeline_watch"}}
	rows := []status.Row{
		{ID: "a", Topology: []status.Stream{raw}, Counts: counts("", 100, now),
			Before: counts("", 50, now.Add(-10*time.Second))},
		{ID: "b", Topology: []status.Stream{raw, other}, Counts: counts("raw", 30, now)},
		{ID: "c", Age: time.Hour, Topology: []status.Stream{{Name: "gone"}}, Counts: counts("", 1e6, now)},
	}
	records, lag := int64(7), 1.5
	got := topologyOf(rows, []Group{{Group: "weir-raw", Records: &records, Lag: &lag}}, now)
	edges := map[string]edge{}
	for _, e := range got.Edges {
		edges[e.From+" "+e.To] = e
	}
	if len(got.Edges) != 5 || len(got.Nodes) != 7 {
		t.Errorf("%d edges, %d nodes: %+v", len(got.Edges), len(got.Nodes), got)
	}
	in := edges["topic/replay-events stream/raw"]
	if in.Total == nil || *in.Total != 130 || !in.Shared || *in.Rate != 5 || *in.Records != 7 || *in.Lag != 1.5 {
		t.Errorf("the input: %+v", in)
	}
	if out := edges["stream/raw sink/raw_store"]; *out.Total != 130 || *out.Errors != 2 || out.Shared || out.Group != nil {
		t.Errorf("the output: %+v", out)
	}
	if dead := edges["stream/raw topic/dead-letter"]; dead.Total != nil || dead.Rate != nil {
		t.Errorf("what nobody counts: %+v", dead)
	}
	if none := topologyOf(nil, nil, now); none.Unknown["nodes"] == "" {
		t.Errorf("nobody runs: %+v", none)
	}
}
