package replay

import (
	"context"
	"encoding/json"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/registry"
	"weir/plugins/operate/recount"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/plugins/store/rollup"
)

// sources open what jobs read and write. Tests have others.
type sources struct {
	events  func(raw *lake.Store) events
	letters func(ctx context.Context, store *lake.Store, control *sqldb.DB, log string) (deadLetters, error)
	rollups func(ctx context.Context, db *sqldb.DB) (rollups, error)
	later   func(raw *lake.Store) laterStore
	schemas func(ctx context.Context, url string) (recount.Schemas, error) // as they are now
}

// stores are the sources of a weir.
func stores() sources {
	return sources{
		events:  func(raw *lake.Store) events { return recount.Events{Store: raw} },
		letters: openLetters,
		rollups: openRollups,
		later:   func(events *lake.Store) laterStore { return besideEvents{events, raw.NewLaterWriter(events)} },
		schemas: func(ctx context.Context, url string) (recount.Schemas, error) {
			return registry.LoadSet(ctx, registry.Place{URL: url}, "telemetry")
		},
	}
}

// openRollups opens rollups to replace windows of any age: how long they are kept is configured elsewhere, and
// retention deletes older ones.
func openRollups(ctx context.Context, db *sqldb.DB) (rollups, error) {
	limits := rollup.DefaultLimits()
	limits.Keep = 0
	store, err := rollup.Open(ctx, db, limits)
	return counted{store}, err
}

// events are the stored ones: recount.Events.
type events interface {
	Scan(ctx context.Context, r recount.Range, after json.RawMessage, each func(recount.Event) error) error
	Size(ctx context.Context, r recount.Range) (raw.Size, error)
}

// laterStore is what look-ups said of stored events later.
type laterStore interface {
	// read reads it beside a scan of events that end before a time.
	read(ctx context.Context, to time.Time) laters
	// Write keeps some more, and returns those whose events were erased.
	Write(ctx context.Context, rows []raw.Later) (erased []raw.Later, err error)
}

// laters are raw.Laters.
type laters interface {
	Of(event *raw.Row) ([]*raw.Later, error)
	Close()
}

// besideEvents is that of a raw store.
type besideEvents struct {
	events *lake.Store
	*raw.LaterWriter
}

func (b besideEvents) read(ctx context.Context, to time.Time) laters {
	return raw.NewLaters(ctx, b.events, to)
}

// rollups are a store of them.
type rollups interface {
	// begin collects windows. What schemas know counts, whatever was known when
	// the event was stored; without schemas, what was known then.
	begin(schemas recount.Schemas) windows
}

// windows collect the events of whole windows.
type windows interface {
	Add(recount.Event, *service.Message) error
	// replace writes the windows, and returns how many were replaced and which
	// were left, because they count events that are not stored yet.
	replace(ctx context.Context) (replaced int, left []recount.Window, err error)
}

// counted is the store of rollups.
type counted struct{ store *rollup.Store }

func (c counted) begin(schemas recount.Schemas) windows {
	return collected{recount.NewWindows(schemas), c.store}
}

type collected struct {
	*recount.Windows
	store *rollup.Store
}

func (c collected) replace(ctx context.Context) (int, []recount.Window, error) {
	return c.Replace(ctx, c.store)
}

// letterQuery says which dead letters a job reads. Empty lists mean all.
type letterQuery struct {
	From, To time.Time // of failed_at, [From, To); zero is unbounded
	Fleet    string
	Devices  []string
	Stages   []string
	Codes    []event.Code
	IDs      []string
}

// letter is a dead letter.
type letter struct {
	ID       string
	Fleet    string
	Stage    string
	Code     event.Code
	Message  string
	Device   string
	FailedAt time.Time
	Original []byte
	Cut      string // what is missing of Original, "" if nothing is: then it cannot go back
	Headers  map[string]string
	// Delivery is the coordinates that the event is known by from now on: of
	// the record that failed, or, of an event that never was on the log, of
	// the dead letter's own record. Log is which log they lie in, "" if nobody
	// noted it.
	Delivery *event.Coordinates
	Log      string
}

// outcome is what became of a dead letter.
type outcome struct {
	ID        string
	Published bool   // final; else it failed again, and may be tried anew
	Reason    string // why it failed
}

// deadLetters are a store of them, and what became of each.
type deadLetters interface {
	// scan calls each with dead letters, each once, in the order of FailedAt.
	scan(ctx context.Context, q letterQuery, each func(*letter) error) error
	// size returns how many objects a scan opens, and their bytes.
	size(ctx context.Context, q letterQuery) (objects, bytes int64, err error)
	// resolved returns which of the dead letters were published before.
	resolved(ctx context.Context, ids []string) (map[string]bool, error)
	// resolve notes outcomes. They are durable when it returns nil.
	resolve(ctx context.Context, job string, outcomes []outcome) error
}

func (in *input) open(ctx context.Context, url string) (*sqldb.DB, error) {
	db, release, err := sqldb.Shared(ctx, in.res, url)
	if err == nil {
		in.release = append(in.release, release)
	}
	return db, err
}

func (in *input) openLake(ctx context.Context, url string) (*lake.Store, error) {
	store, release, err := lake.Shared(ctx, in.res, url)
	if err == nil {
		in.release = append(in.release, release)
	}
	return store, err
}

func (in *input) releaseAll() {
	for i := len(in.release) - 1; i >= 0; i-- {
		in.release[i]()
	}
	in.release = nil
}
