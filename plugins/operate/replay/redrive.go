package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// The stages that dead letters can go back into.
const (
	stageIngest   = "ingest"
	stageSpillway = "spillway"
)

// Preview is what a dry run of a redrive found.
type Preview struct {
	Letters  int64    `json:"letters"`
	Resolved int64    `json:"resolved"` // published before: they would be passed over
	Foreign  int64    `json:"foreign"`  // of stages that events do not go back into
	Counts   []Count  `json:"counts"`   // of those that would be redriven
	Samples  []Sample `json:"samples"`
}

// Count is how many dead letters share a fleet, a stage and a code.
type Count struct {
	Fleet string     `json:"fleet"`
	Stage string     `json:"stage"`
	Code  event.Code `json:"code"`
	Count int64      `json:"count"`
}

// Sample is a dead letter as it is, and as the patch would make it.
type Sample struct {
	ID       string     `json:"id"`
	Fleet    string     `json:"fleet"`
	Stage    string     `json:"stage"`
	Code     event.Code `json:"code"`
	Message  string     `json:"message"`
	Device   string     `json:"device_id,omitempty"`
	FailedAt time.Time  `json:"failed_at"`
	Original string     `json:"original"`
	Patched  *string    `json:"patched,omitempty"`
	Problem  string     `json:"problem,omitempty"` // why the patch failed
}

const (
	samplesMost = 10
	sampleBytes = 4 << 10
	countsMost  = 1000
)

// back returns the processing groups that a dead letter goes back to, "" when
// it is for none of them, and whether it is to be validated first.
func (s *Spec) back(l *letter) (targets string, validate bool) {
	if l.Code == event.CodeConsentDenied {
		return "", false // nothing of it was kept but its id and time
	}
	if onlyByName(l.Code) && !slices.Contains(s.Codes, l.Code) && len(s.IDs) == 0 {
		return "", false
	}
	allowed := s.targets()
	switch {
	case l.Stage == stageIngest:
		return list(allowed), true
	case l.Stage == stageSpillway: // groups that have it already recognise it
		return list(allowed), false
	case slices.Contains(s.log().Targets(), l.Stage):
		if l.Code == event.CodeInvalidJSON || l.Code == event.CodeInvalidEvent {
			return list(allowed), true // one stage accounts for a record that none could read
		}
		if slices.Contains(allowed, l.Stage) || slices.Contains(s.Stages, l.Stage) {
			return l.Stage, false
		}
	}
	return "", false
}

// onlyByName is whether dead letters go back only for who asks for their code, or
// for themselves: they may be forged, of a sender who was shut out, no longer wanted
// by the policy of their stream, or wait for somebody to look at them.
func onlyByName(code event.Code) bool {
	return slices.Contains([]event.Code{event.CodeDeviceForbidden, event.CodeBlocked, event.CodeStale,
		event.CodeQuarantined}, code)
}

// redrive publishes dead letters again, but for those that were before.
func (r *run) redrive(ctx context.Context) error {
	patch := newPatcher(ctx, r.job.Patch, shippedLimits())
	defer patch.close()
	q := r.job.failed()
	if _, position := r.flight.state(); len(position) > 0 {
		var at *letterPlace
		if err := json.Unmarshal(position, &at); err != nil {
			return fmt.Errorf("reading where the redrive was: %w", err)
		}
		if at != nil && time.UnixMicro(at.FailedAt).After(q.From) {
			q.From = time.UnixMicro(at.FailedAt)
		}
	}
	if r.job.DryRun {
		return r.preview(ctx, q, patch)
	}
	var letters []*letter
	bytes := 0 // of their originals
	send := func() error {
		parcels, err := r.pack(ctx, letters, patch)
		letters, bytes = nil, 0
		if err != nil {
			return err
		}
		for _, p := range parcels {
			if err := r.send(ctx, p); err != nil {
				return err
			}
		}
		return nil
	}
	err := r.letters.scan(ctx, q, func(l *letter) error {
		bytes += len(l.Original)
		if letters = append(letters, l); len(letters) < r.pace.parcel(r.batch) && bytes < parcelBytes {
			return nil
		}
		return send()
	})
	if err == nil && len(letters) > 0 {
		err = send()
	}
	if err != nil {
		return fmt.Errorf("redriving dead letters: %w", err)
	}
	return nil
}

