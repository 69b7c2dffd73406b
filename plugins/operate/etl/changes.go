package etl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// changes are what columns have become since: what was added, and what else.
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

// unchanged tells whether the source has the columns of the last run that came to
// its end. Columns that the pipeline names itself are checked against the source
// whenever it is read.
func (p *Pipeline) unchanged(o Options, s stage, now []column) error {
	if p.columns != nil {
		return nil
	}
	last, err := s.read("")
	if errors.Is(err, ErrNoRun) || err == nil && last.From == nil { // of a weir that did not keep them
		return nil
	}
	if err != nil {
		return err
	}
	return p.asBefore(o, last.From, "in run "+last.Run, now)
}

// asBefore tells whether the columns are those of before, or may have become what
// they are.
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
