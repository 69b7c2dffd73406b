package etl

import (
	"context"
	"fmt"
	"strings"
)

// How rows come into a table.
const (
	modeReplace = "replace" // they are all that it has
	modeAppend  = "append"  // they come to those that are there
	modeMerge   = "merge"   // each takes the place of the one with its key
)

// dbTable is a table of a database as a sink. A run's rows come into it in one
// transaction, which also notes the run in _weir_etl_loads beside it: whoever does
// not know whether a commit came through finds it there. Readers see what was
// before, until then, and wait for nothing.
type dbTable struct {
	database
	table string
	mode  string
	key   []string // of merge
}

func readTable(r *reader, db database) target {
	t := &dbTable{db, r.text("table", true), r.oneOf("mode", modeReplace, modeAppend, modeMerge), nil}
	t.key = readKey(r, t.mode)
	for _, part := range strings.Split(t.table, ".") {
		if len(part) > mostName || part == "" && t.table != "" || strings.Contains(t.table, "\x00") {
			r.wrong(r.members["table"], "expected TABLE or SCHEMA.TABLE, of at most %d bytes each", mostName)
			break
		}
	}
	return target{format: t.format(), url: t.where(), object: t.table, table: t}
}

// readKey reads the columns by which rows are merged.
func readKey(r *reader, mode string) []string {
	key := readNames(r, "key")
	if at := r.members["key"]; at != nil && mode != modeMerge {
		r.wrong(at, "only rows that are merged have a key")
	} else if r.members != nil && mode == modeMerge && len(key) == 0 {
		r.wrong(r.n, `"key" is missing: the columns by which rows are merged`)
	}
	return key
}

// isTable tells whether a format is that of tables of a database.
func isTable(format string) bool { return format == postgresFormat || format == mysqlFormat }

// beside is the name of a table in the same schema, quoted.
func (t *dbTable) beside(name string) string {
	if schema, _, is := strings.Cut(t.table, "."); is {
		name = schema + "." + name
	}
	return quoted(name)
}

func (t *dbTable) claims() string { return t.beside("_weir_etl_claims") }
func (t *dbTable) loads() string  { return t.beside("_weir_etl_loads") }
func (t *dbTable) marked() string { return t.beside("_weir_etl_positions") }

// put is a statement for a row with these values, key first; one with its key is
// another one then.
func (t *dbTable) put(into string, key, more []string) string {
	all := append(key[:len(key):len(key)], more...)
	return "INSERT INTO " + into + " (" + quotedNames(all) + ") VALUES (?" + strings.Repeat(", ?", len(all)-1) + ")" +
		t.otherwise(key, more)
}

// within does something in one transaction, in which no other run has anything to
// do with this table. When it returns without an error, what was done is durable;
// after an error it may be, when the answer to the commit was lost. columns are
// those of rows that are to come; nil: none.
func (t *dbTable) within(ctx context.Context, columns []column,
	do func(context.Context, dbSession) error) error {
	s, err := t.session(ctx, false)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	if err := s.make(ctx, t.books(t)...); err != nil {
		return err
	}
	if columns != nil {
		if err := s.ready(ctx, t, columns); err != nil {
			return err
		}
	}
	return s.transact(ctx, "weir etl "+t.table, func(ctx context.Context) error { return do(ctx, s) })
}

// load brings the rows into the table, unless it has them: what happened is in the
// account that it returns.
func (t *dbTable) load(ctx context.Context, p *Pipeline, st stage, at *progress, columns []column, id string) (
	sink Sink, err error) {
	sink = Sink{Format: t.format(), URL: t.where(), Object: t.table, Mode: t.mode}
	return sink, t.within(ctx, columns, func(ctx context.Context, s dbSession) error {
		if err := t.own(ctx, s, p.Name, id); err != nil {
			return err
		}
		came := false
		if err := s.query(ctx, func(scan func(...any) error) error {
			came = true // the answer to its commit was lost
			return scan(&sink.Rows, &sink.Bytes, &sink.SHA256)
		}, `SELECT "rows", bytes, sha256 FROM `+t.loads()+" WHERE sink = ? AND run = ?", t.table, at.Run); came || err != nil {
			return err
		}
		if err := t.bringRows(ctx, s, p, st, at, columns, &sink); err != nil {
			return err
		}
		return s.exec(ctx, "INSERT INTO "+t.loads()+` (sink, run, pipeline, "rows", bytes, sha256) `+
			"VALUES (?, ?, ?, ?, ?, ?)", t.table, at.Run, p.Name, sink.Rows, sink.Bytes, sink.SHA256)
	})
}

// bringRows takes the rows into the table within a transaction.
func (t *dbTable) bringRows(ctx context.Context, s dbSession, p *Pipeline, st stage, at *progress, columns []column,
	sink *Sink) error {
	return s.fill(ctx, t, columns, func(rows tableRows) error {
		sink.Rows = 0 // of a try before, whose transaction has ended
		if err := p.encodeRows(ctx, st, at, sink, rows); err != nil {
			return err
		}
		sink.Bytes, sink.SHA256 = rows.told()
		return nil
	})
}

// asked says which columns the table does not take as they are.
func (t *dbTable) asked(ctx context.Context, columns []column) error {
	s, err := t.session(ctx, true)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	return s.takes(ctx, t, columns)
}

// sameKey and noKey say which rows cannot be merged.
func (t *dbTable) sameKey() error {
	return dataError{fmt.Errorf("two rows of the run have the same %s: dedupe them before", strings.Join(t.key, ", "))}
}

func noKey(c column) error {
	return fmt.Errorf("column %q is null in a row: it has no key to merge by", c.name)
}

// noIndex says that a table does not know rows by the key.
func (t *dbTable) noIndex() error {
	return dataError{fmt.Errorf("table %s has no unique index of exactly %s: make one, or merge by another key", t.table,
		strings.Join(t.key, ", "))}
}

// keyAt is where the columns of a merge's key stand.
func (t *dbTable) keyAt(columns []column) (key []int) {
	for _, name := range t.key {
		key = append(key, indexOf(columns, name))
	}
	return key
}

// mostErased is how many keys one statement has.
const mostErased = 256

// erase lets go what a batch lets go.
func (t *dbTable) erase(ctx context.Context, s dbSession, columns []column, m merged) error {
	if len(m.gone) == 0 && !m.empty {
		return nil
	}
	var key []column
	var keys []row
	at := t.keyAt(columns)
	for _, i := range at {
		key = append(key, columns[i])
	}
	for _, r := range m.gone {
		one := make(row, 0, len(at))
		for _, i := range at {
			if r[i].null {
				return dataError{noKey(columns[i])}
			}
			one = append(one, r[i])
		}
		keys = append(keys, one)
	}
	return s.erase(ctx, t, key, keys, m.empty)
}

// erasing is a statement that lets the rows with so many keys go; value is the n-th.
func (t *dbTable) erasing(key []column, keys int, value func(n int) string) string {
	var all []string
	for n := range keys {
		one := make([]string, len(key))
		for i := range key {
			one[i] = value(n*len(key) + i)
		}
		all = append(all, "("+strings.Join(one, ", ")+")")
	}
	return "DELETE FROM " + quoted(t.table) + " WHERE (" + quotedNames(names(key)) + ") IN (" + strings.Join(all, ", ") +
		")"
}
