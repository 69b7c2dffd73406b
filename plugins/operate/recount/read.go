package recount

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// Range says which stored events are meant. Empty lists and texts mean all.
type Range struct {
	From, To time.Time // [From, To)
	Fleet    string
	Devices  []string
}

func (r Range) query() raw.Query {
	return raw.Query{From: r.From, To: r.To, Fleet: r.Fleet, Devices: r.Devices}
}

// Events reads the raw store.
type Events struct{ Store *lake.Store }

// Scan calls each with stored events, each once, in an order that outlives the
// objects they lie in: hour by hour, within an hour by device. It begins behind
// a position that an event gave; null is the beginning. An event is valid until
// each returns.
func (s Events) Scan(ctx context.Context, r Range, after json.RawMessage, each func(Event) error) error {
	q := r.query()
	if len(after) > 0 {
		if err := json.Unmarshal(after, &q.After); err != nil {
			return fmt.Errorf("reading where the last one was: %w", err)
		}
	}
	_, err := raw.NewReader(s.Store).Scan(ctx, q, func(row *raw.Row) error { return each(Event{row}) })
	return err
}

// Size returns about how many events the range holds, of all fleets where it names
// no devices, and what is opened for them.
func (s Events) Size(ctx context.Context, r Range) (raw.Size, error) {
	if len(r.Devices) == 0 {
		return raw.NewReader(s.Store).EstimateAll(ctx, r.From, r.To)
	}
	return raw.NewReader(s.Store).Estimate(ctx, r.query())
}
