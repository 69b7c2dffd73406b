package consent

import "time"

// State is what is known of a consent at a time.
type State int

// The states.
const (
	Unknown   State = iota // nobody has said
	Granted                // in force
	Withdrawn              // refused, or taken back
)

// Change is what somebody said of a purpose: from then on it holds.
type Change struct {
	Purpose    string    `json:"purpose"`
	Granted    bool      `json:"granted"`
	At         time.Time `json:"at"`                    // from when it holds
	Source     string    `json:"source,omitempty"`      // where it was said: a banner and its version, a form
	RecordedBy string    `json:"recorded_by,omitempty"` // the public id of an API key, or a user at the command line
	RecordedAt time.Time `json:"recorded_at"`
}

// History is what was said of one purpose, by time.
type History []Change

// At is what held at a time: what was said last until then.
func (h History) At(t time.Time) State {
	for i := len(h) - 1; i >= 0; i-- {
		if !h[i].At.After(t) {
			return h[i].state()
		}
	}
	return Unknown
}

// Last is what holds now. Nobody can say a thing of tomorrow, so it is what was
// said last.
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
