package replay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/event"
	"weir/plugins/operate/recount"
)

// Mode is what a job does with the events it reads.
type Mode string

// The modes.
const (
	Reprocess Mode = "reprocess" // stored events go through the consumers again
	Rebuild   Mode = "rebuild"   // windows of rollups are made anew from stored events
	Redrive   Mode = "redrive"   // dead letters go back into the stage that failed
	Enrich    Mode = "enrich"    // look-ups that failed for stored events are asked again
)

// State is where a job is in its life.
type State string

// The states. A job that is paused or failed can be resumed where it was.
const (
	Queued    State = "queued"
	Running   State = "running"
	Paused    State = "paused"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// ended tells whether the job does nothing more by itself.
func (s State) ended() bool { return s == Done || s == Failed || s == Cancelled }

// Spec is what a job was asked to do.
type Spec struct {
	Mode    Mode         `json:"mode"`
	Log     string       `json:"log,omitempty"`  // of which log it is; event.LogTelemetry when not given
	From    *time.Time   `json:"from,omitempty"` // of the events' time; of dead letters, when they failed
	To      *time.Time   `json:"to,omitempty"`   // exclusive
	Fleet   string       `json:"fleet,omitempty"`
	Group   string       `json:"group,omitempty"` // Devices are what it held when the job was made
	Devices []string     `json:"devices,omitempty"`
	Targets []string     `json:"targets,omitempty"` // event.Target…
	Stages  []string     `json:"stages,omitempty"`  // redrive
	Codes   []event.Code `json:"codes,omitempty"`   // redrive
	IDs     []string     `json:"ids,omitempty"`     // redrive: only these dead letters
	Patch   string       `json:"patch,omitempty"`   // redrive: Bloblang
	Lookups []string     `json:"lookups,omitempty"` // enrich: only these
	Rate    int          `json:"rate,omitempty"`    // events a second; 0 is the runner's
	DryRun  bool         `json:"dry_run,omitempty"`
	Reason  string       `json:"reason"`
}

// Progress is how far a job has come. Published events are acknowledged by the
// log.
type Progress struct {
	Total     int64 `json:"total"` // to be read, as far as the stores tell before; 0 when unknown
	Read      int64 `json:"read"`
	Published int64 `json:"published"`
	Skipped   int64 `json:"skipped"` // not for this job, or resolved before
	Refused   int64 `json:"refused"` // redrive: failed again
	Windows   int64 `json:"windows"` // rebuild: replaced
	Left      int64 `json:"left"`    // rebuild: left as they were

	Reasons []Reason `json:"refused_because,omitempty"` // redrive: why, the commonest first

	Lookups []Account `json:"lookups,omitempty"` // enrich: what came of each, by name

	Held string `json:"held,omitempty"` // what the job makes way or waits for
}

// Reason is why dead letters failed again.
type Reason struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

const (
	reasonsMost = 20 // what else there is counts as other
	reasonMost  = 300
	otherReason = "other"
)

// because counts one more dead letter that failed again. The list is never
// changed in place: it is read elsewhere.
func (p *Progress) because(reason string) {
	if len(reason) > reasonMost {
		reason = strings.ToValidUTF8(reason[:reasonMost], "") + "…"
	}
	all := slices.Clone(p.Reasons)
	i := slices.IndexFunc(all, func(r Reason) bool { return r.Reason == reason })
	if i < 0 && len(all) >= reasonsMost {
		reason = otherReason
		i = slices.IndexFunc(all, func(r Reason) bool { return r.Reason == reason })
	}
	if i < 0 {
		all = append(all, Reason{Reason: reason})
		i = len(all) - 1
	}
	all[i].Count++
	slices.SortStableFunc(all, func(a, b Reason) int { return cmp.Compare(b.Count, a.Count) })
	p.Refused++
	p.Reasons = all
}

// Result is what a job found out, beside its numbers.
type Result struct {
	Left    []recount.Window `json:"left,omitempty"` // rebuild: some of the windows that were left
	Preview *Preview         `json:"preview,omitempty"`
}

// Job is a job and how it goes.
type Job struct {
	ID        string `json:"id"`
	State     State  `json:"state"`
	Error     string `json:"error,omitempty"`
	CreatedBy string `json:"created_by,omitempty"` // the public id of the key
	Request   string `json:"request_id,omitempty"` // that asked for it, which its stored events then have
	Spec
	Count     int        `json:"device_count,omitempty"` // of the devices, when not all are shown
	Progress  Progress   `json:"progress"`
	ETA       *float64   `json:"eta_seconds"` // null when it cannot be told
	CreatedAt time.Time  `json:"created_at"`
	StartedAt *time.Time `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Result

	position json.RawMessage // behind which nothing is owed; null at first
}

// Bounds of a job.
const (
	maxDevices = 100_000
	maxReason  = 1000
	maxPatch   = 16 << 10
	maxRate    = 1_000_000
)

// Check says what no runner could do, before the spec is sent anywhere.
func (s Spec) Check() error { return s.check(time.Now()) }

// check refuses what no runner could do, and fills in what is left out.
func (s *Spec) check(now time.Time) error {
	log, err := event.LogOf(s.Log)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	s.Log = log.Name
	switch s.Mode {
	case Reprocess, Rebuild:
		if s.From == nil || s.To == nil {
			return fmt.Errorf("from and to: a %s needs both, RFC 3339 with a zone", s.Mode)
		}
		if len(s.Stages)+len(s.Codes)+len(s.IDs) > 0 || s.Patch != "" {
			return fmt.Errorf("stages, codes, ids and patch are for the mode redrive")
		}
	case Enrich:
		if err := s.checkEnrich(); err != nil {
			return err
		}
	case Redrive:
		if s.To == nil {
			s.To = &now // what fails from here on is for another job
		}
	default:
		return fmt.Errorf("mode: expected reprocess, rebuild, redrive or enrich")
	}
	if s.Mode != Enrich && len(s.Lookups) > 0 {
		return fmt.Errorf("lookups: they are for the mode enrich")
	}
	if s.From != nil && s.To != nil && !s.From.Before(*s.To) {
		return fmt.Errorf("from: expected a time before to")
	}
	if s.Mode == Rebuild {
		if !slices.Contains(log.Targets(), event.TargetRollup) {
			return fmt.Errorf("mode: a rebuild makes rollups anew, and none are made of %s", log.Name)
		}
		if len(s.Targets) > 0 {
			return fmt.Errorf("targets: a rebuild publishes nothing")
		}
		from, to := s.From.Truncate(time.Minute), s.To.Add(time.Minute-1).Truncate(time.Minute)
		s.From, s.To = &from, &to // whole windows
	}
	for _, t := range s.Targets {
		if !slices.Contains(log.Targets(), t) {
			return fmt.Errorf("targets: %q is not one of %s", t, strings.Join(log.Targets(), ", "))
		}
	}
	for _, d := range s.Devices {
		if !event.ValidDevice(d) {
			return fmt.Errorf("devices: %q is no device_id", d)
		}
	}
	for _, c := range s.Codes {
		if !slices.Contains(event.Codes(), c) {
			return fmt.Errorf("codes: %q is not a reason code", c)
		}
	}
	if err := checkPatch(s.Patch); err != nil {
		return err
	}
	switch {
	case s.Reason == "":
		return fmt.Errorf("reason: say why, for those who read the list later")
	case len(s.Reason) > maxReason:
		return fmt.Errorf("reason: at most %d bytes", maxReason)
	case len(s.IDs) > trialIDs:
		return fmt.Errorf("ids: at most %d", trialIDs)
	case len(s.Devices) > maxDevices:
		return fmt.Errorf("devices: at most %d; name a fleet instead", maxDevices)
	case s.Rate < 0 || s.Rate > maxRate:
		return fmt.Errorf("rate: expected 1 to %d events a second, or 0 for the runner's", maxRate)
	}
	return nil
}

// log is the log that the job is of; its name has been checked.
func (s *Spec) log() event.Log {
	log, err := event.LogOf(s.Log)
	if err != nil { // a later weir made the job: nothing of it is done
		return event.Log{Name: s.Log}
	}
	return log
}

// targets are the consumers that the job's events are for: not the quiet ones,
// so that alerts stay muted, unless they are asked for.
func (s *Spec) targets() (targets []string) {
	if len(s.Targets) > 0 {
		return s.Targets
	}
	for _, c := range s.log().Consumers {
		if !c.Quiet {
			targets = append(targets, c.Target)
		}
	}
	return targets
}

// devicesShown bounds how many devices an answer names: a job may have 100,000.
const devicesShown = 100

// shown is the job as an answer has it.
func (j *Job) shown() *Job {
	if len(j.Devices) <= devicesShown {
		return j
	}
	s := *j
	s.Count, s.Devices = len(j.Devices), slices.Clone(j.Devices[:devicesShown])
	return &s
}

// estimate sets the ETA from what was read since the start.
func (j *Job) estimate(now time.Time) {
	p := j.Progress
	if j.State != Running || j.StartedAt == nil || p.Total == 0 || p.Read == 0 || p.Read > p.Total {
		return
	}
	eta := now.Sub(*j.StartedAt).Seconds() / float64(p.Read) * float64(p.Total-p.Read)
	j.ETA = &eta
}
