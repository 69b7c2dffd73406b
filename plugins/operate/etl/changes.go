package etl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// changes compares the columns of a source before and now: added names new columns, other those
// that are gone or have another type.
func changes(before, now []Column) (added, other []string) {
	is := func(name string) func(Column) bool { return func(c Column) bool { return c.Name == name } }
	for _, c := range before {
		switch i := slices.IndexFunc(now, is(c.Name)); {
		case i < 0:
			other = append(other, fmt.Sprintf("column %q (%s) is gone", c.Name, c.Type))
		case now[i].Type != c.Type:
			other = append(other, fmt.Sprintf("column %q was %s and is %s", c.Name, c.Type, now[i].Type))
		}
	}
	for _, c := range now {
		if !slices.ContainsFunc(before, is(c.Name)) {
			added = append(added, fmt.Sprintf("column %q (%s) is new", c.Name, c.Type))
		}
	}
	return added, other
}

// unchanged returns an error unless the source has the columns of the last finished run, or the
// change is allowed. Columns that the pipeline declares are not compared here: each read checks
// them against the source.
func (p *Pipeline) unchanged(o Options, s stage, now []column) error {
	if p.columns != nil {
		return nil
	}
	last, err := s.read("")
	if errors.Is(err, ErrNoRun) || err == nil && last.From == nil { // an older weir did not record them
		return nil
	}
	if err != nil {
		return err
	}
	return p.asBefore(o, last.From, "in run "+last.Run, now)
}

// asBefore returns an error if the columns have changed since before, unless the run accepts any
// change, or the pipeline accepts new columns and there are only such. A change that is accepted is
// told to the user.
func (p *Pipeline) asBefore(o Options, before []Column, when string, now []column) error {
	added, other := changes(before, told(now))
	all := append(other, added...)
	if len(all) == 0 {
		return nil
	}
	if what := strings.Join(all, "; "); !o.Accept && (len(other) > 0 || !p.additions) {
		return dataError{fmt.Errorf("the source is not as it was %s: %s; take it as it is with --accept-columns",
			when, what)}
	}
	o.Tell(fmt.Sprintf("the source is not as it was %s: %s", when, strings.Join(all, "; ")))
	return nil
}
