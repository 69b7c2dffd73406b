package deadletter

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/text"
	"weir/plugins/store/lake"
)

// stageUnreadable is the stage of messages on the dead-letter topic that are no envelope: they are
// stored, too.
const stageUnreadable = "dead_letter"

// stages returns the stages of the shipped streams.
func stages() []string {
	return []string{"ingest", event.TargetRaw, event.TargetRollup, event.TargetDetect, "notify", "spillway",
		stageUnreadable}
}

// codes returns the codes with which a stage is known to fail events, so that their counters begin
// at 0. A processor in between may use others.
func codes(stage string) []event.Code {
	switch stage {
	case "ingest":
		return slices.DeleteFunc(event.Codes(), func(c event.Code) bool {
			return c == event.CodeStoreRejected || c == event.CodeExpired || c == event.CodeOverflow ||
				c == event.CodeDeliveryFailed
		})
	case "spillway":
		return []event.Code{event.CodeExpired, event.CodeOverflow}
	case "notify":
		return []event.Code{event.CodeDeliveryFailed}
	}
	return []event.Code{event.CodeInvalidJSON, event.CodeInvalidEvent, event.CodeProcessingFailed,
		event.CodeStoreRejected}
}

// newRow returns the row of a message of the dead-letter topic. A message that is no envelope
// becomes a dead letter itself. logs has the names of the topics' logs.
func newRow(msg *service.Message, now time.Time, logs map[string]string) (*Row, error) {
	raw, err := msg.AsBytes()
	if err != nil {
		return nil, fmt.Errorf("reading a message: %w", err)
	}
	var record *event.Coordinates
	log := ""
	if c, _, ok := event.CoordinatesOf(msg); ok {
		record, log = &c, logs[c.Topic]
	}
	e, err := ParseEnvelope(raw)
	unreadable := err != nil
	if unreadable {
		e = NewEnvelope(Failure{
			Stage: stageUnreadable, Rejection: event.Reject(event.CodeInvalidEvent, "", err.Error()),
			Original: raw, Fleet: event.FleetOf(msg), Record: record, RecordLog: log,
			Received: event.Meta(msg, event.HeaderReceivedAt), FailedAt: now,
		})
	}
	r, err := e.row()
	if err != nil {
		return nil, err
	}
	if unreadable { // a row, unlike an envelope, has room for all of it
		r.Original, r.OriginalSize, r.OriginalSHA256 = raw, 0, ""
	}
	r.Record, r.RecordLog = record, log
	return r, nil
}

func (e *Envelope) row() (*Row, error) {
	original, err := e.originalBytes()
	if err != nil {
		return nil, err
	}
	errs := e.Errors
	if errs == nil {
		errs = []event.FieldError{}
	}
	r := &Row{
		Version: int32(e.Version), Fleet: e.Fleet, Stage: e.Stage, Code: string(e.Code), Message: e.Message,
		Original: original, OriginalSize: e.OriginalSize, OriginalSHA256: e.OriginalSHA256, Device: e.Device, Event: e.Event,
		ReceivedAt: timeOf(e.ReceivedAt), FailedAt: timeOf(e.FailedAt),
	}
	r.ID, _ = text.ParseUUID(e.ID) // checked by ParseEnvelope, or made here
	if r.Errors, err = text.JSON(errs); err != nil {
		return nil, fmt.Errorf("writing errors: %w", err)
	}
	if len(e.Headers) > 0 {
		if r.Headers, err = text.JSON(e.Headers); err != nil {
			return nil, fmt.Errorf("writing headers: %w", err)
		}
	}
	if e.Origin != nil {
		c := e.Origin.coordinates()
		r.Origin, r.OriginLog = &c, e.Origin.Log
	}
	if e.Delivery != nil {
		c := e.Delivery.coordinates()
		r.Delivery, r.DeliveryLog = &c, e.Delivery.Log
	}
	return r, nil
}

func timeOf(s string) int64 {
	t, ok := text.ParseTime(s)
	if !ok {
		return 0
	}
	return lake.Clamp(t).UnixMicro()
}

// IDText returns the dead letter's id as text.
func (r *Row) IDText() string { return string(text.AppendUUID(nil, r.ID)) }

// envelope returns the envelope from which the row was made.
func (r *Row) envelope() (*Envelope, error) {
	f := Failure{Stage: r.Stage, Fleet: r.Fleet, Original: r.Original, FailedAt: time.UnixMicro(r.FailedAt),
		Record: r.Origin, RecordLog: r.OriginLog, Delivery: r.Delivery, DeliveryLog: r.DeliveryLog,
		Rejection: &event.Rejection{Code: event.Code(r.Code)}}
	if err := json.Unmarshal(r.Errors, &f.Rejection.Errors); err != nil {
		return nil, fmt.Errorf("reading column errors: %w", err)
	}
	if r.Headers != nil {
		if err := json.Unmarshal(r.Headers, &f.Headers); err != nil {
			return nil, fmt.Errorf("reading column headers: %w", err)
		}
	}
	if r.ReceivedAt != 0 {
		f.Received = time.UnixMicro(r.ReceivedAt).UTC().Format(event.TimeFormat)
	}
	e := NewEnvelope(f)
	e.OriginalSize, e.OriginalSHA256 = r.OriginalSize, r.OriginalSHA256
	e.ID, e.Version, e.Message, e.Device, e.Event = r.IDText(), int(r.Version), r.Message, r.Device, r.Event
	return e, nil
}
