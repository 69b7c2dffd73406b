package retention

import "weir/internal/lifecycle"

// Lifecycle is the store of the reports of runs. They have numbers of no
// fleet's, and go whoever is held.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "runs", Tables: []string{"maintain_run"},
		Keep:    lifecycle.Keep{Place: lifecycle.Control, Field: "keep_audit_log"},
		Prepare: openRuns, Expire: expireRuns,
	}.Kind()
}
