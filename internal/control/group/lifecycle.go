package group

import "weir/internal/lifecycle"

// Lifecycle is the store of groups. People delete them.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "groups", Tables: []string{"device_group"},
		Prepare: lifecycle.Made(Open), Count: count, Erase: erase,
	}.Kind()
}
