package deadletter

import (
	"context"
	"time"

	"weir/internal/event"
	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
)

// Lifecycle describes the store of dead letters for retention and erasure. An erasure deletes the
// outcome of a dead letter before the dead letter.
func Lifecycle() lifecycle.Kind {
	return lake.Kept{Name: "dead_letters", Place: lifecycle.DeadLetters, Table: Table(), Counted: "dead_letters",
		Few: true,
		Keep: lifecycle.Keep{Place: lifecycle.DeadLetters, Field: "keep", Default: "720h",
			Description: "How long a day's dead letters are kept after it ended."},
		Beside: &lake.Beside{Prepare: prepareOutcomes, ID: idOf, Count: countOutcomes, Erase: eraseOutcomes},
	}.Kind()
}

// outcomeSlack is how much longer an outcome is kept than its dead letter: without the outcome, the
// letter could be sent back a second time.
const outcomeSlack = 180 * 24 * time.Hour

// OutcomeLifecycle describes the store of the outcomes of dead letters. An outcome has no fleet:
// erasures find it by its dead letter.
func OutcomeLifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "redrive_outcomes", Tables: []string{"dead_letter_outcome"},
		Keep:    lifecycle.Keep{Place: lifecycle.DeadLetters, Field: "keep", Longer: outcomeSlack},
		Prepare: prepareOutcomes, Expire: expireOutcomes,
	}.Kind()
}

func prepareOutcomes(ctx context.Context, db *sqldb.DB) error {
	_, err := OpenOutcomes(ctx, db, event.LogTelemetry) // one table has those of all logs
	return err
}
