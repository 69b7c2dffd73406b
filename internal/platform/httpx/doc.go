// Package httpx is how weir speaks HTTP beside the gate: the parameters of
// queries, pages with cursors, problems as RFC 9457, and the client with which
// commands ask a running weir.
package httpx
