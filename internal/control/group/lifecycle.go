package group

import "weir/internal/lifecycle"

// Lifecycle declares the store of groups. They are never expired; people delete them.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "groups", Tables: []string{"device_group"},
		Prepare: lifecycle.Made(Open), Count: count, Erase: erase,
	}.Kind()
}
