package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// glance holds the parts of an overview that top shows.
type glance struct {
	At       time.Time
	Fleet    *string
	Equation *struct {
		Accepted   int64
		Stored     int64
		Duplicates int64
		Dead       int64 `json:"dead_lettered"`
		Erased     int64
		Other      int64
		Markers    int64
		InFlight   int64 `json:"in_flight"`
		False      int64 `json:"false_duplicates"`
		Lost       int64 `json:"unexplained"`
		Balanced   bool
		Age        float64 `json:"age_seconds"`
	}
	Proof *struct {
		Verdict string
		Age     float64 `json:"age_seconds"`
	}
	Rates *struct {
		Accepted float64 `json:"accepted_per_second"`
		Rejected float64 `json:"rejected_per_second"`
	}
	Latency *struct {
		P50 float64 `json:"p50_seconds"`
		P99 float64 `json:"p99_seconds"`
	}
	Groups []struct {
		Group   string
		Records *int64
		Lag     *float64 `json:"lag_seconds"`
	}
	Freshness *struct {
		Behind float64 `json:"behind_seconds"`
	}
	Devices *struct{ Known, Silent int }
	Alerts  *struct{ Open int }
	Stores  []struct {
		Name, Kind string
		Up         *bool
		Disk       *struct {
			Free  uint64 `json:"free_bytes"`
			Total uint64 `json:"total_bytes"`
		}
	}
	Processes []struct {
		Host    string
		PID     int
		Role    string
		Version string
		State   string
		Uptime  float64 `json:"uptime_seconds"`
		Age     float64 `json:"age_seconds"`
	}
	Unknown map[string]string
}

// ago formats an age.
func ago(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(100 * time.Millisecond).String()
}

// line formats the overview as one line.
func (g *glance) line() string {
	return strings.Join([]string{g.At.UTC().Format(time.RFC3339), g.equation(), g.proof(), g.incoming(), g.behind()}, "; ")
}

func (g *glance) equation() string {
	e := g.Equation
	if e == nil {
		return "accepted ?"
	}
	text := fmt.Sprintf("accepted %d = stored %d + duplicates %d + dead letters %d + erased %d + in flight %d", e.Accepted,
		e.Stored, e.Duplicates, e.Dead, e.Erased, e.InFlight)
	for _, more := range []struct {
		name string
		n    int64
	}{{"other", e.Other}, {"markers", e.Markers}, {"FALSE DUPLICATES", e.False}, {"UNEXPLAINED", e.Lost}} {
		if more.n != 0 {
			text += fmt.Sprintf(" + %s %d", more.name, more.n)
		}
	}
	if !e.Balanced {
		text += " NOT BALANCED"
	}
	return text
}

func (g *glance) proof() string {
	if g.Proof == nil {
		return "proof ?"
	}
	return fmt.Sprintf("proof %s %s ago", g.Proof.Verdict, ago(g.Proof.Age))
}

func (g *glance) incoming() string {
	text := "in ?"
	if r := g.Rates; r != nil {
		text = fmt.Sprintf("in %.0f/s, rejected %.1f/s", r.Accepted, r.Rejected)
	}
	if l := g.Latency; l != nil {
		return text + fmt.Sprintf(", p50 %.0f ms, p99 %.0f ms", 1000*l.P50, 1000*l.P99)
	}
	return text + ", p99 ?"
}

func (g *glance) behind() string {
	if g.Freshness == nil {
		return "behind ?"
	}
	return "behind " + ago(g.Freshness.Behind)
}

// screen formats the overview for a terminal; wrong is an error to show, or "".
func (g *glance) screen(wrong string, now time.Time) (lines []string) {
	of := "all fleets"
	if g.Fleet != nil {
		of = fmt.Sprintf("fleet %q", *g.Fleet)
	}
	if g.At.IsZero() {
		return []string{"weir top", wrong}
	}
	lines = append(lines, fmt.Sprintf("weir  %s  as of %s, %s ago", of, g.At.UTC().Format(time.RFC3339),
		ago(max(0, now.Sub(g.At).Seconds()))))
	if wrong != "" {
		lines = append(lines, "! "+wrong)
	}
	lines = append(lines, "", g.equation(), g.proof()+"; "+g.incoming()+"; "+g.behind())
	if g.Devices != nil {
		lines = append(lines, fmt.Sprintf("devices %d, silent %d", g.Devices.Known, g.Devices.Silent))
	}
	if g.Alerts != nil {
		lines = append(lines, fmt.Sprintf("open alerts %d", g.Alerts.Open))
	}
	lines = append(lines, "")
	for _, one := range g.Groups {
		records, lag := "?", "?"
		if one.Records != nil && one.Lag != nil {
			records, lag = fmt.Sprint(*one.Records), ago(*one.Lag)
		}
		lines = append(lines, fmt.Sprintf("%-20s behind %12s records  %10s", one.Group, records, lag))
	}
	lines = append(lines, "")
	for _, s := range g.Stores {
		state, disk := "?", ""
		if s.Up != nil {
			state = map[bool]string{true: "up", false: "DOWN"}[*s.Up]
		}
		if s.Disk != nil && s.Disk.Total > 0 {
			disk = fmt.Sprintf("%.1f GB free of %.1f", float64(s.Disk.Free)/1e9, float64(s.Disk.Total)/1e9)
		}
		lines = append(lines, fmt.Sprintf("%-14s %-9s %-5s %s", s.Name, s.Kind, state, disk))
	}
	lines = append(lines, "")
	for _, p := range g.Processes {
		state := "up " + (time.Duration(p.Uptime) * time.Second).String()
		if p.State != "running" {
			state = fmt.Sprintf("GONE, last seen %s ago", ago(p.Age))
		}
		lines = append(lines, fmt.Sprintf("%s/%d  %s  %s  %s", p.Host, p.PID, p.Role, p.Version, state))
	}
	var unknown []string
	for part, why := range g.Unknown {
		unknown = append(unknown, fmt.Sprintf("? %s: %s", part, why))
	}
	slices.Sort(unknown)
	return append(lines, unknown...)
}
