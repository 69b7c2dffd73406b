package flow

import "time"

// Failure is an error of a receiver, as far as it says how to go on.
type Failure struct {
	Text      string
	Permanent bool          // trying again cannot help
	After     time.Duration // the receiver asked for this pause; 0: it did not
}

func (f *Failure) Error() string { return f.Text }
