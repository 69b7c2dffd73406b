package retention

import "weir/internal/lifecycle"

// Lifecycle returns the store of the reports of runs. They belong to no fleet, so holds do not
// apply to them.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "runs", Tables: []string{"maintain_run"},
		Keep:    lifecycle.Keep{Place: lifecycle.Control, Field: "keep_audit_log"},
		Prepare: openRuns, Expire: expireRuns,
	}.Kind()
}
