package rule

import (
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// incoming is one record of the log.
type incoming struct {
	msg      *service.Message
	offset   int64
	fleet    string
	received time.Time // zero: not known
}

// recordsOf groups the records of a batch by partition, each in the batch's order. It leaves out messages without
// coordinates, which are not from the log; no config of weir makes any. oldest is the earliest time at which an event
// of the batch was received, without those that were published again; zero if none is known.
func recordsOf(batch service.MessageBatch) (records map[place][]incoming, oldest time.Time) {
	lists := map[place]*[]incoming{}
	for _, msg := range batch {
		at, _, ok := event.CoordinatesOf(msg)
		r := incoming{msg: msg, offset: at.Offset, fleet: event.FleetOf(msg)}
		received, known := event.ReceivedAt(msg)
		if known {
			r.received = received
			if (oldest.IsZero() || received.Before(oldest)) && event.Meta(msg, event.HeaderDelivery) == "" {
				oldest = received
			}
		}
		if !ok {
			continue
		}
		p := place{at.Topic, at.Partition}
		list := lists[p]
		if list == nil {
			list = &[]incoming{}
			lists[p] = list
		}
		*list = append(*list, r)
	}
	records = make(map[place][]incoming, len(lists))
	for p, list := range lists {
		records[p] = *list
	}
	return records, oldest
}
