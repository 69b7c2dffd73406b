package hold

import "weir/internal/lifecycle"

// Lifecycle is the store of holds. An erasure leaves them: they tell of a fleet
// who had it held and why, and name no device. In force, one stays for ever.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "released_holds", Tables: []string{"legal_hold"},
		Keep:    lifecycle.Keep{Place: lifecycle.Control, Field: "keep_audit_log"},
		Prepare: lifecycle.Made(Open), Expire: expireReleased,
	}.Kind()
}
