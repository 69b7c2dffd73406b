package api

import (
	"encoding/json"
	"time"
)

// Act is one entry of the audit log: who did what, when, from where, and how
// it ended. It holds no secret: a key is named by its public id.
type Act struct {
	ID     string    `json:"id"` // the same whenever this act is delivered
	At     time.Time `json:"at"`
	Key    string    `json:"key"`             // id of the API key
	Fleet  string    `json:"fleet,omitempty"` // of the key; empty for an admin
	Method string    `json:"method"`
	Path   string    `json:"path"`
	From   string    `json:"from"`   // the peer's address
	Status int       `json:"status"` // as answered
}

func (a Act) encode() ([]byte, error) { return json.Marshal(a) }
