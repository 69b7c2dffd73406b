package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/requestid"
	"weir/plugins/operate/recount"
)

// list writes targets as the header has them.
func list(targets []string) string {
	var b []byte
	for _, t := range targets {
		b = event.AppendItem(b, t)
	}
	return string(b)
}

func (s *Spec) stored() recount.Range {
	return recount.Range{From: *s.From, To: *s.To, Fleet: s.Fleet, Devices: s.Devices}
}

// reprocess publishes the stored events of a range. A row does not keep the request
// that its event came with: should it fail again, its dead letter names the one that
// asked for the job.
func (r *run) reprocess(ctx context.Context) error {
	targets := r.job.targets()
	all := list(targets)
	// The raw store knows an event by its coordinates, and so would store again
	// one that has none.
	unlogged := list(slices.DeleteFunc(slices.Clone(targets), func(t string) bool { return t == event.TargetRaw }))
	next := &parcel{}
	_, after := r.flight.state()
	var last recount.Event
	send := func() (err error) {
		if next.position, err = last.Position(); err != nil {
			return err
		}
		full := next
		next = &parcel{}
		return r.send(ctx, full)
	}
	err := r.events.Scan(ctx, r.job.stored(), after, func(e recount.Event) error {
		last = e
		next.read++
		header := all
		if !e.Logged() {
			header = unlogged
		}
		if r.job.DryRun || header == "" {
			next.skipped++
		} else {
			msg, err := e.Message()
			if err != nil {
				return err
			}
			msg.MetaSetMut(event.HeaderTarget, header)
			msg.MetaSetMut(metaTopic, r.topic)
			if r.job.Request != "" {
				msg.MetaSetMut(event.HeaderRequest, r.job.Request)
			}
			text, err := msg.AsBytes()
			if err != nil {
				return err
			}
			next.bytes += len(text)
			next.messages = append(next.messages, msg)
		}
		if next.read < int64(r.pace.parcel(r.batch)) && next.bytes < parcelBytes {
			return nil
		}
		return send()
	})
	if err == nil && next.read > 0 {
		err = send()
	}
	if err != nil {
		return fmt.Errorf("replaying stored events: %w", err)
	}
	return nil
}

// letterMessage makes the message that takes a dead letter back. Today are the
// logs that topics are.
func letterMessage(l *letter, today map[string]string, value []byte, targets, topic string,
	validate bool) *service.Message {
	msg := service.NewMessage(value)
	for _, name := range []string{event.HeaderReceivedAt, event.HeaderSchema, event.HeaderFlags, event.HeaderRegion,
		event.HeaderUnknownMetrics, event.HeaderEnrichFailed, event.HeaderEnriched, event.HeaderTraceparent} {
		if v := l.Headers[name]; v != "" {
			msg.MetaSetMut(name, v)
		}
	}
	if id := l.Headers[event.HeaderRequest]; id != "" && id != requestid.Stamped(l.Headers[event.HeaderReceivedAt]) {
		msg.MetaSetMut(event.HeaderRequest, id)
	}
	for name, v := range map[string]string{event.HeaderFleet: l.Fleet, event.HeaderTarget: targets, metaTopic: topic,
		event.MetaDevice: l.Device} {
		if v != "" {
			msg.MetaSetMut(name, v)
		}
	}
	if l.Delivery != nil {
		msg.MetaSetMut(event.HeaderDelivery, l.delivered(today))
	}
	if !bytes.Equal(value, l.Original) {
		msg.MetaSetMut(event.HeaderPatched, "1")
	}
	if validate {
		msg.MetaSetMut(metaValidate, "1")
	}
	return msg
}

// letterPlace is the position of a redrive: when the last dead letter failed.
// Those that failed at the same moment are known by their outcomes.
type letterPlace struct {
	FailedAt int64 `json:"failed_at"` // microseconds since 1970
}

func (p letterPlace) encode() (json.RawMessage, error) { return json.Marshal(p) }
