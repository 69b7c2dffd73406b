package replay

import (
	"context"
	"maps"
	"slices"
	"time"

	"weir/internal/event"
)

// delivered is what the message says of the event's first delivery. Of coordinates
// in another log than today's, and of those that nobody knows the log of, it says
// so: other events may lie there now. The raw store then knows the event by its
// id, and the rollups do always.
//
// An unknown log is not guessed, by what lies at the coordinates today or by time:
// of what the log holds no more nothing could be told, and where the guess is
// wrong, an event is lost - the raw store would take it for one that it has, or,
// under coordinates of its own, the claim that it still holds under the old ones
// would make it a duplicate to the rollups that miss it.
func (l *letter) delivered(today map[string]string) string {
	switch {
	case l.Log == "" || today == nil:
		return l.Delivery.In(event.UnknownLog)
	case l.Log != today[l.Delivery.Topic]:
		return l.Delivery.In(l.Log)
	}
	return l.Delivery.String()
}

// logsOf returns the logs that the topics of dead letters are today, "" for one
// that is no more; nil without brokers.
func (r *run) logsOf(ctx context.Context, letters []*letter) (map[string]string, error) {
	if r.logs == nil {
		return nil, nil
	}
	today := map[string]string{}
	for _, l := range letters {
		if l.Delivery != nil {
			today[l.Delivery.Topic] = ""
		}
	}
	topics := slices.Collect(maps.Keys(today))
	known, err := r.logs.Of(ctx, time.Now(), topics...)
	for i, log := range known {
		today[topics[i]] = log.String()
	}
	return today, err
}
