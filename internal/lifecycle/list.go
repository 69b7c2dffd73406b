package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"weir/internal/platform/sqldb"
)

// List is all stores, in the order in which they are erased.
type List []Kind

// Check returns what is wrong with the list: names that two have, and keeps that
// none declares, or two do.
func (l List) Check() (err error) {
	names, declared := map[string]bool{}, map[Keep]int{}
	field := func(k Keep) Keep { return Keep{Place: k.Place, Field: k.Field} }
	for _, k := range l {
		if names[k.Name] {
			err = errors.Join(err, fmt.Errorf("two stores are called %s", k.Name))
		}
		names[k.Name] = true
		for _, keep := range k.Keep {
			if keep.Default != "" {
				declared[field(keep)]++
			}
		}
	}
	for _, k := range l {
		for _, keep := range k.Keep {
			if n := declared[field(keep)]; n != 1 {
				err = errors.Join(err, fmt.Errorf("store %s: its field %s.%s is declared by %d stores, expected one", k.Name,
					keep.Place, keep.Field, n))
			}
		}
	}
	return err
}

// Databases opens the databases, each once, with the tables of the stores in
// them.
func (l List) Databases(ctx context.Context, at *Places) (map[*sqldb.DB][]string, error) {
	tables := map[*sqldb.DB][]string{}
	for _, k := range l {
		if !k.Place.SQL() {
			continue
		}
		db, err := at.SQL(ctx, k.Place)
		if err != nil {
			return nil, err
		}
		tables[db] = append(tables[db], k.Tables...)
	}
	return tables, nil
}
