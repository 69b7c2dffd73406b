package apikey

import "weir/internal/lifecycle"

// Lifecycle declares the store of keys. Neither retention nor an erasure deletes keys: an erased fleet could not send
// again without them, and revoked keys explain entries of the audit log. Keys name no device.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "api_keys", Tables: []string{"api_key"},
		Prepare: lifecycle.Made(Open)}.Kind()
}
