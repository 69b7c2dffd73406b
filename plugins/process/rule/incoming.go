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
	received time.Time // zero: it is not known
}

// recordsOf groups a batch by partition, in order. A message that is not from
// the log, which no config of weir's makes, has no place in any. Oldest is when the
// oldest event was received, but for those that were published again.
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
