//go:build !linux

package listen

import "net"

// deafen works only on Linux: elsewhere, closing a listener resets connections in the accept queue.
func deafen(net.Listener) {}
