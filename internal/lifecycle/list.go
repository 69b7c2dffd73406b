package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"weir/internal/platform/sqldb"
)

// List is all stores, in the order in which erasures process them.
type List []Kind

// Check returns what is wrong with the list: duplicate names, and Keep fields that are not declared exactly once.
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

// Databases opens every database of the list once and returns the tables of the stores in it.
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
