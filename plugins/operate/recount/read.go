package recount

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// Range selects stored events. Empty lists and texts select all.
type Range struct {
	From, To time.Time // [From, To)
	Fleet    string
	Devices  []string
}

func (r Range) query() raw.Query {
	return raw.Query{From: r.From, To: r.To, Fleet: r.Fleet, Devices: r.Devices}
}

// Events reads events from the raw store.
type Events struct{ Store *lake.Store }

// Scan calls each for each stored event once, in an order that does not depend on the objects which
// contain them: by hour, and within an hour by device. It begins after a position from
// Event.Position; empty is the beginning. An event is valid until each returns.
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

// Size estimates how many events the range has, and what is opened to read them. If the range names
// no devices, it counts all fleets.
func (s Events) Size(ctx context.Context, r Range) (raw.Size, error) {
	if len(r.Devices) == 0 {
		return raw.NewReader(s.Store).EstimateAll(ctx, r.From, r.To)
	}
	return raw.NewReader(s.Store).Estimate(ctx, r.query())
}
