package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/internal/platform/sqldb"
)

const columns = `anonymous_id, user_id, at, version, source, recorded_by, recorded_at`

func scan(row sqldb.Row) (c Claim, err error) {
	var at, recorded int64
	err = row.Scan(&c.Anonymous, &c.User, &at, &c.Version, &c.Source, &c.RecordedBy, &recorded)
	c.At, c.RecordedAt = time.UnixMicro(at).UTC(), time.UnixMicro(recorded).UTC()
	return c, err
}

// store is a database or a transaction, with its dialect.
type store struct {
	sqldb.Querier
	sqldb.Dialect
}

func (s *Store) reading() store { return store{s.db, s.db.Dialect} }

// claimsOf reads the claims whose column has one of the ids, grouped by anonymous id.
func claimsOf(ctx context.Context, in store, fleet, column string, ids []string) (map[string]Claims, error) {
	found := map[string]Claims{}
	if len(ids) == 0 {
		return found, nil
	}
	err := sqldb.Each(ctx, in, func(row sqldb.Row) error {
		c, err := scan(row)
		found[c.Anonymous] = append(found[c.Anonymous], c)
		return err
	}, `SELECT `+columns+` FROM identity_claim WHERE fleet = $1 AND `+column+` `+in.Among("$2")+`
		ORDER BY anonymous_id, at, user_id`, fleet, in.List(ids))
	if err != nil {
		return nil, fmt.Errorf("reading aliases: %w", err)
	}
	return found, nil
}

// Claims returns all claims of an anonymous id, the earliest first.
func (s *Store) Claims(ctx context.Context, fleet, anonymous string) (Claims, error) {
	found, err := claimsOf(ctx, s.reading(), fleet, "anonymous_id", []string{anonymous})
	return found[anonymous], err
}

// Resolve returns the user of each id at a version (0: now). An id that nobody has claimed, such as a user's own,
// resolves to itself.
func (s *Store) Resolve(ctx context.Context, fleet string, ids []string, version int64) (map[string]string, error) {
	claims, err := claimsOf(ctx, s.reading(), fleet, "anonymous_id", unique(slices.Clone(ids)))
	if err != nil {
		return nil, err
	}
	people := make(map[string]string, len(ids))
	for _, id := range ids {
		people[id] = id
		if owner := claims[id].Owner(version); owner != "" {
			people[id] = owner
		}
	}
	return people, nil
}

// Person is all that is known of a person.
type Person struct {
	ID        string   `json:"person"`
	Aliases   []string `json:"aliases"`         // anonymous ids that this person owns
	Claims    Claims   `json:"claims"`          // all claims of ids that the person claims, also those of other users
	Contested bool     `json:"contested"`       // another user also claims one of the ids
	Devices   []string `json:"devices"`         // where the person's events came from
	Shared    []string `json:"shared_devices"`  // those of Devices where others were seen too
	Version   int64    `json:"version"`         // the fleet's present version of aliases
	AsOf      int64    `json:"as_of,omitempty"` // the version that was asked for
}

// Names returns all ids of the person.
func (p *Person) Names() []string { return append([]string{p.ID}, p.Aliases...) }

// Person returns the person behind an id - a user's or an anonymous one - at a version (0: now). For an unknown id it
// returns a person without aliases.
func (s *Store) Person(ctx context.Context, fleet, id string, version int64) (*Person, error) {
	people, err := s.Resolve(ctx, fleet, []string{id}, version)
	if err != nil {
		return nil, err
	}
	p := &Person{ID: people[id], Aliases: []string{}, Claims: Claims{}, Devices: []string{}, Shared: []string{},
		AsOf: version}
	if p.Version, err = s.Version(ctx, fleet); err != nil {
		return nil, err
	}
	said, err := claimsOf(ctx, s.reading(), fleet, "user_id", []string{p.ID})
	if err != nil {
		return nil, err
	}
	var claimed []string
	for anonymous := range said {
		claimed = append(claimed, anonymous)
	}
	all, err := claimsOf(ctx, s.reading(), fleet, "anonymous_id", unique(claimed))
	if err != nil {
		return nil, err
	}
	for _, anonymous := range unique(claimed) {
		known := all[anonymous].known(version)
		p.Claims = append(p.Claims, known...)
		p.Contested = p.Contested || known.contested(0)
		if known.Owner(0) == p.ID {
			p.Aliases = append(p.Aliases, anonymous)
		}
	}
	return p, s.devices(ctx, fleet, p)
}

// devices fills in the devices of a person, and those shared with others.
func (s *Store) devices(ctx context.Context, fleet string, p *Person) error {
	names, seen, in := p.Names(), map[string]bool{}, s.db.Dialect
	err := sqldb.Each(ctx, s.db, func(row sqldb.Row) error {
		device, err := sqldb.Value[string](row)
		seen[device] = true
		return err
	}, `SELECT DISTINCT device_id FROM identity_device WHERE fleet = $1 AND subject `+in.Among("$2"), fleet,
		in.List(names))
	for device := range seen {
		p.Devices = append(p.Devices, device)
	}
	slices.Sort(p.Devices)
	shared := map[string]bool{}
	err = errors.Join(err, sqldb.Each(ctx, s.db, func(row sqldb.Row) error {
		var at pair
		err := row.Scan(&at.subject, &at.device)
		if !slices.Contains(names, at.subject) {
			shared[at.device] = true
		}
		return err
	}, `SELECT subject, device_id FROM identity_device WHERE fleet = $1 AND device_id `+in.Among("$2"), fleet,
		in.List(p.Devices)))
	for device := range shared {
		p.Shared = append(p.Shared, device)
	}
	slices.Sort(p.Shared)
	if err != nil {
		return fmt.Errorf("reading devices of a person: %w", err)
	}
	return nil
}

// Version returns a fleet's version of aliases, which grows with every recorded claim; 0 before the first.
func (s *Store) Version(ctx context.Context, fleet string) (version int64, err error) {
	err = sqldb.Each(ctx, s.db, func(row sqldb.Row) error { return row.Scan(&version) },
		`SELECT version FROM identity_version WHERE fleet = $1`, fleet)
	if err != nil {
		return 0, fmt.Errorf("reading the version of aliases: %w", err)
	}
	return version, nil
}

// Changes returns the anonymous ids, ordered, whose owner now differs from the one at version since. It examines at
// most `most` ids after the id after, and returns the last one examined, or "" when none are left; an examined id
// need not have changed.
func (s *Store) Changes(ctx context.Context, fleet string, since int64, after string, most int) (changes []Change,
	last string, err error) {
	ids, err := sqldb.All(ctx, s.db, sqldb.Value[string], fmt.Sprintf(`SELECT DISTINCT anonymous_id FROM identity_claim
		WHERE fleet = $1 AND version > $2 AND anonymous_id > $3 ORDER BY anonymous_id LIMIT %d`, most+1), fleet, since, after)
	if err != nil {
		return nil, "", fmt.Errorf("reading changes of aliases: %w", err)
	}
	if len(ids) > most {
		ids = ids[:most]
		last = ids[most-1]
	}
	all, err := claimsOf(ctx, s.reading(), fleet, "anonymous_id", ids)
	if err != nil {
		return nil, "", err
	}
	changes = []Change{}
	for _, id := range ids {
		is, was := all[id].Owner(0), ""
		if since > 0 {
			was = all[id].Owner(since)
		}
		if was == is {
			continue
		}
		version := int64(0)
		for _, c := range all[id] {
			version = max(version, c.Version)
		}
		changes = append(changes, Change{Anonymous: id, Before: was, After: is, Version: version})
	}
	return changes, last, nil
}
