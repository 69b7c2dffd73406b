package rule

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

// Sample says which results are computed again, and from what. It uses the
// operators that made them, on the events of the raw store.
type Sample struct {
	Seed   uint64
	Most   int           // how many
	Delay  time.Duration // of the rules stream, where it has not written it down; 0 is 5s
	Events Events
	// Stored is up to which offset the raw store has the records of a partition.
	Stored func(topic string, partition int32) int64
	// Erased is how many records, at most, can have been erased on request of those that
	// are looked for.
	Erased func(context.Context, Missing) (int64, error)
	// Mine tells of which topics results are looked at; nil: all.
	Mine func(topic string) bool

	left *atomic.Int64 // of acrossMost
}

// Events are those of the raw store, as rules see them. Times are microseconds
// since 1970.
type Events interface {
	// Of hands on the events that are wanted, each once, in any order. By tells how the
	// record at a place was read, nil where nobody knows.
	Of(ctx context.Context, w Wanted, by func(event.Coordinates) *Reading, each func(Stored) error) error
	// Passed tells whether a record of the partition before the offset counts at a time
	// or soon after it.
	Passed(ctx context.Context, before event.Coordinates, at int64) (bool, error)
	// Days tells whether each day of [from, to] has events of a fleet as they came:
	// retention has not gone over it.
	Days(ctx context.Context, fleet string, from, to int64) (bool, error)
	// Knows tells whether those that were read in a way are as rules saw them, or as
	// they were sent.
	Knows(by *Reading) bool
}

// Wanted are events of a partition that count in [From, To].
type Wanted struct {
	Fleet, Device string // of all devices, when that is empty
	Topic         string
	Partition     int32
	From, To      int64
	// Left is how many rows may be read for them still, whatever these are of, and is
	// counted down: ErrTooMany when there are more. Nil is unbounded.
	Left *atomic.Int64
}

// ErrTooMany says that there are more rows than may be read.
var ErrTooMany = errors.New("there are too many rows")

// Missing are records of a partition from an offset to another, of a fleet's events that
// count at a time or later, of which the raw store has fewer than were counted.
type Missing struct {
	Fleet, Topic string
	Partition    int32
	First, Last  int64
	Since        time.Time
}

// Stored is an event of the raw store.
type Stored struct {
	First    event.Coordinates // of its first delivery
	Again    bool              // that row was published again, which rules do not count
	Received time.Time         // zero: not known
	Flags    string
	JSON     []byte
}

// Why a result was not computed again, or what came of it says nothing. None of them
// counts as right.
const (
	SkippedOpen      = "open"            // an event may still correct it
	SkippedRetracted = "retracted"       // it tells nothing any more
	SkippedRules     = "rules_gone"      // its version is kept no more, or the rule counts no more as it did
	SkippedRaw       = "raw_gone"        // the raw store keeps its days no more
	SkippedAhead     = "not_stored_yet"  // the raw store has not come to its events
	SkippedLate      = "undecided_late"  // events lie behind what it counts, and nothing shows that they were late
	SkippedLimit     = "over_limit"      // the rule has refused events, or given matches up, in this partition
	SkippedMissed    = "missed"          // records were gone from the log before rules read them, which is accounted for
	SkippedAgain     = "published_again" // the raw store has rows of it that were published again
	SkippedMapping   = "unmapped"        // what the rules stream did with its events cannot be done again
	SkippedBack      = "looks_back"      // a pattern that looks at the event before its first
	SkippedTopics    = "two_topics"      // it joins two topics, and the raw store has the events of one at most
	SkippedMany      = "too_many"        // it is a part of a sum of all devices, among more rows than are read for it
	SkippedChanged   = "changed"         // it was corrected or erased meanwhile
)

// skips are all of them, for metrics.
var skips = [...]string{SkippedOpen, SkippedRetracted, SkippedRules, SkippedRaw, SkippedAhead, SkippedLate,
	SkippedLimit, SkippedMissed, SkippedAgain, SkippedMapping, SkippedBack, SkippedTopics, SkippedMany,
	SkippedChanged}

// Skips are the reasons for which a result is not computed again.
func Skips() []string { return slices.Clone(skips[:]) }

// Recomputed is what came of a sample: Sampled = Right + Erased + those skipped + Differing.
type Recomputed struct {
	Seed    uint64 `json:"seed"`
	Sampled int    `json:"sampled"`
	Right   int    `json:"right"`
	// Erased are parts of sums of all devices that are right but for ErasedEvents, which
	// they count, and which were erased.
	Erased       int            `json:"erased"`
	ErasedEvents int64          `json:"erased_events"`
	Skipped      map[string]int `json:"skipped"` // by reason
	Differing    []Difference   `json:"differing"`
}

// checked is what came of one result: it is right when all are zero.
type checked struct {
	why    string   // it was not computed again, or that says nothing
	what   []string // of it differs
	erased int64    // events that it counts, and that were erased
}

// Difference is a result that is not what its events come to. It names no device, and
// no value: proofs are kept longer than what is erased.
type Difference struct {
	ID       string   `json:"id"`
	Revision int64    `json:"revision"`
	Rule     string   `json:"rule"`
	Version  string   `json:"version"`
	First    string   `json:"first"` // coordinates of its events
	Last     string   `json:"last"`
	Count    int64    `json:"count"`
	What     []string `json:"what"` // differs: count, first, last, window, or the names of values
}

// String is the difference for people.
func (d Difference) String() string {
	return fmt.Sprintf("result %s revision %d of rule %s, version %s, which counts %d events from %s to %s, is not what "+
		"the raw store's events come to: %s", d.ID, d.Revision, d.Rule, d.Version, d.Count, d.First, d.Last,
		strings.Join(d.What, ", "))
}

