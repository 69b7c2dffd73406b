package lifecycle

import (
	"context"
	"fmt"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// Rows is a store in tables of the control database, described by functions of its room. A nil function has nothing
// to do.
type Rows struct {
	Name   string
	Tables []string
	Keep   Keep // zero: kept forever
	// People says that rows may contain names of people. Without it, names in rows are those of devices, and erasures
	// of a person neither delete nor count rows.
	People bool
	// Prepare creates or migrates the tables.
	Prepare func(context.Context, *sqldb.DB) error
	// Expire deletes rows from before a time.
	Expire func(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error)
	Count  func(ctx context.Context, db *sqldb.DB, fleet, device string) (map[string]int64, error)
	// CountWho is Count where it matters whether the name is a person's or a device's; if it is not nil, Count is not
	// called.
	CountWho func(ctx context.Context, db *sqldb.DB, fleet string, who tombstone.Who) (map[string]int64, error)
	Erase    func(context.Context, *sqldb.DB, tombstone.Target) error
	// Remains is that of Remainder.
	Remains func(ctx context.Context, db *sqldb.DB, fleet string) (string, error)
}

// Made returns the Prepare of a room whose Open creates the tables.
func Made[T any](open func(context.Context, *sqldb.DB) (T, error)) func(context.Context, *sqldb.DB) error {
	return func(ctx context.Context, db *sqldb.DB) error {
		_, err := open(ctx, db)
		return err
	}
}

// Kind returns the declaration of the store.
func (r Rows) Kind() Kind {
	k := Kind{Name: r.Name, Place: Control, Tables: r.Tables, Open: func(ctx context.Context, at *Places) (Store, error) {
		db, err := at.SQL(ctx, Control)
		if err != nil {
			return nil, err
		}
		if err := tombstone.Migrate(ctx, db); err != nil {
			return nil, err
		}
		if r.Prepare != nil {
			if err := r.Prepare(ctx, db); err != nil {
				return nil, fmt.Errorf("opening the store of %s: %w", r.Name, err)
			}
		}
		return rows{r, db}, nil
	}}
	if r.Keep.Field != "" {
		k.Keep = []Keep{r.Keep}
	}
	return k
}

// rows is an opened Rows.
type rows struct {
	Rows
	db *sqldb.DB
}

func (r rows) Expire(ctx context.Context, u Upkeep) ([]Share, error) {
	s := Share{Store: r.Name, OlderThan: u.Before(0)}
	var err error
	if s.OlderThan != nil && r.Rows.Expire != nil {
		s.Removed, err = r.Rows.Expire(ctx, r.db, u.Pass, *s.OlderThan)
	}
	return []Share{s}, err
}

func (r rows) Count(ctx context.Context, fleet string, of ...tombstone.Who) (map[string]int64, error) {
	all := map[string]int64{}
	for _, who := range of {
		count := r.CountWho
		if count == nil && r.Rows.Count != nil {
			count = func(ctx context.Context, db *sqldb.DB, fleet string, who tombstone.Who) (map[string]int64, error) {
				return r.Rows.Count(ctx, db, fleet, who.Device)
			}
		}
		if count == nil || who.Name && !r.People {
			continue
		}
		counts, err := count(ctx, r.db, fleet, who)
		if err != nil {
			return nil, err
		}
		for what, n := range counts {
			all[what] += n
		}
	}
	return all, nil
}

func (r rows) Bury(ctx context.Context, stone tombstone.Stone) error {
	return tombstone.Bury(ctx, r.db, stone)
}

func (r rows) Erase(ctx context.Context, e Erasure) error {
	if r.Rows.Erase == nil || e.Name && !r.People {
		return nil
	}
	return r.Rows.Erase(ctx, r.db, e.Target)
}

func (r rows) Remains(ctx context.Context, fleet string) (string, error) {
	if r.Rows.Remains == nil {
		return "", nil
	}
	return r.Rows.Remains(ctx, r.db, fleet)
}

// Bytes are none to speak of.
func (rows) Bytes(context.Context) (int64, error) { return 0, nil }