// pack makes parcels of dead letters: of those that may go back and have not.
// What is to be validated goes apart: a batch takes one way through the stream.
func (r *run) pack(ctx context.Context, letters []*letter, patch *patcher) ([]*parcel, error) {
	resolved, err := r.letters.resolved(ctx, ids(letters))
	if err != nil {
		return nil, err
	}
	today, err := r.logsOf(ctx, letters)
	if err != nil {
		return nil, err
	}
	judged, aged, straight := &letterParcel{}, &letterParcel{}, &letterParcel{}
	straight.read = int64(len(letters))
	if straight.position, err = (letterPlace{letters[len(letters)-1].FailedAt.UnixMicro()}).encode(); err != nil {
		return nil, err
	}
	var failed []outcome
	for _, l := range letters {
		targets, validate := r.job.back(l)
		if resolved[l.ID] || targets == "" {
			straight.skipped++
			continue
		}
		value, ok, err := patch.whole(l)
		switch {
		case patch.fatal(err):
			return nil, err
		case err != nil:
			failed = append(failed, outcome{ID: l.ID, Reason: err.Error()})
			straight.refused = append(straight.refused, err.Error())
		case !ok:
			straight.skipped++
		case validate && l.Code == event.CodeStale: // somebody asked for it by name, knowing its age
			msg := letterMessage(l, today, value, targets, r.topic, true)
			msg.MetaSetMut(metaAged, "1")
			aged.add(l, msg)
		case validate:
			judged.add(l, letterMessage(l, today, value, targets, r.topic, true))
		default:
			straight.add(l, letterMessage(l, today, value, targets, r.topic, false))
		}
	}
	if len(failed) > 0 {
		if err := r.letters.resolve(ctx, r.job.ID, failed); err != nil {
			return nil, err
		}
	}
	var parcels []*parcel
	for _, p := range []*letterParcel{judged, aged} {
		if len(p.messages) > 0 {
			parcels = append(parcels, p.sealed(r))
		}
	}
	return append(parcels, straight.sealed(r)), nil
}

// letterParcel is a parcel of dead letters and their ids, by index.
type letterParcel struct {
	parcel
	ids []string
}

func (p *letterParcel) add(l *letter, msg *service.Message) {
	p.messages = append(p.messages, msg)
	p.ids = append(p.ids, l.ID)
}

// sealed returns the parcel, which notes what became of its dead letters.
func (p *letterParcel) sealed(r *run) *parcel {
	p.settle = func(ctx context.Context, refused map[int]*event.Rejection) error {
		outcomes := make([]outcome, len(p.ids))
		for i, id := range p.ids {
			outcomes[i] = outcome{ID: id, Published: true}
			if why := refused[i]; why != nil {
				outcomes[i] = outcome{ID: id, Reason: why.Error()}
			}
		}
		return r.letters.resolve(ctx, r.job.ID, outcomes)
	}
	return &p.parcel
}

func ids(letters []*letter) []string {
	out := make([]string, len(letters))
	for i, l := range letters {
		out[i] = l.ID
	}
	return out
}

// preview counts and samples the dead letters, and publishes nothing.
func (r *run) preview(ctx context.Context, q letterQuery, patch *patcher) error {
	k := newLook(r.letters, &r.job.Spec, r.batch)
	k.read = func(n int) {
		r.flight.count(func(p *Progress) { p.Read += int64(n); p.Skipped += int64(n) })
	}
	err := k.over(ctx, q, func(l *letter) error {
		if len(k.found.Samples) >= samplesMost {
			return nil
		}
		s, err := sample(l, patch)
		if err == nil {
			k.found.Samples = append(k.found.Samples, s)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("looking at dead letters: %w", err)
	}
	r.found(func(result *Result) { result.Preview = k.found })
	return nil
}

func sample(l *letter, patch *patcher) (Sample, error) {
	s := Sample{ID: l.ID, Fleet: l.Fleet, Stage: l.Stage, Code: l.Code, Message: l.Message, Device: l.Device,
		FailedAt: l.FailedAt.UTC(), Original: cut(l.Original)}
	if patch.text == "" && l.Cut == "" {
		return s, nil
	}
	switch patched, ok, err := patch.whole(l); {
	case patch.fatal(err):
		return s, err
	case err != nil:
		s.Problem = err.Error()
	case !ok:
		s.Problem = "the patch deletes it: it would not be redriven"
	default:
		text := cut(patched)
		s.Patched = &text
	}
	return s, nil
}

// cut returns the bytes as text, as much as a sample shows.
func cut(raw []byte) string { return string(raw[:min(len(raw), sampleBytes)]) }

// whole is apply, but for what is not all there: the log would take a part of
// an event for one.
func (p *patcher) whole(l *letter) (repaired []byte, ok bool, err error) {
	if l.Cut != "" {
		return nil, false, fmt.Errorf("it cannot go back: %s", l.Cut)
	}
	return p.apply(l.Original)
}
