package auditlog

import "weir/internal/lifecycle"

// Lifecycle declares the audit log.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "audit_log", Tables: []string{"audit_log"},
		Keep: lifecycle.Keep{Place: lifecycle.Control, Field: "keep_audit_log", Default: "17520h",
			Description: "How long the audit log is kept, with released holds and the reports of these runs."},
		Prepare: lifecycle.Made(Open), Expire: expireEntries, Count: countNaming, Erase: erase, People: true,
	}.Kind()
}
