// Package auditlog is the audit log: who did what, when, from where, and how it
// ended, for every administrative act, over HTTP or on the command line. It is
// kept in the control store, and nothing changes an entry. What a crash leaves:
// entries that were there, and perhaps an act whose entry was not written yet.
package auditlog

import (
	"cmp"
	"os"
	"os/user"
	"time"

	"github.com/google/uuid"
)

// Act is one entry. It holds no secret: a key is named by its public id, and
// Detail has only what Scrub lets through.
type Act struct {
	ID     string         `json:"id"` // the same whenever this act is delivered
	At     time.Time      `json:"at"`
	Key    string         `json:"key"`             // id of the API key; empty of a person
	User   string         `json:"user,omitempty"`  // who came with a token; of the operating system, on the command line
	Fleet  string         `json:"fleet,omitempty"` // of the key; empty for an admin
	Method string         `json:"method"`          // of HTTP; CommandLine
	Path   string         `json:"path"`            // of HTTP; the words of the command
	Detail map[string]any `json:"detail,omitempty"`
	From   string         `json:"from"`   // the peer's address; the host
	Status int            `json:"status"` // as answered; 200 or 500 for a command
}

// CommandLine is the method of acts that came over no network.
const CommandLine = "CLI"

// ByRule is the method of acts that results of rules are.
const ByRule = "RULE"

// Automatic is an act of a rule, whose id is the same whenever it is told: it is
// entered once.
func Automatic(id, by, act, fleet string, detail map[string]any) Act {
	a := Local(act, detail, nil)
	a.ID, a.User, a.Method, a.Fleet = id, by, ByRule, fleet
	return a
}

// Local is an act on the command line, done by whoever runs this process.
func Local(command string, detail map[string]any, failure error) Act {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	a := Act{ID: uuid.NewString(), At: time.Now().UTC(), User: login(), Method: CommandLine, Path: command, Detail: detail,
		From: host, Status: 200}
	if failure != nil {
		a.Status = 500
	}
	return a
}

func login() string {
	if u, err := user.Current(); err == nil {
		return cmp.Or(u.Username, u.Uid)
	}
	return "unknown"
}
