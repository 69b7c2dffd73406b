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

// Sample says which results to compute again, and from what. They are computed from the events of the raw store by
// the same operators that computed them first.
type Sample struct {
	Seed   uint64
	Most   int           // how many results at most
	Delay  time.Duration // of the rules stream, for records of which no Reading is stored; 0 is 5s
	Events Events
	// Stored returns the offset before which the raw store has all records of a partition.
	Stored func(topic string, partition int32) int64
	// Erased returns an upper bound of how many of the missing records were erased on request; nil: none were.
	Erased func(context.Context, Missing) (int64, error)
	// Mine reports whether results of a topic are sampled; nil: all are.
	Mine func(topic string) bool

	left *atomic.Int64 // of acrossMost: the rows that may still be read
}

// Events gives access to the events of the raw store. Times are microseconds since 1970.
type Events interface {
	// Of calls each with the events that are wanted, as the rules saw them, each event once, in any order. by
	// returns how the record at a place was read, nil when that is not known.
	Of(ctx context.Context, w Wanted, by func(event.Coordinates) *Reading, each func(Stored) error) error
	// Passed reports whether a record of the partition before the offset counts at the time or soon after it.
	Passed(ctx context.Context, before event.Coordinates, at int64) (bool, error)
	// Days reports whether the store has events of a fleet of each day of [from, to], as a sign that retention has
	// deleted none of them.
	Days(ctx context.Context, fleet string, from, to int64) (bool, error)
	// Knows reports whether Of can return events that were read that way as the rules saw them. If not, it returns
	// them as they were sent.
	Knows(by *Reading) bool
}

// Wanted selects the events of a partition that count in [From, To].
type Wanted struct {
	Fleet, Device string // an empty Device selects all devices
	Topic         string
	Partition     int32
	From, To      int64
	// Left is the number of rows that may still be read, including rows that do not match. Reading counts it down,
	// and fails with ErrTooMany below 0. Nil means no bound.
	Left *atomic.Int64
}

// ErrTooMany means that there are more rows than Wanted.Left allows to read.
var ErrTooMany = errors.New("there are too many rows")

// Missing describes records that a result counts and the raw store does not have: of a fleet, in a partition, from
// offset First to Last, counting at Since or later.
type Missing struct {
	Fleet, Topic string
	Partition    int32
	First, Last  int64
	Since        time.Time
}

// Stored is an event of the raw store.
type Stored struct {
	First    event.Coordinates // of its first delivery
	Again    bool              // the stored row was published again; rules do not count such records
	Received time.Time         // zero when not known
	Flags    string
	JSON     []byte
}

// Why a result was skipped: it was not computed again, or the outcome proves nothing. A skipped result does not count
// as right.
const (
	SkippedOpen      = "open"            // an event may still correct it
	SkippedRetracted = "retracted"       // it was withdrawn
	SkippedRules     = "rules_gone"      // its version is not kept, or its rule is no longer evaluated as it was
	SkippedRaw       = "raw_gone"        // retention has deleted its days from the raw store
	SkippedAhead     = "not_stored_yet"  // the raw store does not have its events yet
	SkippedLate      = "undecided_late"  // events follow that it does not count, and nothing proves that they were late
	SkippedLimit     = "over_limit"      // the rule has refused events or given up partial matches in this partition
	SkippedMissed    = "missed"          // records were gone from the log before the rules read them; that is counted
	SkippedAgain     = "published_again" // the raw store has rows of it that were published again
	SkippedMapping   = "unmapped"        // the processors of the rules stream cannot be applied to its events again
	SkippedBack      = "looks_back"      // its pattern uses prev(), which sees an event before the match
	SkippedTopics    = "two_topics"      // it joins two topics, and the raw store has the events of at most one
	SkippedMany      = "too_many"        // it is a part of a sum of all devices, and takes more rows than may be read
	SkippedChanged   = "changed"         // it was corrected or erased during the check, or its key was in its window
)

// skips lists all reasons, for metrics.
var skips = [...]string{SkippedOpen, SkippedRetracted, SkippedRules, SkippedRaw, SkippedAhead, SkippedLate,
	SkippedLimit, SkippedMissed, SkippedAgain, SkippedMapping, SkippedBack, SkippedTopics, SkippedMany,
	SkippedChanged}

// Skips returns all reasons for which results are skipped.
func Skips() []string { return slices.Clone(skips[:]) }

// Recomputed is the outcome of a sample: Sampled = Right + Erased + the sum of Skipped + the number of Differing.
type Recomputed struct {
	Seed    uint64 `json:"seed"`
	Sampled int    `json:"sampled"`
	Right   int    `json:"right"`
	// Erased counts the parts of sums of all devices that are right except that they count ErasedEvents events,
	// which were erased from the raw store.
	Erased       int            `json:"erased"`
	ErasedEvents int64          `json:"erased_events"`
	Skipped      map[string]int `json:"skipped"` // by reason
	Differing    []Difference   `json:"differing"`
}

// checked is the outcome for one result. The zero value means that it is right.
type checked struct {
	why    string   // the reason for which it is skipped
	what   []string // the parts of it that differ
	erased int64    // how many events it counts that were erased
}

// Difference is a result that differs from what its events yield. It holds no device and no value, because proofs
// are kept longer than personal data.
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

// telling is a stored result, parsed.
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

// Recompute computes a sample of results again and compares them. It works on a read-only store too: it creates no
// tables, and samples nothing when they are missing or older than this weir.
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

// mine reports whether a result is of a topic that is sampled.
func (s Sample) mine(t *telling) bool {
	first, err := event.ParseCoordinates(t.First)
	return s.Mine == nil || err != nil || s.Mine(first.Topic)
}

// pickMost is the factor by which more results are picked than are wanted when those of other topics are passed over.
const pickMost = 4

// pick returns ids of results at random, each with about the same probability because ids are hashes. It returns all
// of them, shuffled, when there are no more than wanted.
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

// newest reads the newest revision of a result, nil when there is none.
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

// again computes a result of a rule that counts by device.
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

// migrated reports whether the tables of rules exist in the version of this weir, or a newer one.
func migrated(ctx context.Context, db *sqldb.DB) (bool, error) {
	steps := 0
	err := db.QueryRowContext(ctx, `SELECT count(*) FROM weir_migration WHERE room = 'rule'`).Scan(&steps)
	if err != nil {
		return false, fmt.Errorf("reading what rules counted: %w", err)
	}
	return steps >= len(migrations()), nil
}
