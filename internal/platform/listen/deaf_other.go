//go:build !linux

package listen

import "net"

// deafen is of Linux: elsewhere closing a listener resets what waits to be
// accepted.
func deafen(net.Listener) {}
