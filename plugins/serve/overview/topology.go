package overview

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"weir/internal/control/status"
	"weir/internal/platform/httpx"
)

// topology says which streams run, what they read and write, and how much.
type topology struct {
	At      time.Time         `json:"at"`
	Nodes   []node            `json:"nodes"`
	Edges   []edge            `json:"edges"`
	Unknown map[string]string `json:"unknown"`
}

// node is a stream, a topic, or a source or sink outside the log.
type node struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind"` // stream, topic, source or sink
	Name      string   `json:"name"`
	Processes []string `json:"processes"` // for a stream: those that run it
}

// edge connects a stream with what it reads or writes. An input or output with several topics has one counter for all
// of them, which each of its edges shows.
type edge struct {
	From    string   `json:"from"`
	To      string   `json:"to"`
	Label   string   `json:"label"` // label of the input or output
	Group   *string  `json:"group"`
	Shared  bool     `json:"shared"` // the counts are those of all edges of this input or output
	Total   *int64   `json:"total"`  // events since the processes started
	Rate    *float64 `json:"per_second"`
	Errors  *int64   `json:"errors"`
	Records *int64   `json:"records"` // records that the group has not processed, over all its topics
	Lag     *float64 `json:"lag_seconds"`
}

// flow sums the counts of one port over all processes.
type flow struct {
	known, measured bool
	total, errors   int64
	rate            float64
}

// topologyOf combines the streams of all running processes.
func topologyOf(rows []status.Row, groups []Group, now time.Time) *topology {
	t := &topology{At: now.UTC(), Nodes: []node{}, Edges: []edge{}, Unknown: map[string]string{}}
	flows, streams, by := map[string]*flow{}, map[string]status.Stream{}, map[string][]string{}
	for i := range rows {
		r := &rows[i]
		if r.Gone() {
			continue
		}
		for _, s := range r.Topology {
			streams[s.Name] = s
			by[s.Name] = append(by[s.Name], r.ID)
			for _, p := range append(slices.Clone(s.Outputs), s.Input) {
				key := s.Name + " " + p.Path
				if flows[key] == nil {
					flows[key] = &flow{}
				}
				flows[key].add(r, s.Name, p.Path)
			}
		}
	}
	nodes := map[string]node{}
	nodeOf := func(kind, name string) string {
		id := kind + "/" + name
		if _, there := nodes[id]; !there {
			nodes[id] = node{ID: id, Kind: kind, Name: name, Processes: []string{}}
		}
		return id
	}
	for _, name := range slices.Sorted(maps.Keys(streams)) {
		s := streams[name]
		id := nodeOf("stream", name)
		nodes[id] = node{ID: id, Kind: "stream", Name: name, Processes: by[name]}
		add := func(from, to string, p status.Port, shared bool) {
			e := edge{From: from, To: to, Label: p.Label, Shared: shared}
			if f := flows[name+" "+p.Path]; f.known {
				e.Total, e.Errors = &f.total, &f.errors
				if f.measured {
					e.Rate = &f.rate
				}
			}
			if p.Group != "" {
				e.Group = &p.Group
				for _, g := range groups {
					if g.Group == p.Group {
						e.Records, e.Lag = g.Records, g.Lag
					}
				}
			}
			t.Edges = append(t.Edges, e)
		}
		ends := func(p status.Port, kind string, put func(at string, shared bool)) {
			for _, topic := range p.Topics {
				put(nodeOf("topic", topic), len(p.Topics) > 1)
			}
			if len(p.Topics) == 0 {
				put(nodeOf(kind, p.Kind), false)
			}
		}
		ends(s.Input, "source", func(at string, shared bool) { add(at, id, s.Input, shared) })
		for _, p := range s.Outputs {
			ends(p, "sink", func(at string, shared bool) { add(id, at, p, shared) })
		}
	}
	t.Nodes = slices.AppendSeq(t.Nodes, maps.Values(nodes))
	slices.SortFunc(t.Nodes, func(a, b node) int { return strings.Compare(a.ID, b.ID) })
	if len(streams) == 0 {
		t.Unknown["nodes"] = "no process has told which streams it runs"
	}
	return t
}

// add adds a process's counts of a port. The metrics of a process with a single stream do not name the stream.
func (f *flow) add(r *status.Row, stream, path string) {
	if r.Counts == nil {
		return
	}
	of := func(c *status.Counts) (status.Flow, bool) {
		i := slices.IndexFunc(c.Flows, func(f status.Flow) bool {
			return f.Path == path && (f.Stream == stream || f.Stream == "" && len(r.Topology) == 1)
		})
		if i < 0 {
			return status.Flow{}, false
		}
		return c.Flows[i], true
	}
	now, known := of(r.Counts)
	if !known {
		return
	}
	f.known = true
	f.total += now.Events
	f.errors += now.Errors
	if r.Before == nil {
		return
	}
	if before, known := of(r.Before); known {
		if over := r.Counts.At.Sub(r.Before.At).Seconds(); over > 0 {
			f.measured = true
			f.rate += float64(now.Events-before.Events) / over
		}
	}
}

// TopologyHandler answers GET /v1/topology. The answer concerns all fleets: mount it for admins.
func TopologyHandler(m *Sampler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerMost)
		defer cancel()
		m.rows.Refresh(ctx, m.life)
		v := &View{Unknown: map[string]string{}}
		if m.log != nil {
			m.log.Refresh(ctx, m.life)
		}
		now := time.Now()
		m.logInto(v, now)
		rows, at, err := m.rows.Last()
		if rows == nil {
			rows = &[]status.Row{}
		}
		t := topologyOf(aged(*rows, now.Sub(at)), v.Groups, now)
		if err != nil && len(*rows) == 0 {
			t.Unknown["nodes"] = why(err, "the control store")
		}
		if reason := v.Unknown["groups"]; reason != "" {
			t.Unknown["groups"] = reason
		}
		httpx.Answer(w, http.StatusOK, t)
	})
}
