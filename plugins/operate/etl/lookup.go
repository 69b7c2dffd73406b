package etl

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// onNull is the on_failure of a lookup that passes a row without a match on, with nulls.
const onNull = "null"

// lookupSpec is a join with another source. The key must be unique there, so that a row finds one
// row or none.
type lookupSpec struct {
	name    string
	source  source
	columns []column          // declared columns of the source; nil: the source tells them
	on      map[string]string // column of the row -> column of the source
	take    map[string]string // column of the source -> its name in the row
}

func (p *Pipeline) readLookup(s *stepSpec, r *reader) {
	l := &lookupSpec{name: r.text("name", true)}
	if at := r.member("source"); at != nil {
		one := at.object(r.problems)
		l.source, l.columns = p.readOne(one, false)
		one.end()
	} else if r.members != nil {
		r.wrong(r.n, `"source" is missing`)
	}
	if on := r.member("on"); on != nil {
		l.on = readRenames(r, on)
	} else if r.members != nil {
		r.wrong(r.n, `"on" is missing: {"COLUMN HERE": "COLUMN OF THE SOURCE"}`)
	}
	if take := r.member("columns"); take != nil {
		l.take = readRenames(r, take)
	}
	s.onFailure = r.oneOf("on_failure", onFail, onDrop, onReject, onNull)
	if s.onFailure == onNull && l.take == nil && r.members != nil {
		r.wrong(r.n, "it asks for nothing: name columns, or another on_failure")
	}
	r.end()
	if slices.ContainsFunc(p.steps, func(s stepSpec) bool { return s.lookup != nil && s.lookup.name == l.name }) {
		r.wrong(r.n, "another lookup has this name")
	}
	s.lookup = l
}

// table is the contents of a lookup's source. It is read whole when a run begins, and kept in
// memory, up to the pipeline's memory_mib.
type table struct {
	columns []column
	index   map[string]row // key -> row
	digest  hash.Hash      // of the rows in the order in which they came
}

func newTable(columns []column) *table {
	return &table{columns: columns, index: map[string]row{}, digest: sha256.New()}
}

// plan checks a lookup against the columns of the rows (columns) and of its source (theirs).
func (l *lookupSpec) plan(columns, theirs []column) (here, there keyColumns, next []column, take []int, err error) {
	names, their := sortedKeys(l.on), l.their()
	if here, err = keyOf(columns, names); err != nil {
		return nil, nil, nil, nil, err
	}
	if there, err = keyOf(theirs, their); err != nil {
		return nil, nil, nil, nil, fmt.Errorf("looking up %s: %w", l.name, err)
	}
	whole := []kind{kindInt16, kindInt32, kindInt64}
	for i := range here {
		a, b := here[i].of, there[i].of
		if a != b && !(slices.Contains(whole, a.kind) && slices.Contains(whole, b.kind)) {
			return nil, nil, nil, nil, fmt.Errorf("column %q is %s, and %q of %s is %s: derive one that is the same",
				names[i], a, their[i], l.name, b)
		}
	}
	next = slices.Clone(columns)
	for _, name := range sortedKeys(l.take) {
		at := indexOf(theirs, name)
		if at < 0 {
			return nil, nil, nil, nil, fmt.Errorf("looking up %s: %w", l.name, noColumn(theirs, name))
		}
		if indexOf(next, l.take[name]) >= 0 {
			return nil, nil, nil, nil, fmt.Errorf("two columns would be named %q", l.take[name])
		}
		take, next = append(take, at), append(next, column{l.take[name], theirs[at].of})
	}
	return here, there, next, take, nil
}

// compileLookup returns the step and the columns after it. With a table that was not read yet,
// which finds no row, the step is only good for planning.
func (s stepSpec) compileLookup(columns []column, t *table) (step, []column, error) {
	here, _, next, take, err := s.lookup.plan(columns, t.columns)
	if err != nil {
		return nil, nil, err
	}
	return func(r row) (row, bool, string) {
		key, null := here.of(r)
		found := t.index[key]
		if found == nil && !null && s.onFailure != onNull {
			return r, false, fmt.Sprintf("%s has no row with this %s", s.lookup.name,
				strings.Join(sortedKeys(s.lookup.on), ", "))
		}
		out := make(row, len(next))
		copy(out, r)
		for i, at := range take {
			if found == nil || null {
				out[len(columns)+i].null = true
			} else {
				out[len(columns)+i] = found[at]
			}
		}
		return out, false, ""
	}, next, nil
}

