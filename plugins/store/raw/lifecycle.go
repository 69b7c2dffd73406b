package raw

import (
	"weir/internal/lifecycle"
	"weir/plugins/store/lake"
)

// Lifecycle describes the store of raw events for retention and erasure.
func Lifecycle() lifecycle.Kind {
	return lake.Kept{Name: "raw", Place: lifecycle.Raw, Table: Table(), Counted: "raw_rows",
		Keep: lifecycle.Keep{Place: lifecycle.Raw, Field: "keep", Default: "2160h",
			Description: "How long a day's events are kept after it ended, and no event for less than this from when it was " +
				"received."},
	}.Kind()
}
