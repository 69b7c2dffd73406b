package replay

import (
	"context"
	"encoding/json"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
)

// Sources are the stores of other rooms that jobs read and write. Opening
// them is theirs; this room holds the handles.
type Sources struct {
	Events      func(raw *lake.Store) Events
	DeadLetters func(ctx context.Context, store *lake.Store, control *sqldb.DB) (DeadLetters, error)
	Rollups     func(ctx context.Context, db *sqldb.DB) (Rollups, error)
	Schemas     func(ctx context.Context, url string) (Schemas, error) // as they are now
}

// Schemas knows which metrics are declared.
type Schemas interface {
	// Unknown is the header weir_unknown_metrics that a stored event would get.
	Unknown(Stored) string
}

// Range says which stored events a job reads. Empty lists and texts mean all.
type Range struct {
	From, To time.Time // [From, To)
	Fleet    string
	Devices  []string
}

// Events reads the raw store.
type Events interface {
	// Scan calls each with stored events, each once, in an order that outlives
	// the objects they lie in: hour by hour, within an hour by device. It
	// begins behind a position that a Stored gave; null is the beginning. An
	// event is valid until each returns.
	Scan(ctx context.Context, r Range, after json.RawMessage, each func(Stored) error) error
	// Count returns about how many events the range holds.
	Count(ctx context.Context, r Range) (int64, error)
}

// Stored is a stored event.
type Stored interface {
	// Message is the event as it was sent, with the headers of its first
	// delivery; MetaDevice is its device.
	Message() (*service.Message, error)
	// Logged tells whether the event came from the log: without coordinates the
	// raw store could not recognise it.
	Logged() bool
	// Window is where its readings count.
	Window() Window
	// Position is its place in the order of reading.
	Position() (json.RawMessage, error)
}

// Rollups puts windows in the place of what was counted before.
type Rollups interface {
	// Begin collects windows. What schemas know counts, whatever was known when
	// the event was stored; without schemas, what was known then.
	Begin(schemas Schemas) Windows
}

// Windows collects the events of whole windows.
type Windows interface {
	// Add counts an event that Events gave: as it is stored, or, if that is not
	// nil, as the message has it.
	Add(Stored, *service.Message) error
	// Replace writes the windows, and returns how many were replaced and which
	// were left, because they count events that are not stored yet.
	Replace(ctx context.Context) (replaced int, left []Window, err error)
}

// LetterQuery says which dead letters a job reads. Empty lists mean all.
type LetterQuery struct {
	From, To time.Time // of failed_at, [From, To); zero is unbounded
	Fleet    string
	Devices  []string
	Stages   []string
	Codes    []event.Code
}

// Letter is a dead letter.
type Letter struct {
	ID       string
	Fleet    string
	Stage    string
	Code     event.Code
	Message  string
	Device   string
	FailedAt time.Time
	Original []byte
	Headers  map[string]string
	// Delivery is the coordinates that the event is known by from now on: of
	// the record that failed, or, of an event that never was on the log, of
	// the dead letter's own record.
	Delivery *event.Coordinates
}

// Outcome is what became of a dead letter.
type Outcome struct {
	ID        string
	Published bool   // final; else it failed again, and may be tried anew
	Reason    string // why it failed
}

// DeadLetters reads the dead-letter store, and remembers what became of them.
type DeadLetters interface {
	// Scan calls each with dead letters, each once, in the order of FailedAt.
	Scan(ctx context.Context, q LetterQuery, each func(*Letter) error) error
	// Resolved returns which of the dead letters were published before.
	Resolved(ctx context.Context, ids []string) (map[string]bool, error)
	// Resolve notes outcomes. They are durable when it returns nil.
	Resolve(ctx context.Context, job string, outcomes []Outcome) error
}
