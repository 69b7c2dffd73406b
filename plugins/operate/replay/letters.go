package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
)

// storedLetters is the dead-letter store and what became of its letters.
type storedLetters struct {
	store    *lake.Store
	outcomes *deadletter.Outcomes
}

func openLetters(ctx context.Context, store *lake.Store, control *sqldb.DB, log string) (deadLetters, error) {
	outcomes, err := deadletter.OpenOutcomes(ctx, control, log)
	return storedLetters{store, outcomes}, err
}

func (q *letterQuery) stored() deadletter.Query {
	return deadletter.Query{From: q.From, To: q.To, Fleet: q.Fleet, Stages: q.Stages, Codes: q.Codes}
}

func (d storedLetters) size(ctx context.Context, q letterQuery) (objects, bytes int64, err error) {
	return deadletter.Size(ctx, d.store, q.stored())
}

func (d storedLetters) scan(ctx context.Context, q letterQuery, each func(*letter) error) error {
	return deadletter.Scan(ctx, d.store, q.stored(), func(r *deadletter.Row) error {
		if len(q.Devices) > 0 && !slices.Contains(q.Devices, r.Device) ||
			len(q.IDs) > 0 && !slices.Contains(q.IDs, r.IDText()) {
			return nil
		}
		l := &letter{ID: r.IDText(), Fleet: r.Fleet, Stage: r.Stage, Code: event.Code(r.Code), Message: r.Message,
			Device: r.Device, FailedAt: time.UnixMicro(r.FailedAt), Original: slices.Clone(r.Original), Cut: r.Cut()}
		if r.Headers != nil {
			if err := json.Unmarshal(r.Headers, &l.Headers); err != nil {
				return fmt.Errorf("reading the headers of dead letter %s: %w", l.ID, err)
			}
		}
		switch {
		case r.Delivery != nil:
			l.Delivery, l.Log = r.Delivery, r.DeliveryLog
		case r.Origin != nil:
			l.Delivery, l.Log = r.Origin, r.OriginLog
		case r.Record != nil:
			l.Delivery, l.Log = r.Record, r.RecordLog
		}
		return each(l)
	})
}

func (d storedLetters) resolved(ctx context.Context, ids []string) (map[string]bool, error) {
	return d.outcomes.Resolved(ctx, ids)
}

func (d storedLetters) resolve(ctx context.Context, job string, outcomes []outcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	now := time.Now()
	list := make([]deadletter.Outcome, len(outcomes))
	for i, o := range outcomes {
		list[i] = deadletter.Outcome{ID: o.ID, Job: job, Published: o.Published, Reason: o.Reason, At: now}
	}
	return d.outcomes.Record(ctx, list)
}
