package etl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
)

// Counts say what became of every row that a run read or a step made. Read + Made equals Filtered +
// Duplicates + Dropped + Rejected + Combined + Written.
type Counts struct {
	Read       int64        `json:"read"`
	Filtered   int64        `json:"filtered"`
	Dropped    int64        `json:"dropped"`
	Rejected   int64        `json:"rejected"`
	Written    int64        `json:"written"`
	Unreadable int64        `json:"unreadable"` // part of Dropped and Rejected: rows that could not be read
	Duplicates int64        `json:"duplicates,omitempty"`
	Combined   int64        `json:"combined,omitempty"` // rows that a step made others of
	Made       int64        `json:"made,omitempty"`
	Steps      []StepCounts `json:"steps"`
}

// unexplained returns how many rows are not accounted for; 0, unless there is a bug.
func (c Counts) unexplained() int64 {
	return c.Read + c.Made - c.Filtered - c.Duplicates - c.Dropped - c.Rejected - c.Combined - c.Written
}

// StepCounts are the counts of one step. Failed are the rows that it dropped or rejected, or that
// ended the run.
type StepCounts struct {
	Filtered   int64 `json:"filtered"`
	Failed     int64 `json:"failed"`
	Duplicates int64 `json:"duplicates,omitempty"`
	Combined   int64 `json:"combined,omitempty"`
	Made       int64 `json:"made,omitempty"`
}

// Sink is what a run wrote to one place.
type Sink struct {
	Format  string `json:"format"`
	URL     string `json:"url"`
	Object  string `json:"object"`
	Rejects bool   `json:"rejects,omitempty"`
	Group   string `json:"group,omitempty"` // of a topic: the consumer group whose committed offset records the run
	Mode    string `json:"mode,omitempty"`  // of a table: replace, append or merge
	Rows    int64  `json:"rows"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
}

// Column is a column in a report.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Report is the account of a run.
type Report struct {
	Run      string    `json:"run"`
	Pipeline string    `json:"pipeline"`
	Hash     string    `json:"hash"`
	Ended    time.Time `json:"ended"`
	Source   string    `json:"source"`
	From     []Column  `json:"from,omitempty"` // columns of the source
	Columns  []Column  `json:"columns"`
	Counts   Counts    `json:"counts"`
	Sinks    []Sink    `json:"sinks"`
	Position string    `json:"position,omitempty"` // position after the last row, of a source that is a log

	Stream *StreamReport `json:"stream,omitempty"`
}

// StreamReport is the part of a log that a stream has counted, in how many batches, and the lag of
// each partition when the log was last asked.
type StreamReport struct {
	From    marks           `json:"from"`
	To      marks           `json:"to"`
	Batches int64           `json:"batches"`
	Lag     map[int32]int64 `json:"lag"`
	Unit    string          `json:"unit,omitempty"` // of the lag: records or bytes

	Compacted []Compacted `json:"compacted,omitempty"` // since From
}

// Progress is the state of a run or a stream: what it has counted; of a stream also the lag of each
// partition, Behind, which is how long after its append the oldest record of the last batch was
// written, and the number of batches.
type Progress struct {
	Run     string
	Counts  Counts
	Lag     map[int32]int64
	Unit    string // of the lag
	Behind  time.Duration
	Batches int64
}

func (p *Pipeline) report(at *progress, now time.Time) *Report {
	r := &Report{Run: at.Run, Pipeline: p.Name, Hash: at.Pipeline, Ended: now.UTC(), Source: p.source.describe(),
		From: at.From, Columns: at.Columns, Counts: at.Counts, Sinks: at.Sinks}
	if _, is := p.source.(kafkaSource); is {
		r.Position = at.Position
	}
	return r
}

func told(columns []column) []Column {
	all := make([]Column, len(columns))
	for i, c := range columns {
		all[i] = Column{c.name, c.of.String()}
	}
	return all
}

// columnsOf converts the columns of a report back.
func columnsOf(kept []Column) ([]column, error) {
	all := make([]column, len(kept))
	for i, c := range kept {
		of, err := parseType(c.Type)
		if err != nil {
			return nil, fmt.Errorf("reading how far the last run came: %w", err)
		}
		all[i] = column{c.Name, of}
	}
	return all, nil
}

// rejected returns a line of the rejects: the row's number and place, the step, the reason, and the
// row as it was at that step.
func rejected(r numbered, step int, reason string, raw []byte) []byte {
	line := fmt.Appendf(nil, `{"row":%d,`, r.number)
	if r.place != "" {
		line = append(rawjson.AppendString(append(line, `"place":`...), r.place), ',')
	}
	line = fmt.Appendf(line, `"step":%d,"reason":`, step+1)
	line = append(rawjson.AppendString(line, reason), `,"record":`...)
	return append(rawjson.AppendString(line, string(bytes.TrimSuffix(raw, []byte("\n")))), "}\n"...)
}

func (s stage) reportPath(run string) string { return filepath.Join(s.dir, runsFolder, run+".json") }

// reported tells whether a run has a report, and so has written all of its sinks.
func (s stage) reported(run string) bool {
	_, err := os.Stat(s.reportPath(run))
	return err == nil
}

func (s stage) keep(r *Report) error {
	raw, err := text.JSON(r)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return replace(s.reportPath(r.Run), func(w io.Writer) error {
		_, err := w.Write(append(raw, '\n'))
		return err
	})
}

// ErrNoRun says that no finished run has that name.
var ErrNoRun = errors.New("there is no such run")

// ReadReport returns the report of a run of the pipeline; run "" is the last one.
func (p *Pipeline) ReadReport(state, run string) (*Report, error) {
	r, err := Options{State: state}.stage(p.Name).read(run)
	if errors.Is(err, ErrNoRun) {
		return nil, fmt.Errorf("reading the report of %s: %w", p.Name, err)
	}
	return r, err
}

func (s stage) read(run string) (*Report, error) {
	dir := filepath.Join(s.dir, runsFolder)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the runs: %w", err)
	}
	found := ""
	for _, e := range entries { // sorted by name, and so by time
		if name := e.Name(); filepath.Ext(name) == ".json" && (run == "" || name == run+".json") {
			found = name
		}
	}
	if found == "" {
		return nil, fmt.Errorf("%w in %s", ErrNoRun, dir)
	}
	raw, err := os.ReadFile(filepath.Join(dir, found))
	if err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("reading the report %s: %w", found, err)
	}
	return &r, nil
}
