package etl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// account has the counts of a stream since a position of its log. It is for people and the audit;
// where the stream goes on is recorded by its sinks. Before a batch is written, Next notes the
// counts after it: after a kill, the positions of the sinks tell which of the two counts is true.
type account struct {
	Run    string  `json:"run"`
	From   marks   `json:"from"`
	At     marks   `json:"at"`
	Counts Counts  `json:"counts"`
	Next   *coming `json:"next,omitempty"`

	Batches   int64       `json:"batches"`
	Compacted []Compacted `json:"compacted,omitempty"` // one for each sink

	Source  []Column `json:"source,omitempty"` // columns of the source, if they are not declared
	path    string
	session string
	began   bool
	lag     map[int32]int64
	unit    string
}

type coming struct {
	To     marks  `json:"to"`
	Counts Counts `json:"counts"`
}

const accountFile = "stream.json"

func (s stage) openAccount(session string) (*account, error) {
	a := &account{path: filepath.Join(s.dir, accountFile), session: session}
	raw, err := os.ReadFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, a)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the account of the stream: %w", err)
	}
	return a, nil
}

// begin continues the account if it fits the positions of the sinks, or begins a new one at from.
func (a *account) begin(from marks, sinks []marks, p *Pipeline) {
	came := a.Next != nil && !slices.ContainsFunc(sinks, func(m marks) bool { return !m.reached(a.Next.To) })
	if came {
		a.At, a.Counts, a.Next = a.Next.To, a.Next.Counts, nil
		a.Batches++
	}
	a.began = true
	steps := len(p.steps)
	if a.Run != "" && a.At.Log == from.Log && len(a.Counts.Steps) == steps && !from.ahead(a.At) &&
		slices.ContainsFunc(sinks, func(m marks) bool { return m.reached(a.At) }) {
		return // a sink that is behind catches up with rows that are counted already
	}
	*a = account{Run: a.session, From: from.clone(), At: from.clone(), Counts: Counts{Steps: make([]StepCounts, steps)},
		Source: a.Source, path: a.path, session: a.session, began: true}
}

// counts returns a copy of the counts, to which those of a batch are added.
func (a *account) counts() Counts {
	c := a.Counts
	c.Steps = slices.Clone(c.Steps)
	return c
}

// coming notes a batch, durably, before the first sink gets it. A batch that was counted before,
// because some sinks have it, is not counted again.
func (a *account) coming(from, to marks, counts Counts) error {
	if a.Next = nil; a.At.ahead(from) {
		return nil
	}
	a.Next = &coming{to.clone(), counts}
	return a.save()
}

// came notes that all sinks have the batch. This is saved with the next batch or the report: until
// then, the positions of the sinks tell it.
func (a *account) came() {
	if a.Next != nil {
		a.At, a.Counts, a.Next = a.Next.To, a.Next.Counts, nil
	}
	a.Batches++
}

// compacted adds the results of compactions.
func (a *account) compacted(all []Compacted) {
	for _, one := range all {
		i := slices.IndexFunc(a.Compacted, func(c Compacted) bool { return c.Table == one.Table && c.Folder == one.Folder })
		if i < 0 {
			a.Compacted = append(a.Compacted, one)
			continue
		}
		a.Compacted[i].add(one)
	}
}

func (a *account) save() error {
	raw, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the account of the stream: %w", err)
	}
	return replace(a.path, func(w io.Writer) error {
		_, err := w.Write(append(raw, '\n'))
		return err
	})
}

// report returns the account as the report of a run.
func (a *account) report(p *Pipeline, columns []column, now time.Time) *Report {
	r := &Report{Run: a.session, Pipeline: p.Name, Hash: p.hash(), Ended: now.UTC(), Source: p.source.describe(),
		From: told(p.columns), Columns: told(columns), Counts: a.Counts,
		Stream: &StreamReport{From: a.From.clone(), To: a.At.clone(), Batches: a.Batches, Lag: a.lag, Unit: a.unit,
			Compacted: a.Compacted}}
	for i, t := range p.targets() {
		sink := Sink{Format: t.format, URL: t.url, Object: t.object, Rows: a.Counts.Written}
		if i == len(p.sinks) {
			sink.Rejects, sink.Rows = true, a.Counts.Rejected
		}
		switch {
		case t.topic != nil:
			sink.Mode = modeAppend
		case t.table != nil:
			sink.Mode = t.table.mode
		case t.delta != nil:
			sink.Mode = t.delta.mode
		}
		r.Sinks = append(r.Sinks, sink)
	}
	return r
}
