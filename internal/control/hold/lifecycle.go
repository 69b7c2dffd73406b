package hold

import "weir/internal/lifecycle"

// Lifecycle declares the store of holds. Erasures leave holds alone: they say who had a fleet held and why, and name
// no device. A hold in force is never deleted.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "released_holds", Tables: []string{"legal_hold"},
		Keep:    lifecycle.Keep{Place: lifecycle.Control, Field: "keep_audit_log"},
		Prepare: lifecycle.Made(Open), Expire: expireReleased,
	}.Kind()
}
