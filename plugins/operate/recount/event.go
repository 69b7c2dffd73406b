// Package recount reads stored events from the raw store again, as messages or as windows of
// rollups. It stores nothing of its own.
package recount

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/text"
	"weir/plugins/store/raw"
)

// Window is one minute of one device.
type Window struct {
	Fleet  string    `json:"fleet"`
	Device string    `json:"device_id"`
	Bucket time.Time `json:"bucket"`
}

// Event is a stored event. It is valid only as long as its row.
type Event struct{ Row *raw.Row }

// Message returns the event as it was sent, with the headers of its first delivery and its device
// in MetaDevice.
func (e Event) Message() (*service.Message, error) {
	r := e.Row
	value, err := r.AppendJSON(make([]byte, 0, 384))
	if err != nil {
		return nil, err
	}
	msg := service.NewMessage(value)
	set := func(name, value string) {
		if value != "" {
			msg.MetaSetMut(name, strings.Clone(value)) // a row's texts keep its object in memory
		}
	}
	set(event.HeaderFleet, r.Fleet)
	set(event.HeaderReceivedAt, received(r))
	set(event.HeaderSchema, r.Schema)
	set(event.HeaderFlags, r.Flags)
	set(event.HeaderUnknownMetrics, r.Unknown)
	set(event.HeaderEnrichFailed, r.EnrichFailed)
	set(event.HeaderEnriched, r.Enriched)
	if e.Logged() {
		set(event.HeaderDelivery, r.Delivery.String())
	}
	set(event.MetaDevice, r.Device)
	return msg, nil
}

func received(r *raw.Row) string {
	if r.ReceivedAt == 0 {
		return ""
	}
	return time.UnixMicro(r.ReceivedAt).UTC().Format(event.TimeFormat)
}

// Logged tells whether the event came from the log. The raw store cannot recognize events without
// coordinates.
func (e Event) Logged() bool { return e.Row.Delivery.Partition >= 0 }

// Window returns the window in which the event's readings count.
func (e Event) Window() Window {
	return Window{Fleet: strings.Clone(e.Row.Fleet), Device: strings.Clone(e.Row.Device),
		Bucket: time.UnixMicro(e.Row.At).UTC().Truncate(time.Minute)}
}

// Position returns the event's position in the order of reading, for Scan.
func (e Event) Position() (json.RawMessage, error) { return json.Marshal(raw.PositionOf(e.Row)) }

// Canonical returns the event as the rollup stream counts it; nil if upcast is nil: then it counts
// as it is stored.
func (e Event) Canonical(upcast *bloblang.Executor) (*service.Message, error) {
	if upcast == nil {
		return nil, nil
	}
	return e.mapped(upcast)
}

// mapped applies mappings to the event, one after the other.
func (e Event) mapped(by ...*bloblang.Executor) (*service.Message, error) {
	msg, err := e.Message()
	for _, mapping := range by {
		if err == nil {
			msg, err = msg.BloblangQuery(mapping)
		}
		if err != nil || msg == nil {
			return nil, fmt.Errorf("mapping event %s to canonical metrics: %w", text.AppendUUID(nil, e.Row.ID), err)
		}
	}
	return msg, err
}
