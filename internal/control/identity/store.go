// Package identity keeps which anonymous id belongs to which user, as versioned aliases, and on which devices each
// was seen. Claims are never changed, so that past versions can be resolved; only erasures delete them. The package
// imports no room of plugins.
package identity

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
)

// errInvalid is wrapped by the errors of an invalid claim.
var errInvalid = errors.New("invalid claim")

// The bounds.
const (
	maxID     = 256
	maxSource = 256
	maxClaims = 1000 // per anonymous id
	aheadMost = 5 * time.Minute
)

// Store keeps aliases in SQL. It may be used concurrently.
type Store struct {
	db   *sqldb.DB
	now  func() time.Time
	gone atomic.Pointer[graves]
	know known
}

func migrations() []sqldb.Migration {
	tables := `CREATE TABLE identity_version (fleet TEXT NOT NULL PRIMARY KEY, version BIGINT NOT NULL);
		CREATE TABLE identity_claim (
		fleet TEXT NOT NULL, anonymous_id TEXT NOT NULL, user_id TEXT NOT NULL, at BIGINT NOT NULL, version BIGINT NOT NULL,
		source TEXT NOT NULL, recorded_by TEXT NOT NULL, recorded_at BIGINT NOT NULL,
		PRIMARY KEY (fleet, anonymous_id, user_id, at));
		CREATE INDEX identity_claim_user ON identity_claim (fleet, user_id);
		CREATE INDEX identity_claim_version ON identity_claim (fleet, version);
		CREATE TABLE identity_device (
		fleet TEXT NOT NULL, subject TEXT NOT NULL, device_id TEXT NOT NULL, recorded_at BIGINT NOT NULL,
		PRIMARY KEY (fleet, subject, device_id));
		CREATE INDEX identity_device_device ON identity_device (fleet, device_id)`
	return []sqldb.Migration{{SQLite: tables, Postgres: tables}}
}

// Open creates or migrates the tables of aliases.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := errors.Join(db.Migrate(ctx, "identity", migrations()), tombstone.Migrate(ctx, db)); err != nil {
		return nil, fmt.Errorf("opening the store of aliases: %w", err)
	}
	return &Store{db: db, now: time.Now}, nil
}

// ValidID checks an anonymous id or the id of a user; what names it in the error.
func ValidID(what, id string) error {
	if !text.Plain(id, maxID) {
		return fmt.Errorf("%w: the %s must be 1 to %d bytes of text", errInvalid, what, maxID)
	}
	return nil
}

// Seen is what an event says about its sender.
type Seen struct {
	Device    string
	Anonymous string // "": none
	User      string // "": none
	At        time.Time
	Received  time.Time
}

