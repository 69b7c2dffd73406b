package etl

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// op says what a change means to sinks that merge by a key.
type op byte

const (
	opPut    op = iota // the row exists, with these values
	opGone             // the row with this key is deleted; sinks that keep all changes get a row of it
	opUnseen           // as opGone, but sinks that keep all changes get no row
	opEmpty            // all rows are deleted; sinks that keep all changes get a row of it
)

// change is one entry of a log of changes.
type change struct {
	row   row
	place string
	op    op
	err   error // a *rowError: the row cannot be read
}

// changeFacts names the columns that hold the metadata of a change. "": that fact gets no column.
type changeFacts struct{ operation, position, number, committed string }

// Values of the column of operations.
const (
	operationSnapshot = "snapshot"
	operationInsert   = "insert"
	operationUpdate   = "update"
	operationDelete   = "delete"
	operationTruncate = "truncate"
)

func readChangeFacts(r *reader) (f changeFacts) {
	at := r.member("metadata")
	if at == nil {
		return f
	}
	m := at.object(r.problems)
	seen := map[string]bool{}
	for _, fact := range []struct {
		name string
		into *string
	}{{"operation", &f.operation}, {"position", &f.position}, {"number", &f.number}, {"committed", &f.committed}} {
		if *fact.into = m.text(fact.name, false); m.members[fact.name] == nil {
			continue
		}
		if *fact.into == "" || seen[*fact.into] {
			r.wrong(m.members[fact.name], "expected the name of a column, each once")
		}
		seen[*fact.into] = true
	}
	m.end()
	return f
}

// columns returns the columns of metadata that are asked for, in a fixed order.
func (f changeFacts) columns() (all []column) {
	for _, c := range []column{{f.operation, columnType{kind: kindText}}, {f.position, columnType{kind: kindText}},
		{f.number, columnType{kind: kindInt64}}, {f.committed, columnType{kind: kindTimestampTZ}}} {
		if c.name != "" {
			all = append(all, c)
		}
	}
	return all
}

// check refuses a table that has a column with the name of a column of metadata.
func (f changeFacts) check(table []column) error {
	for _, c := range f.columns() {
		if indexOf(table, c.name) >= 0 {
			return dataError{fmt.Errorf("the table has a column %q: name the one of metadata otherwise", c.name)}
		}
	}
	return nil
}

// of returns a row of the table followed by its metadata. A zero time of commit is null.
func (f changeFacts) of(r row, operation, position string, number int64, committed time.Time) row {
	out := append(make(row, 0, len(r)+4), r...)
	for _, one := range []struct {
		name string
		is   cell
	}{{f.operation, cell{text: operation}}, {f.position, cell{text: position}},
		{f.number, cell{text: strconv.FormatInt(number, 10)}},
		{f.committed, cell{committed.UTC().Format(formTimestamp) + "Z", committed.IsZero()}}} {
		if one.name != "" {
			out = append(out, one.is)
		}
	}
	return out
}

// nulls returns a row of n nulls.
func nulls(n int) row {
	out := make(row, n)
	for i := range out {
		out[i].null = true
	}
	return out
}

// mark adds a row with an operation other than opPut.
func (b *block) mark(r row, o op) {
	b.ops = append(b.ops, make([]op, len(b.rows)-len(b.ops))...)
	b.add(r)
	b.ops = append(b.ops[:len(b.rows)-1], o)
}

// op returns the operation of row i.
func (b *block) op(i int) op {
	if i < len(b.ops) {
		return b.ops[i]
	}
	return opPut
}

// merges tells whether any sink merges by a key.
func (p *Pipeline) merges() bool {
	return slices.ContainsFunc(p.sinks, func(t target) bool { return t.key() != nil })
}

// key returns the columns by which a sink merges; nil: it keeps all rows.
func (t target) key() []string {
	switch {
	case t.table != nil && t.table.mode == modeMerge:
		return t.table.key
	case t.delta != nil && t.delta.mode == modeMerge:
		return t.delta.key
	}
	return nil
}

// change passes a change through the steps into the block. Of a deleted row only the key may be
// known, so no step can filter or fail it. When a filter takes out a row that changed, tables that
// merge delete it.
func (w into) change(c change) error {
	one := numbered{row: c.row, number: w.counts.Read + 1, place: c.place}
	if c.op == opUnseen && c.err == nil {
		if w.p.merges() {
			w.b.mark(w.planned.gone(c.row), opUnseen)
		}
		return nil
	}
	w.counts.Read++
	switch {
	case c.err != nil:
		return c.unread(w, one)
	case c.op != opPut:
		w.b.mark(w.planned.gone(c.row), c.op)
		w.counts.Written++
		return nil
	}
	filtered := w.counts.Filtered
	if err := w.take(one); err != nil {
		return err
	}
	if w.counts.Filtered > filtered && w.p.merges() && w.changes {
		w.b.mark(w.planned.gone(c.row), opUnseen)
	}
	return nil
}

func (c change) unread(w into, one numbered) error {
	var unread *rowError
	if !errors.As(c.err, &unread) {
		return c.err
	}
	return w.fail(one, -1, unread.reason, w.p.onFailure, unread.raw)
}

// gone applies the steps to a deleted row. Values that cannot be made from what is known of it are
// null.
func (p *planned) gone(r row) row {
	for i, s := range p.specs {
		next, filtered, reason := p.steps[i](r)
		if filtered || reason != "" {
			columns := p.between[i+1]
			next = append(slices.Clone(r), nulls(max(0, len(columns)-len(r)))...)
			if s.kind == "derive" {
				next[indexOf(columns, s.column)] = cell{null: true}
			}
		}
		r = next
	}
	return r
}

// sure returns which columns after the steps are known of a deleted row, when the source knows
// these columns of it: the same columns, renamed, and those that are derived.
func (p *Pipeline) sure(known []string) map[string]bool {
	all := map[string]bool{}
	for _, name := range known {
		all[name] = true
	}
	for _, s := range p.steps {
		switch s.kind {
		case "rename":
			next := map[string]bool{}
			for name := range all {
				if to, is := s.renames[name]; is {
					name = to
				}
				next[name] = true
			}
			all = next
		case "derive":
			all[s.column] = true
		}
	}
	return all
}

// checkKeys refuses a sink that merges by a column which the log does not have of deleted rows.
// known are the columns that it has; nil: all. mend tells the user what to change in the table.
func (p *Pipeline) checkKeys(table string, known []string, mend string) error {
	if known == nil { // the log has every column of a deleted row
		return nil
	}
	sure := p.sure(known)
	for _, t := range p.sinks {
		for _, name := range t.key() {
			if !sure[name] {
				return dataError{fmt.Errorf("sink %s merges by %q, which the log of %s does not tell of rows that are "+
					"deleted: merge by its key, or %s", t, name, table, mend)}
			}
		}
	}
	return nil
}
