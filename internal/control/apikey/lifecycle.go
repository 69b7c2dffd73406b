package apikey

import "weir/internal/lifecycle"

// Lifecycle is the store of keys. Neither retention nor an erasure deletes one:
// a fleet without its keys could not send again, and a revoked one explains
// entries of the audit log. They name no device.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "api_keys", Tables: []string{"api_key"},
		Prepare: lifecycle.Made(Open)}.Kind()
}
