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

// store is a store, or a transaction of it.
type store struct {
	sqldb.Querier
	sqldb.Dialect
}

func (s *Store) reading() store { return store{s.db, s.db.Dialect} }

// claimsOf reads the claims whose column is one of some ids, by anonymous id.
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

// Resolve returns the user of each id, as it was known at a version, 0 for now. An id
// that nobody has claimed - a user's own, or that of somebody who never signed in -
// stands for itself.
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

// Person is somebody with all that is known of them.
type Person struct {
	ID        string   `json:"person"`
	Aliases   []string `json:"aliases"`         // anonymous ids that are this person's
	Claims    Claims   `json:"claims"`          // by which they are, and of whom else
	Contested bool     `json:"contested"`       // another user claims one of the aliases, too
	Devices   []string `json:"devices"`         // where events of the person came from
	Shared    []string `json:"shared_devices"`  // those of them where others were seen, too
	Version   int64    `json:"version"`         // of the fleet's aliases
	AsOf      int64    `json:"as_of,omitempty"` // that was asked for
}

// Names are all ids that the person has.
func (p *Person) Names() []string { return append([]string{p.ID}, p.Aliases...) }

// Person returns who an id is - a user's, or an anonymous one - as it was known at a
// version, 0 for now. Of an id that nobody knows it returns a person without aliases.
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

// devices finds where a person was seen, and who else was there.
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

// Version is that of a fleet's aliases: it grows whenever a claim is kept.
func (s *Store) Version(ctx context.Context, fleet string) (version int64, err error) {
	err = sqldb.Each(ctx, s.db, func(row sqldb.Row) error { return row.Scan(&version) },
		`SELECT version FROM identity_version WHERE fleet = $1`, fleet)
	if err != nil {
		return 0, fmt.Errorf("reading the version of aliases: %w", err)
	}
	return version, nil
}

// Changes returns which anonymous ids have another owner now than they had at a
// version, by id: what was counted for the one is to be counted for the other. It looks
// at as many ids behind one as most says, and returns the last of them, "" when there
// are no others: not each has a change.
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
