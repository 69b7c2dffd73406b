package api

import (
	"context"
	"time"

	"weir/plugins/ingest/validate"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// triedBack is the maximum age of events on which a draft schema is tried.
const triedBack = 7 * 24 * time.Hour

// newestOf returns the newest events of a store, on which draft schemas are tried.
func newestOf(store *lake.Store, now func() time.Time) validate.Newest {
	reader := raw.NewReader(store)
	return func(ctx context.Context, fleet string, most int) ([]validate.Sent, bool, error) {
		to := now().Add(time.Second)
		found, whole, err := reader.Newest(ctx, raw.Query{From: to.Add(-triedBack), To: to, Fleet: fleet, Parallel: 1}, most)
		events := make([]validate.Sent, len(found))
		for i, e := range found {
			events[i] = validate.Sent(e)
		}
		return events, whole, err
	}
}
