package replay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
)

// Estimate is what a job would read and write, told before it is made. What is
// null is not known, and Unknown says why.
type Estimate struct {
	Mode    Mode     `json:"mode"`
	Events  *int64   `json:"events"`  // that it would read; of a redrive, dead letters
	Exact   bool     `json:"exact"`   // they were counted; else it is about so many
	Objects *int64   `json:"objects"` // that it opens
	Bytes   *int64   `json:"bytes"`   // of these
	Seconds *float64 `json:"seconds"` // that it takes, as the last one of its mode went
	Writes  Writes   `json:"writes"`
	// Letters is what a redrive would find.
	Letters *Preview          `json:"letters,omitempty"`
	Unknown map[string]string `json:"unknown"`
}

// Writes is what a job would write.
type Writes struct {
	Events  int64    `json:"events"`            // that it publishes to the log, about
	Targets []string `json:"targets,omitempty"` // who they are for
	Windows *int64   `json:"windows,omitempty"` // of rollups that it replaces, at most
	Does    string   `json:"does"`              // in a sentence
}

// Bounds of an estimate.
const (
	estimateMost   = 10 * time.Second
	estimates      = 2 // at a time
	estimateBatch  = 500
	estimatePace   = 1000 // events that a job has read at least whose pace is gone by
	estimateRecent = 100  // jobs that are looked at for one
)

// Stored is what jobs of a log read, for those who look before. Without one of the
// stores, what it holds is not known.
type Stored struct {
	log     string
	events  events
	letters deadLetters
}

// OpenStored reads the stores that jobs of a log read; each may be nil.
func OpenStored(ctx context.Context, log string, raw, deadLetters *lake.Store, control *sqldb.DB) (s Stored,
	err error) {
	from := stores()
	s.log = log
	if raw != nil {
		s.events = from.events(raw)
	}
	if deadLetters != nil {
		s.letters, err = from.letters(ctx, deadLetters, control, log)
	}
	return s, err
}

// estimate tells what the job would read and write, by what the job itself goes
// by. When the time of ctx is over it tells what it has found. The spec has been
// checked.
func (s Stored) estimate(ctx context.Context, spec *Spec, jobs *Store) (*Estimate, error) {
	e := &Estimate{Mode: spec.Mode, Unknown: map[string]string{}}
	measure := s.measureEvents
	if spec.Mode == Redrive {
		measure = s.measureLetters
	}
	switch err := measure(ctx, spec, e); {
	case errors.Is(err, context.DeadlineExceeded):
		e.Exact = false
		e.Unknown["events"] = fmt.Sprintf("counting was given up after %s: choose a shorter range", estimateMost)
		if e.Events != nil {
			e.Unknown["events"] += "; there are at least as many as is told"
		}
	case err != nil:
		return nil, err
	}
	// The time for counting may be over; telling how long jobs took is quick.
	quick, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.took(quick, spec, jobs, e); err != nil {
		return nil, err
	}
	e.write(spec)
	return e, nil
}

func (s Stored) measureEvents(ctx context.Context, spec *Spec, e *Estimate) error {
	if s.events == nil {
		e.Unknown["events"] = "this api has no raw store: set its field raw"
		return nil
	}
	size, err := s.events.Size(ctx, spec.stored())
	if err != nil {
		return err
	}
	e.Events, e.Objects, e.Bytes = &size.Events, &size.Objects, &size.Bytes
	if spec.Fleet != "" && len(spec.Devices) == 0 && size.Events > 0 {
		e.Unknown["fleet"] = "objects hold events of several fleets: it is told how many all of them have in the range"
	}
	return nil
}

func (s Stored) measureLetters(ctx context.Context, spec *Spec, e *Estimate) error {
	if s.letters == nil {
		e.Unknown["events"] = "this api has no dead-letter store: set its field dead_letters"
		return nil
	}
	q := spec.failed()
	objects, bytes, err := s.letters.size(ctx, q)
	if err != nil {
		return err
	}
	k := newLook(s.letters, spec, estimateBatch)
	err = k.over(ctx, q, nil)
	e.Letters, e.Events, e.Objects, e.Bytes, e.Exact = k.found, &k.found.Letters, &objects, &bytes, true
	return err
}

// took sets how long the job would take, if one of its mode has shown.
func (s Stored) took(ctx context.Context, spec *Spec, jobs *Store, e *Estimate) error {
	if e.Events == nil {
		e.Unknown["seconds"] = "how much there is to read is not known"
		return nil
	}
	done, err := jobs.list(ctx, s.log, Done, jobs.now().Add(time.Minute), estimateRecent)
	if err != nil {
		return err
	}
	for _, j := range done {
		if j.Mode != spec.Mode || j.DryRun || j.Progress.Read < estimatePace || j.StartedAt == nil || j.EndedAt == nil {
			continue
		}
		seconds := j.EndedAt.Sub(*j.StartedAt).Seconds() / float64(j.Progress.Read) * float64(*e.Events)
		if spec.Rate > 0 {
			seconds = max(seconds, float64(*e.Events)/float64(spec.Rate))
		}
		e.Seconds = &seconds
		return nil
	}
	e.Unknown["seconds"] = fmt.Sprintf("no %s that read %d events or more is among the last jobs: a job makes way for "+
		"live traffic, so its pace depends on that", spec.Mode, estimatePace)
	if spec.Rate > 0 {
		seconds := float64(*e.Events) / float64(spec.Rate)
		e.Seconds = &seconds
		e.Unknown["seconds"] = "at least so long, by its rate: " + e.Unknown["seconds"]
	}
	return nil
}

// write says what the job would write.
func (e *Estimate) write(spec *Spec) {
	about := "an unknown number of"
	if e.Events != nil {
		e.Writes.Events = *e.Events
		about = fmt.Sprintf("about %d", *e.Events)
	}
	if spec.Mode != Rebuild && spec.Mode != Enrich {
		e.Writes.Targets = spec.targets()
	}
	whom := strings.Join(e.Writes.Targets, ", ")
	switch {
	case spec.DryRun:
		e.Writes = Writes{Does: "reads, and writes nothing"}
	case spec.Mode == Reprocess:
		e.Writes.Does = fmt.Sprintf("publishes %s events to the log once more, for %s; who has one already counts "+
			"it no second time", about, whom)
	case spec.Mode == Enrich:
		e.Writes.Events = 0
		e.Writes.Does = fmt.Sprintf("asks look-ups again that failed for some of %s events, and keeps what they say "+
			"beside these; it publishes nothing", about)
	case spec.Mode == Rebuild:
		e.Writes.Events = 0
		if e.Events != nil {
			windows := *e.Events // each event lies in one, and a device has one a minute
			if n := int64(len(spec.Devices)); n > 0 {
				windows = min(windows, n*int64(spec.To.Sub(*spec.From)/time.Minute))
			}
			e.Writes.Windows = &windows
			about = fmt.Sprintf("at most %d", windows)
		}
		e.Writes.Does = fmt.Sprintf("makes %s one-minute windows of rollups anew from stored events, and puts them "+
			"in the place of the old; it publishes nothing", about)
	case spec.Mode == Redrive:
		if e.Letters != nil {
			e.Writes.Events = e.Letters.back()
			about = fmt.Sprintf("%d of %d", e.Writes.Events, *e.Events)
		}
		e.Writes.Does = fmt.Sprintf("sends %s dead letters back into the stage that failed, for %s; those of the "+
			"ingest are validated again before", about, whom)
	}
}

// back is how many would be redriven.
func (p *Preview) back() int64 { return p.Letters - p.Resolved - p.Foreign }
