package scan

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// Report is what a scan found. It contains no values.
type Report struct {
	StartedAt time.Time  `json:"started_at"`
	EndedAt   time.Time  `json:"ended_at"`
	Fleet     string     `json:"fleet,omitempty"` // only of this one
	Since     *time.Time `json:"since,omitempty"` // only records the log got, and objects that were written, since
	Found     int64      `json:"found"`
	Findings  []Finding  `json:"findings"`
	Stores    []Part     `json:"stores"`

	counts map[place]int64
	errs   []error
}

// Finding is one type of personal data at one place.
type Finding struct {
	Store   string `json:"store"`
	Place   string `json:"place"`   // a topic and the part of its records, a table and column, or a column of objects
	Pointer string `json:"pointer"` // within a document in the value; "": the value itself
	Type    string `json:"type"`
	Count   int64  `json:"count"`
}

// Part sums up what was read of one store.
type Part struct {
	Store string `json:"store"`
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"` // of the values that were scanned
	Found int64  `json:"found"`
	// Unread are tables that were not read: if a fleet was asked for, those whose rows have no
	// fleet.
	Unread []string `json:"unread,omitempty"`
	Error  string   `json:"error,omitempty"`
}

// String describes how much of the store was read.
func (p Part) String() string {
	return fmt.Sprintf("%s: %d rows read, %s, %d finds", p.Store, p.Rows, size(p.Bytes), p.Found)
}

// place is where something was found.
type place struct{ store, at, pointer, kind string }

// mostPlaces bounds how many places a report lists separately: there may be as many fields as ids,
// if ids are names of fields.
const mostPlaces = 10_000

// others is the pointer for findings beyond mostPlaces.
const others = "/…"

func (r *Report) count(p place) {
	if _, ok := r.counts[p]; !ok && len(r.counts) >= mostPlaces {
		p.pointer = others
	}
	r.counts[p]++
}

// end makes the list of findings, sorted by store, place, pointer and type.
func (r *Report) end() {
	r.EndedAt, r.Findings, r.Found = time.Now().UTC(), []Finding{}, 0
	for p, n := range r.counts {
		r.Findings = append(r.Findings, Finding{p.store, p.at, p.pointer, p.kind, n})
		r.Found += n
	}
	order := map[string]int{}
	for i, part := range r.Stores {
		order[part.Store] = i
	}
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.Store], order[b.Store]), cmp.Compare(a.Place, b.Place),
			cmp.Compare(a.Pointer, b.Pointer), cmp.Compare(a.Type, b.Type))
	})
}

// WriteTable prints the report for people.
func (r *Report) WriteTable(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	if len(r.Findings) > 0 {
		_, _ = fmt.Fprintln(w, "STORE\tPLACE\tPOINTER\tTYPE\tFOUND")
	}
	for _, f := range r.Findings {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", f.Store, f.Place, cmp.Or(f.Pointer, "-"), f.Type, f.Count)
	}
	if len(r.Findings) > 0 {
		_, _ = fmt.Fprintln(w)
	}
	_, _ = fmt.Fprintln(w, "READ\tROWS\tSIZE\tFOUND")
	for _, p := range r.Stores {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%d\n", p.Store, p.Rows, size(p.Bytes), p.Found)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, p := range r.Stores {
		for _, table := range p.Unread {
			_, _ = fmt.Fprintf(to, "%s: table %s was not read: its rows do not say whose they are\n", p.Store, table)
		}
		if p.Error != "" {
			_, _ = fmt.Fprintf(to, "%s: NOT READ TO ITS END: %s\n", p.Store, p.Error)
		}
	}
	last := "No personal data was found."
	if r.Found > 0 {
		last = fmt.Sprintf("Personal data was found %d times, at %d places.", r.Found, len(r.Findings))
	}
	_, err := fmt.Fprintln(to, last)
	return err
}

// size formats a number of bytes for people.
func size(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.bytes {
			return strconv.FormatFloat(float64(n)/float64(unit.bytes), 'f', 1, 64) + " " + unit.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}