// telling is a result, read.
type telling struct {
	ID       string
	Revision int64
	Status   status
	Rule     string
	Version  string
	Fleet    string
	Key      map[string]json.RawMessage
	Start    time.Time `json:"window_start"`
	End      time.Time `json:"window_end"`
	Count    int64
	First    string
	Last     string
	Values   map[string]any
}

// Recompute computes a sample of results again. A store that is open for reading
// alone is not changed; where no rule ever counted, nothing is sampled.
func Recompute(ctx context.Context, db *sqldb.DB, s Sample) (Recomputed, error) {
	report := Recomputed{Seed: s.Seed, Skipped: map[string]int{}, Differing: []Difference{}}
	there, err := migrated(ctx, db)
	if err != nil || !there || s.Most <= 0 {
		return report, err
	}
	ids, err := s.pick(ctx, db)
	if err != nil {
		return report, fmt.Errorf("choosing results to compute again: %w", err)
	}
	sets := map[string]*Set{}
	if s.left == nil {
		s.left = new(atomic.Int64)
		s.left.Store(acrossMost)
	}
	for _, id := range ids {
		_, t, err := newest(ctx, db, id)
		if err == nil && t != nil && !s.mine(t) {
			continue
		}
		var c checked
		if err == nil {
			c, err = s.check(ctx, db, sets, t)
		}
		if err != nil {
			return report, fmt.Errorf("computing the result %s again: %w", id, err)
		}
		switch {
		case len(c.what) > 0:
			report.Differing = append(report.Differing, Difference{ID: t.ID, Revision: t.Revision, Rule: t.Rule,
				Version: t.Version, First: t.First, Last: t.Last, Count: t.Count, What: c.what})
		case c.why != "":
			report.Skipped[c.why]++
		case c.erased > 0:
			report.Erased++
			report.ErasedEvents += c.erased
		default:
			report.Right++
		}
		if report.Sampled++; report.Sampled == s.Most {
			break
		}
	}
	return report, nil
}

// mine tells whether a result is of a topic that is looked at.
func (s Sample) mine(t *telling) bool {
	first, err := event.ParseCoordinates(t.First)
	return s.Mine == nil || err != nil || s.Mine(first.Topic)
}

// pickMost is how many results are chosen for each that is to be looked at, where some
// are of other topics.
const pickMost = 4

// pick chooses ids at random: they are hashes, so that each is as likely. Where there
// are no more than are to be chosen, it is all.
func (s Sample) pick(ctx context.Context, db *sqldb.DB) (ids []string, err error) {
	most := s.Most
	if s.Mine != nil {
		most *= pickMost
	}
	ids, err = sqldb.All(ctx, db, func(row sqldb.Row) (id string, err error) { return id, row.Scan(&id) },
		`SELECT DISTINCT id FROM rule_result ORDER BY id LIMIT $1`, most+1)
	r := rand.New(rand.NewPCG(s.Seed, 16))
	if err != nil || len(ids) <= most {
		r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		return ids, err
	}
	ids = nil
	seen := map[string]bool{}
	for range most {
		var id string
		from := fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())
		const next = `SELECT id FROM rule_result WHERE id >= $1 ORDER BY id LIMIT 1`
		err = db.QueryRowContext(ctx, next, from).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			err = db.QueryRowContext(ctx, next, "").Scan(&id)
		}
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// newest reads the newest revision of a result; nil when there is none.
func newest(ctx context.Context, db *sqldb.DB, id string) (text string, _ *telling, err error) {
	err = db.QueryRowContext(ctx, `SELECT result FROM rule_result WHERE id = $1 ORDER BY revision DESC LIMIT 1`, id).
		Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil, nil
	}
	t := &telling{}
	if err == nil {
		err = json.Unmarshal([]byte(text), t)
	}
	return text, t, err
}

// check computes one result again.
func (s Sample) check(ctx context.Context, db *sqldb.DB, sets map[string]*Set, t *telling) (c checked, err error) {
	switch {
	case t == nil:
		return checked{why: SkippedChanged}, nil
	case t.Status == statusRetracted:
		return checked{why: SkippedRetracted}, nil
	case t.Status == statusProvisional:
		return checked{why: SkippedOpen}, nil
	}
	o, why, err := s.origin(ctx, db, sets, t)
	if err != nil || why != "" {
		return checked{why: why}, err
	}
	if o.Rule.across {
		c, err = o.sumAgain(ctx, db, s, t)
	} else {
		c, err = o.again(ctx, s, t)
	}
	if err != nil || c.why != "" || len(c.what) == 0 {
		return c, err
	}
	if _, now, err := newest(ctx, db, t.ID); err != nil || now == nil || now.Revision != t.Revision {
		return checked{why: SkippedChanged}, err
	}
	return c, nil
}

// again computes a result of one device.
func (o *origin) again(ctx context.Context, s Sample, t *telling) (c checked, err error) {
	var events []applied
	err = s.Events.Of(ctx, o.wanted(t), o.by, func(e Stored) error {
		one, is, err := o.takes(e)
		if is {
			events = append(events, one)
		}
		return err
	})
	if err != nil {
		return checked{}, err
	}
	slices.SortFunc(events, func(a, b applied) int { return cmp.Compare(a.Offset, b.Offset) })
	c.why, c.what, err = o.judge(ctx, s, t, events)
	return c, err
}

// migrated tells whether the tables are those of this weir.
func migrated(ctx context.Context, db *sqldb.DB) (bool, error) {
	steps := 0
	err := db.QueryRowContext(ctx, `SELECT count(*) FROM weir_migration WHERE room = 'rule'`).Scan(&steps)
	if err != nil {
		return false, fmt.Errorf("reading what rules counted: %w", err)
	}
	return steps >= len(migrations()), nil
}
