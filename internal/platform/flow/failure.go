package flow

import "time"

// Failure is a receiver's error that says whether and when to retry.
type Failure struct {
	Text      string
	Permanent bool          // retrying cannot help
	After     time.Duration // pause that the receiver asked for; 0: none
}

func (f *Failure) Error() string { return f.Text }