// tableOf returns the table of a lookup as it was read, or one without rows if its columns are
// declared; else nil.
func (p *Pipeline) tableOf(l *lookupSpec) *table {
	if t := p.tables[l.name]; t != nil {
		return t
	}
	if l.columns == nil {
		return nil
	}
	return &table{columns: l.columns}
}

// asksOthers tells whether the columns of some lookup are known only after its source was asked.
func (p *Pipeline) asksOthers() bool {
	return slices.ContainsFunc(p.steps, func(s stepSpec) bool { return s.lookup != nil && p.tableOf(s.lookup) == nil })
}

// withTables returns a copy of the pipeline with the tables of its lookups read: with their rows,
// or only their columns.
func (p *Pipeline) withTables(ctx context.Context, rows bool) (*Pipeline, error) {
	with := *p
	with.tables = map[string]*table{}
	for _, s := range p.steps {
		if s.lookup == nil {
			continue
		}
		t := p.tables[s.lookup.name]
		if t == nil {
			var err error
			if t, err = s.lookup.read(ctx, rows, p.memory); err != nil {
				return nil, fmt.Errorf("looking up %s: %w", s.lookup.name, err)
			}
		}
		with.tables[s.lookup.name] = t
	}
	return &with, nil
}

func (l *lookupSpec) read(ctx context.Context, rows bool, memory int64) (*table, error) {
	in, err := l.source.open(ctx)
	if err != nil {
		return nil, err
	}
	defer in.close()
	if err := checkHeaders(in); err != nil {
		return nil, err
	}
	t := newTable(in.columns())
	if !rows {
		return t, nil
	}
	if err := in.from(ctx, ""); err != nil {
		return nil, err
	}
	room := &budget{left: memory << 20, most: memory}
	key, err := keyOf(t.columns, l.their())
	if err != nil {
		return nil, dataError{err}
	}
	for n := 1; ; n++ {
		r, _, err := in.next()
		var unread *rowError
		switch {
		case errors.Is(err, io.EOF):
			return t, nil
		case errors.As(err, &unread):
			return nil, dataError{fmt.Errorf("row %d: %s", n, unread.reason)}
		case err != nil:
			return nil, err
		}
		if n%1000 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := t.add(key, r, room); err != nil {
			return nil, dataError{fmt.Errorf("row %d: %w", n, err)}
		}
	}
}

// their returns the columns of the key in the source, in the order of sortedKeys(l.on).
func (l *lookupSpec) their() (all []string) {
	for _, name := range sortedKeys(l.on) {
		all = append(all, l.on[name])
	}
	return all
}

func (t *table) add(key keyColumns, r row, room *budget) error {
	size := entryBytes
	for _, c := range r {
		size += 24 + len(c.text)
		t.digest.Write(binary.AppendUvarint(nil, uint64(len(c.text))<<1|map[bool]uint64{true: 1}[c.null]))
		t.digest.Write([]byte(c.text))
	}
	text, null := key.of(r)
	if null {
		return nil // nothing equals null
	}
	if t.index[text] != nil {
		return errors.New("another row has the same key, and a lookup finds one: choose a key that no two rows have")
	}
	kept := make(row, len(r))
	for i, c := range r {
		kept[i] = c.clone()
	}
	t.index[text] = kept
	return room.take(size + len(text))
}

// toldTables returns the digests of the tables. A run does not continue if they have changed.
func (p *Pipeline) toldTables() string {
	var all strings.Builder
	for _, name := range sortedKeys(p.tables) {
		fmt.Fprintf(&all, "; %s %s", name, hex.EncodeToString(p.tables[name].digest.Sum(nil)))
	}
	return all.String()
}
