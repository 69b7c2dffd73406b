package raw

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// identity identifies an event, wherever it is stored.
type identity struct {
	fleet string
	id    [16]byte
}

// among bounds where the wanted events of one day can be.
type among struct {
	first, last int64 // of effective times, microseconds since 1970
	devices     []string
}

// recall looks for stored rows of events that were first delivered in another log. Their
// coordinates prove nothing: in today's log other records have these coordinates, and a
// record of the old log may or may not have a row. So the event's identity decides.
func (w *writing) recall(ctx context.Context, batch service.MessageBatch) error {
	wanted, days := map[identity]bool{}, map[int64]*among{}
	for i, msg := range batch {
		at := &w.s.places[i]
		if !at.elsewhere || !event.Targeted(msg, event.TargetRaw) || event.Meta(msg, event.MetaDuplicateOf) != "" {
			continue
		}
		raw, err := msg.AsBytes()
		if err != nil {
			return fmt.Errorf("reading a message: %w", err)
		}
		var r Row
		e := &w.s.event
		if event.Parse(raw, e) != nil {
			continue // add will reject it
		}
		r.fill(e, msg, at, w.receivedAt(msg))
		wanted[identity{r.Fleet, r.ID}] = true
		day := day(r.At)
		if days[day] == nil {
			days[day] = &among{first: r.At, last: r.At}
		}
		d := days[day]
		d.first, d.last, d.devices = min(d.first, r.At), max(d.last, r.At), append(d.devices, r.Device)
	}
	if len(wanted) == 0 {
		return nil
	}
	w.had = map[identity]event.Coordinates{}
	for _, d := range days {
		q := Query{From: time.UnixMicro(d.first), To: time.UnixMicro(d.last + 1), Devices: d.devices}
		_, err := NewReader(w.o.Store).Scan(ctx, q, func(r *Row) error {
			if id := (identity{r.Fleet, r.ID}); wanted[id] && r.Delivery != noRecord {
				w.had[identity{strings.Clone(r.Fleet), r.ID}] = PositionOf(r).Delivery
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("looking for events of an older log: %w", err)
		}
	}
	return nil
}
