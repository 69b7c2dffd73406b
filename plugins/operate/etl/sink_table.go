package etl

import (
	"context"
	"fmt"
	"strings"
)

// Modes: how rows are written to a table.
const (
	modeReplace = "replace" // the rows replace all rows of the table
	modeAppend  = "append"  // the rows are added
	modeMerge   = "merge"   // each row replaces the one with the same key, or is added
)

// dbTable is a table of a database as a sink. The rows of a run are written in one transaction,
// which also records the run in the table _weir_etl_loads beside it: a retry reads that to find out
// whether a commit of unknown result happened. Until then readers see the rows of before, and are
// not blocked.
type dbTable struct {
	database
	table string
	mode  string
	key   []string // of mode merge
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

// readKey reads the columns of the key, which mode merge needs and others must not have.
func readKey(r *reader, mode string) []string {
	key := readNames(r, "key")
	if at := r.members["key"]; at != nil && mode != modeMerge {
		r.wrong(at, "only rows that are merged have a key")
	} else if r.members != nil && mode == modeMerge && len(key) == 0 {
		r.wrong(r.n, `"key" is missing: the columns by which rows are merged`)
	}
	return key
}

// isTable tells whether a format is that of a database's tables.
func isTable(format string) bool { return format == postgresFormat || format == mysqlFormat }

// beside returns the quoted name of another table in the same schema.
func (t *dbTable) beside(name string) string {
	if schema, _, is := strings.Cut(t.table, "."); is {
		name = schema + "." + name
	}
	return quoted(name)
}

func (t *dbTable) claims() string { return t.beside("_weir_etl_claims") }
func (t *dbTable) loads() string  { return t.beside("_weir_etl_loads") }
func (t *dbTable) marked() string { return t.beside("_weir_etl_positions") }

// put returns a statement that inserts a row with these values, key first, or updates the row with
// this key.
func (t *dbTable) put(into string, key, more []string) string {
	all := append(key[:len(key):len(key)], more...)
	return "INSERT INTO " + into + " (" + quotedNames(all) + ") VALUES (?" + strings.Repeat(", ?", len(all)-1) + ")" +
		t.otherwise(key, more)
}

// within calls do in one transaction that holds the table's lock against other runs. When it
// returns nil, the transaction is durable. After an error it may be, if the answer to the commit
// was lost; do may be called several times. columns are those of the rows that do writes; nil: it
// writes none.
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

// load writes the rows to the table, unless the table has recorded this run. When it returns nil,
// the rows and the record are durable.
func (t *dbTable) load(ctx context.Context, p *Pipeline, st stage, at *progress, columns []column, id string) (
	sink Sink, err error) {
	sink = Sink{Format: t.format(), URL: t.where(), Object: t.table, Mode: t.mode}
	return sink, t.within(ctx, columns, func(ctx context.Context, s dbSession) error {
		if err := t.own(ctx, s, p.Name, id); err != nil {
			return err
		}
		came := false
		if err := s.query(ctx, func(scan func(...any) error) error {
			came = true // by an attempt whose answer was lost
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

// bringRows writes the rows of a run to the table within a transaction.
func (t *dbTable) bringRows(ctx context.Context, s dbSession, p *Pipeline, st stage, at *progress, columns []column,
	sink *Sink) error {
	return s.fill(ctx, t, columns, func(rows tableRows) error {
		sink.Rows = 0 // set by an earlier attempt that was rolled back
		if err := p.encodeRows(ctx, st, at, sink, rows); err != nil {
			return err
		}
		sink.Bytes, sink.SHA256 = rows.told()
		return nil
	})
}

// asked returns an error that names the columns which the table cannot hold.
func (t *dbTable) asked(ctx context.Context, columns []column) error {
	s, err := t.session(ctx, true)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	return s.takes(ctx, t, columns)
}

// sameKey and noKey are the errors of rows that cannot be merged.
func (t *dbTable) sameKey() error {
	return dataError{fmt.Errorf("two rows of the run have the same %s: dedupe them before", strings.Join(t.key, ", "))}
}

func noKey(c column) error {
	return fmt.Errorf("column %q is null in a row: it has no key to merge by", c.name)
}

// noIndex is the error of a table without a unique index on the key.
func (t *dbTable) noIndex() error {
	return dataError{fmt.Errorf("table %s has no unique index of exactly %s: make one, or merge by another key", t.table,
		strings.Join(t.key, ", "))}
}

// keyAt returns the indices of the key's columns.
func (t *dbTable) keyAt(columns []column) (key []int) {
	for _, name := range t.key {
		key = append(key, indexOf(columns, name))
	}
	return key
}

// mostErased is the most keys in one statement.
const mostErased = 256

// erase deletes the rows that a batch deletes.
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

// erasing returns a statement that deletes the rows with so many keys; value returns the n-th
// placeholder.
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
