package consent

import "time"

// State is what is known of a consent at a time.
type State int

// The states.
const (
	Unknown   State = iota // nothing was recorded
	Granted                // in force
	Withdrawn              // refused, or withdrawn later
)

// Change is a statement about a purpose that holds from At on.
type Change struct {
	Purpose    string    `json:"purpose"`
	Granted    bool      `json:"granted"`
	At         time.Time `json:"at"`                    // holds from then on
	Source     string    `json:"source,omitempty"`      // where it was given, such as a banner's version or a form
	RecordedBy string    `json:"recorded_by,omitempty"` // the public id of an API key, or a user at the command line
	RecordedAt time.Time `json:"recorded_at"`
}

// History is the changes of one purpose, in order of time.
type History []Change

// At returns the state at t, by the last change until then.
func (h History) At(t time.Time) State {
	for i := len(h) - 1; i >= 0; i-- {
		if !h[i].At.After(t) {
			return h[i].state()
		}
	}
	return Unknown
}

// Last returns the present state. Changes cannot lie in the future, so it is that of the last one.
func (h History) Last() State {
	if len(h) == 0 {
		return Unknown
	}
	return h[len(h)-1].state()
}

func (c Change) state() State {
	if c.Granted {
		return Granted
	}
	return Withdrawn
}
