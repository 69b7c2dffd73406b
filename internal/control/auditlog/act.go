// Package auditlog is the audit log: who did what, when, from where, and with which result, for every administrative
// act over HTTP or on the command line. It is kept in the control store and is append-only. After a crash, an act may
// have happened without its entry.
package auditlog

import (
	"cmp"
	"os"
	"os/user"
	"time"

	"github.com/google/uuid"
)

// Act is one entry. It contains no secrets: a key appears by its public id, and Detail has only what Scrub lets
// through.
type Act struct {
	ID     string         `json:"id"` // the same in every delivery of this act
	At     time.Time      `json:"at"`
	Key    string         `json:"key"`             // id of the API key; empty for a person
	User   string         `json:"user,omitempty"`  // a token's person; on the command line, the system's user
	Fleet  string         `json:"fleet,omitempty"` // of the key; empty for an admin
	Method string         `json:"method"`          // HTTP method, CommandLine or ByRule
	Path   string         `json:"path"`            // HTTP path, or the words of the command
	Detail map[string]any `json:"detail,omitempty"`
	From   string         `json:"from"`   // the peer's address, or the host's name
	Status int            `json:"status"` // as answered; 200 or 500 for a command
}

// CommandLine is the method of acts on the command line.
const CommandLine = "CLI"

// ByRule is the method of acts that a rule's result caused.
const ByRule = "RULE"

// Automatic is an act of a rule. The caller gives it an id that stays the same in every delivery, so it is entered
// once.
func Automatic(id, by, act, fleet string, detail map[string]any) Act {
	a := Local(act, detail, nil)
	a.ID, a.User, a.Method, a.Fleet = id, by, ByRule, fleet
	return a
}

// Local is an act on the command line by the user who runs this process. Its status is 500 when failure is not nil.
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
