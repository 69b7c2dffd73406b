package overview

import (
	"context"
	"time"

	"weir/internal/control/status"
)

// View returns the overview of a fleet, or of all when fleet is "". It waits for parts that are due as long as ctx
// allows.
func (m *Sampler) View(ctx context.Context, fleet string) *View {
	m.refresh(ctx, fleet)
	now := time.Now()
	v := &View{At: now.UTC(), Groups: []Group{}, Stores: []Store{}, Processes: []Process{}, Unknown: map[string]string{}}
	m.proofInto(v, now)
	m.countsInto(v, fleet)
	if fleet != "" {
		v.Fleet = &fleet
		m.logInto(v, now)
		v.Groups = []Group{}
		if v.Freshness != nil {
			v.Freshness.LastEvent = nil
		}
		for _, part := range []string{"equation", "rates", "latency", "groups", "stores", "processes"} {
			v.Unknown[part] = "it is of all fleets: ask with an admin key that names none"
		}
		return v
	}
	m.equationInto(v, now)
	m.logInto(v, now)
	m.rowsInto(v, now)
	return v
}

const (
	ofAll   = "it is of all logs together: ask without the parameter log"
	notYet  = "it is being read for the first time"
	noLog   = "this api has no log to Ask: set its field seed_brokers"
	noStore = "this api has no stores to compare with: set its fields raw and dead_letters"
)

// why says why a part is unknown, without the error's text, which may name hosts.
func why(err error, what string) string {
	if err == nil {
		return notYet
	}
	return what + " does not answer"
}

func (m *Sampler) equationInto(v *View, now time.Time) {
	switch {
	case m.log == nil:
		v.Unknown["equation"] = noLog
	case m.equation == nil:
		v.Unknown["equation"] = noStore
	default:
		report, _, err := m.equation.Last()
		if report == nil {
			v.Unknown["equation"] = why(err, "the log or a store")
			return
		}
		v.Equation = equationOf(*report, now)
	}
}

func (m *Sampler) proofInto(v *View, now time.Time) {
	if m.proof == nil {
		v.Unknown["proof"] = "proofs of this log are not kept: its stream raises alerts, and weir reconcile --log proves it"
		return
	}
	last, _, err := m.proof.Last()
	switch {
	case last == nil:
		v.Unknown["proof"] = why(err, "the control store")
	case *last == nil:
		v.Unknown["proof"] = "nothing was proven yet: the stream reconcile runs every few minutes"
	default:
		p := *last
		v.Proof = &Proof{Stamp: stamp(p.At, now), Verdict: p.Verdict, Deep: p.Report != nil && p.Report.Deep}
	}
}

func (m *Sampler) logInto(v *View, now time.Time) {
	if m.log == nil {
		v.Unknown["groups"], v.Unknown["freshness"] = noLog, noLog
		return
	}
	state, at, err := m.log.Last()
	if state == nil {
		v.Unknown["groups"] = why(err, "the log")
		v.Unknown["freshness"] = v.Unknown["groups"]
		return
	}
	age := stamp(at, now)
	fresh := &Freshness{LastEvent: state.lastEvent}
	for _, g := range state.groups {
		g.Stamp = age
		v.Groups = append(v.Groups, g)
		if g.Lag == nil {
			v.Unknown["group "+g.Group] = state.failed[g.Group]
			fresh = nil
		}
		if fresh != nil && g.Lag != nil {
			fresh.Behind = max(fresh.Behind, *g.Lag)
		}
	}
	if v.Freshness = fresh; fresh == nil {
		v.Unknown["freshness"] = "the log does not tell how far every group is"
	}
}

func (m *Sampler) rowsInto(v *View, now time.Time) {
	var rows []status.Row
	reason := ofAll
	var last *[]status.Row
	var at time.Time
	if m.rows != nil {
		var err error
		last, at, err = m.rows.Last()
		reason = why(err, "the control store")
	}
	if last == nil {
		v.Unknown["processes"], v.Unknown["rates"], v.Unknown["latency"] = reason, reason, reason
	} else {
		rows = aged(*last, now.Sub(at))
		reason := ""
		if v.Rates, v.Latency, reason = gates(rows, now); v.Rates == nil {
			v.Unknown["rates"] = reason
		}
		if v.Latency == nil {
			v.Unknown["latency"] = reason
		}
		if len(rows) == 0 {
			v.Unknown["processes"] = "no process has told that it runs"
		}
	}
	for i := range rows {
		v.Processes = append(v.Processes, processOf(&rows[i], now))
	}
	if seen, _, err := m.stores.Last(); seen == nil {
		v.Unknown["stores"] = why(err, "the machine")
	} else {
		v.Stores = storesOf(*seen, rows, now)
	}
}

// aged returns rows whose age is increased by the time since they were read.
func aged(rows []status.Row, since time.Duration) []status.Row {
	out := make([]status.Row, len(rows))
	for i, r := range rows {
		r.Age += max(0, since)
		out[i] = r
	}
	return out
}

func processOf(r *status.Row, now time.Time) Process {
	p := Process{ID: r.ID, Host: r.Host, PID: r.PID, Version: r.Version, Role: r.Role, Streams: r.Streams,
		State: "running", StartedAt: r.StartedAt,
		Uptime: seconds(now.Sub(r.StartedAt)), SeenAt: r.SeenAt.UTC(), Age: seconds(r.Age)}
	if p.Streams == nil {
		p.Streams = []string{}
	}
	if r.Gone() {
		p.State, p.Uptime = "gone", seconds(r.SeenAt.Sub(r.StartedAt))
	}
	return p
}

func (m *Sampler) countsInto(v *View, fleet string) {
	f := m.of(fleet)
	if f.devices == nil {
		v.Unknown["devices"] = ofAll
	} else if n, _, err := f.devices.Last(); n == nil {
		v.Unknown["devices"] = why(err, "the rollup store")
	} else {
		v.Devices = n
	}
	if f.alerts == nil {
		v.Unknown["alerts"] = ofAll
	} else if n, _, err := f.alerts.Last(); n == nil {
		v.Unknown["alerts"] = why(err, "the control store")
	} else {
		v.Alerts = n
	}
}
