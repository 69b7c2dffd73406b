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
}

// Events are those of the raw store, as rules see them. Times are microseconds
// since 1970.
type Events interface {
	// Of hands on the events of a device that count in [from, to], each once, in any
	// order. By tells how the record at a place was read, nil where nobody knows.
	Of(ctx context.Context, fleet, device string, from, to int64, by func(event.Coordinates) *Reading,
		each func(Stored) error) error
	// Passed tells whether a record of the partition before the offset counts at a time
	// or soon after it.
	Passed(ctx context.Context, before event.Coordinates, at int64) (bool, error)
	// Days tells whether each day of [from, to] has events, of whatever fleet.
	Days(ctx context.Context, from, to int64) (bool, error)
	// Knows tells whether those that were read in a way are as rules saw them, or as
	// they were sent.
	Knows(by *Reading) bool
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
	SkippedAcross    = "across_devices"  // it is a part of a sum of all devices, of which an erasure takes none out
	SkippedChanged   = "changed"         // it was corrected or erased meanwhile
)

// skips are all of them, for metrics.
var skips = [...]string{SkippedOpen, SkippedRetracted, SkippedRules, SkippedRaw, SkippedAhead, SkippedLate,
	SkippedLimit, SkippedMissed, SkippedAgain, SkippedMapping, SkippedBack, SkippedTopics, SkippedAcross,
	SkippedChanged}

// Skips are the reasons for which a result is not computed again.
func Skips() []string { return slices.Clone(skips[:]) }

// Recomputed is what came of a sample: Sampled = Right + those skipped + Differing.
type Recomputed struct {
	Seed      uint64         `json:"seed"`
	Sampled   int            `json:"sampled"`
	Right     int            `json:"right"`
	Skipped   map[string]int `json:"skipped"` // by reason
	Differing []Difference   `json:"differing"`
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
	for _, id := range ids {
		why, d, err := s.check(ctx, db, sets, id)
		if err != nil {
			return report, fmt.Errorf("computing the result %s again: %w", id, err)
		}
		switch report.Sampled++; {
		case d != nil:
			report.Differing = append(report.Differing, *d)
		case why != "":
			report.Skipped[why]++
		default:
			report.Right++
		}
	}
	return report, nil
}

// pick chooses ids at random: they are hashes, so that each is as likely.
func (s Sample) pick(ctx context.Context, db *sqldb.DB) (ids []string, err error) {
	r := rand.New(rand.NewPCG(s.Seed, 16))
	seen := map[string]bool{}
	for range s.Most {
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

// check computes one result again. Why says that it could not be, or that it
// says nothing; the difference is nil when it is right.
func (s Sample) check(ctx context.Context, db *sqldb.DB, sets map[string]*Set, id string) (why string, _ *Difference,
	err error) {
	_, t, err := newest(ctx, db, id)
	switch {
	case err != nil:
		return "", nil, err
	case t == nil:
		return SkippedChanged, nil, nil
	case t.Status == statusRetracted:
		return SkippedRetracted, nil, nil
	case t.Status == statusProvisional:
		return SkippedOpen, nil, nil
	}
	o, why, err := s.origin(ctx, db, sets, t)
	if err != nil || why != "" {
		return why, nil, err
	}
	from, to := o.span(t)
	var events []applied
	err = s.Events.Of(ctx, t.Fleet, o.device(o.key), from, to, o.by, func(e Stored) error {
		one, is, err := o.takes(e)
		if is {
			events = append(events, one)
		}
		return err
	})
	if err != nil {
		return "", nil, err
	}
	slices.SortFunc(events, func(a, b applied) int { return cmp.Compare(a.Offset, b.Offset) })
	why, what, err := o.judge(ctx, s, t, events)
	if err != nil || why != "" || len(what) == 0 {
		return why, nil, err
	}
	if _, now, err := newest(ctx, db, id); err != nil || now == nil || now.Revision != t.Revision {
		return SkippedChanged, nil, err
	}
	return "", &Difference{ID: t.ID, Revision: t.Revision, Rule: t.Rule, Version: t.Version, First: t.First, Last: t.Last,
		Count: t.Count, What: what}, nil
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
