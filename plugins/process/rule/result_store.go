package rule

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// saveResults writes the results that a batch emitted.
func (h *held) saveResults(ctx context.Context, tx *sql.Tx, most int, now time.Time) error {
	h.tellAt(now)
	return h.teller().writeResults(ctx, tx, most, h.out)
}

// tellAt sets the time at which the results of a batch are recorded, if there are any.
func (h *held) tellAt(now time.Time) {
	if len(h.out) > 0 {
		h.toldAt = following(h.toldAt, now.UnixMicro())
	}
}

// teller is the partition of results, and the time at which they are recorded, in µs since 1970.
type teller struct {
	place
	at int64
}

func (h *held) teller() teller { return teller{place{h.topic, h.number}, h.toldAt} }

func (t teller) writeResults(ctx context.Context, tx *sql.Tx, most int, told []Result) error {
	results := make([][]any, 0, len(told))
	var summed []*Result
	for i := range told {
		if r := &told[i]; r.steps != nil {
			summed = append(summed, r)
		} else {
			results = append(results, t.rowOf(r))
		}
	}
	if err := insert(ctx, tx, most, resultColumns(""), `ON CONFLICT (id, revision) DO NOTHING`, results); err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	return t.saveSummed(ctx, tx, most, summed)
}

// resultColumns are the columns that rowOf has values for, and more columns after them.
func resultColumns(more string) string {
	return `rule_result (id, revision, rule, fleet, device_id, window_end, recorded_at, result` + more + `)`
}

func (t teller) rowOf(r *Result) []any {
	return []any{r.ID, r.Revision, r.Rule, r.Fleet, r.Device, r.End, t.at, string(r.JSON)}
}
