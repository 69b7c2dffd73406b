//go:build !linux

package lake

type birth struct{}

// birthOf knows nothing: parents are synced with each object.
func birthOf(string) (birth, bool) { return birth{}, false }