// subjects returns the ids that the event names.
func (s Seen) subjects() (ids []string) {
	for _, id := range []string{s.User, s.Anonymous} {
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// Noted says what a call recorded.
type Noted struct {
	Claims  int      // new claims
	Devices int      // new pairs of subject and device
	Ignored int      // claims beyond maxClaims, not recorded
	Changes []Change // of owners, ordered by anonymous id
	// Erased are the indexes of events whose device or person was erased after they were received: nothing of them is
	// recorded.
	Erased []int
}

// Put records a claim. A zero c.At means now. When it returns nil the claim is committed and applies to every later
// resolution. It returns the stored claim (an earlier one of the same user, if there is one) and the changed owners.
func (s *Store) Put(ctx context.Context, fleet string, c Claim) (Claim, []Change, error) {
	now := s.now().UTC().Truncate(time.Microsecond)
	if c.At.IsZero() {
		c.At = now
	}
	c.At, c.RecordedAt = c.At.UTC().Truncate(time.Microsecond), now
	var wrong error
	if c.At.After(now.Add(aheadMost)) {
		wrong = fmt.Errorf("%w: at is ahead of the clock", errInvalid)
	}
	if c.Source != "" && !text.Plain(c.Source, maxSource) {
		wrong = errors.Join(wrong, fmt.Errorf("%w: the source must be up to %d bytes of text", errInvalid, maxSource))
	}
	if err := errors.Join(apikey.ValidFleet(fleet), ValidID("anonymous_id", c.Anonymous), ValidID("user_id", c.User),
		wrong); err != nil {
		return c, nil, fmt.Errorf("%w: %w", errInvalid, err)
	}
	noted, err := s.note(ctx, fleet, nil, func([]Seen) []Claim { return []Claim{c} })
	if err == nil && noted.Ignored > 0 {
		err = fmt.Errorf("%w: %d claims of one anonymous id are as many as are kept", errInvalid, maxClaims)
	}
	if err != nil {
		return c, nil, err
	}
	all, err := s.Claims(ctx, fleet, c.Anonymous)
	for _, kept := range all {
		if kept.User == c.User && !kept.At.After(c.At) {
			return kept, noted.Changes, err
		}
	}
	return c, noted.Changes, err
}

// Note records in one transaction what events say: who claims which anonymous id, and on which devices each was seen.
// It is idempotent and independent of order. Events whose device or person was erased after they were received are
// left out.
func (s *Store) Note(ctx context.Context, fleet, by string, seen []Seen) (Noted, error) {
	return s.note(ctx, fleet, seen, func(seen []Seen) (claims []Claim) {
		for _, e := range seen {
			if e.User != "" && e.Anonymous != "" {
				claims = append(claims, Claim{Anonymous: e.Anonymous, User: e.User, RecordedBy: by,
					At: e.At.UTC().Truncate(time.Microsecond), RecordedAt: time.UnixMicro(e.received()).UTC()})
			}
		}
		return claims
	})
}

// received returns the receive time in microseconds since 1970, 0 when it is unknown.
func (s Seen) received() int64 {
	if s.Received.IsZero() {
		return 0
	}
	return s.Received.UnixMicro()
}

// note reads before it writes, because nearly all that events say is known.
func (s *Store) note(ctx context.Context, fleet string, seen []Seen, claims func([]Seen) []Claim) (noted Noted,
	err error) {
	gone, err := s.graves(ctx)
	if err != nil {
		return noted, err
	}
	left, erased := living(gone.set, fleet, seen)
	left = s.know.news(fleet, left, gone, s.now())
	asked := claims(left)
	if len(left) == 0 && len(asked) == 0 {
		return Noted{Erased: erased}, nil
	}
	unknown, err := fresh(ctx, s.reading(), fleet, left, asked)
	if err == nil {
		err = unknown.leaveKnown(ctx, s.db, fleet)
	}
	if err != nil {
		return noted, err
	}
	if unknown.none() {
		s.know.learn(fleet, left, gone, s.now())
		return Noted{Erased: erased}, nil
	}
	err = tombstone.Update(ctx, s.db, func(tx *sql.Tx) error {
		buried, err := tombstone.Begin(ctx, tx, s.db.Dialect)
		if err != nil {
			return err
		}
		seq, err := seqOf(ctx, tx)
		if err != nil {
			return err
		}
		if seq != gone.seq { // new tombstones since: check all events again
			left, erased = living(buried, fleet, seen)
		}
		told, err := fresh(ctx, store{tx, s.db.Dialect}, fleet, left, claims(left))
		if err != nil {
			return err
		}
		noted, err = told.write(ctx, tx, s.db.Dialect, fleet)
		return err
	})
	if err != nil {
		return Noted{}, fmt.Errorf("keeping aliases: %w", err)
	}
	s.know.learn(fleet, left, gone, s.now()) // it learns nothing if the tombstones changed meanwhile
	noted.Erased = erased
	return noted, nil
}

// graves returns the present tombstones, rereading them only when there are new ones.
func (s *Store) graves(ctx context.Context) (*graves, error) {
	seq, err := seqOf(ctx, s.db)
	if err != nil {
		return nil, err
	}
	if known := s.gone.Load(); known != nil && known.seq == seq {
		return known, nil
	}
	set, err := tombstone.Load(ctx, s.db)
	if err != nil {
		return nil, err
	}
	read := &graves{seq, set} // at least those up to seq
	s.gone.Store(read)
	return read, nil
}

// seqOf returns the sequence number of the newest tombstone.
func seqOf(ctx context.Context, q sqldb.Querier) (seq int64, err error) {
	err = sqldb.Each(ctx, q, func(row sqldb.Row) error { return row.Scan(&seq) }, tombstone.SeqQuery)
	if err != nil {
		return 0, fmt.Errorf("reading tombstones: %w", err)
	}
	return seq, nil
}

// graves is a snapshot of the tombstones of a database.
type graves struct {
	seq int64
	set *tombstone.Set
}

// living returns the events that are not erased, and the indexes of the erased ones.
func living(gone *tombstone.Set, fleet string, seen []Seen) (left []Seen, erased []int) {
	if !slices.ContainsFunc(seen, func(e Seen) bool { return gone.Touches(fleet, e.received()) }) {
		return seen, nil // the usual case: received after the newest erasure
	}
	for n, e := range seen {
		if gone.Holds(fleet, e.Device, e.received()) || slices.ContainsFunc(e.subjects(), func(name string) bool {
			return gone.HoldsName(fleet, name, e.received()) || gone.Holds(fleet, name, e.received())
		}) {
			erased = append(erased, n)
			continue
		}
		left = append(left, e)
	}
	return left, erased
}

// news is what may have to be written.
type news struct {
	before map[string]Claims // stored claims of each anonymous id in claims
	claims []Claim
	pairs  map[pair]int64 // earliest receive time of each pair
}

func (n *news) none() bool { return len(n.claims) == 0 && len(n.pairs) == 0 }

// fresh returns what events say, without claims that are stored.
func fresh(ctx context.Context, in store, fleet string, seen []Seen, claims []Claim) (*news, error) {
	var ids []string
	for _, c := range claims {
		ids = append(ids, c.Anonymous)
	}
	before, err := claimsOf(ctx, in, fleet, "anonymous_id", unique(ids))
	if err != nil {
		return nil, err
	}
	n := &news{before: before}
	have := map[string]Claims{}
	maps.Copy(have, before)
	for _, c := range slices.SortedFunc(slices.Values(claims), Claim.before) {
		if have[c.Anonymous].tells(c) {
			have[c.Anonymous] = append(slices.Clip(have[c.Anonymous]), c)
			n.claims = append(n.claims, c)
		}
	}
	n.pairs = map[pair]int64{}
	for _, e := range seen {
		for _, subject := range e.subjects() {
			p := pair{subject, e.Device}
			if first, ok := n.pairs[p]; e.Device != "" && (!ok || e.received() < first) {
				n.pairs[p] = e.received()
			}
		}
	}
	return n, nil
}

// write records all news under one new version of the fleet's aliases.
func (n *news) write(ctx context.Context, tx *sql.Tx, dialect sqldb.Dialect, fleet string) (noted Noted, err error) {
	if noted.Devices, err = n.writePairs(ctx, tx, dialect, fleet); err != nil {
		return noted, err
	}
	if len(n.claims) == 0 {
		return noted, nil
	}
	var version int64
	if err := tx.QueryRowContext(ctx, `INSERT INTO identity_version (fleet, version) VALUES ($1, 1)
		ON CONFLICT (fleet) DO UPDATE SET version = identity_version.version + 1 RETURNING version`, fleet).
		Scan(&version); err != nil {
		return noted, err
	}
	after := map[string]Claims{}
	for _, c := range n.claims {
		if _, ok := after[c.Anonymous]; !ok {
			after[c.Anonymous] = slices.Clone(n.before[c.Anonymous])
		}
		if !after[c.Anonymous].room(c) {
			noted.Ignored++
			continue
		}
		c.Version = version
		after[c.Anonymous] = append(after[c.Anonymous], c)
		if _, err := tx.ExecContext(ctx, `INSERT INTO identity_claim
			(fleet, anonymous_id, user_id, at, version, source, recorded_by, recorded_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (fleet, anonymous_id, user_id, at) DO NOTHING`,
			fleet, c.Anonymous, c.User, c.At.UnixMicro(), c.Version, c.Source, c.RecordedBy,
			c.RecordedAt.UnixMicro()); err != nil {
			return noted, err
		}
		noted.Claims++
	}
	for _, id := range slices.Sorted(maps.Keys(after)) {
		if was, is := n.before[id].Owner(0), after[id].Owner(0); was != is {
			noted.Changes = append(noted.Changes, Change{Anonymous: id, Before: was, After: is, Version: version})
		}
	}
	return noted, nil
}

func unique(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}
