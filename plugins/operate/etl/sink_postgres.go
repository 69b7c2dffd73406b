package etl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// How rows come into a table.
const (
	modeReplace = "replace" // they are all that it has
	modeAppend  = "append"  // they come to those that are there
	modeMerge   = "merge"   // each takes the place of the one with its key
)

const postgresFormat = "postgres"

// postgresTable is a table as a sink. A run's rows come into it in one transaction,
// which also notes the run in _weir_etl_loads beside it: whoever does not know
// whether a commit came through finds it there. Readers see what was before, until
// then, and wait for nothing.
type postgresTable struct {
	postgresServer
	table string
	mode  string
	key   []string // of merge
}

func readTable(r *reader) target {
	t := &postgresTable{readServer(r), r.text("table", true), r.oneOf("mode", modeReplace, modeAppend, modeMerge), nil}
	t.key = readKey(r, t.mode)
	for _, part := range strings.Split(t.table, ".") {
		if len(part) > mostName || part == "" && t.table != "" || strings.Contains(t.table, "\x00") {
			r.wrong(r.members["table"], "expected TABLE or SCHEMA.TABLE, of at most %d bytes each", mostName)
			break
		}
	}
	return target{format: postgresFormat, url: t.where(), object: t.table, table: t}
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

// beside is the name of a table in the same schema, quoted.
func (t *postgresTable) beside(name string) string {
	if schema, _, is := strings.Cut(t.table, "."); is {
		name = schema + "." + name
	}
	return quoted(name)
}

func (t *postgresTable) claims() string { return t.beside("_weir_etl_claims") }
func (t *postgresTable) loads() string  { return t.beside("_weir_etl_loads") }

// within does something in one transaction, in which no other run has anything to
// do with this table. When it returns without an error, what was done is durable;
// after an error it may be, when the answer to the commit was lost.
func (t *postgresTable) within(ctx context.Context, do func(context.Context, pgx.Tx) error) error {
	conn, err := t.connect(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), postgresTimeout)
		defer cancel()
		_ = conn.Close(ctx) // what counts is the answer to the commit
	}()
	if err := t.transact(ctx, conn, "weir etl", t.makeBooks); err != nil { // two cannot make one table at once
		return err
	}
	return t.transact(ctx, conn, "weir etl "+t.table, do)
}

func (t *postgresTable) transact(ctx context.Context, conn *pgx.Conn, lock string,
	do func(context.Context, pgx.Tx) error) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return t.refused("writing to", err)
	}
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", lock); err != nil {
		return t.refused("writing to", err)
	}
	if err := do(ctx, tx); err != nil {
		return err // the connection ends, and the transaction with it
	}
	if err := tx.Commit(ctx); err != nil {
		return t.refused("writing to", err)
	}
	return nil
}

// makeBooks makes the tables of claims and of loads, where they are not there.
func (t *postgresTable) makeBooks(ctx context.Context, tx pgx.Tx) error {
	return t.exec(ctx, tx, "CREATE TABLE IF NOT EXISTS "+t.claims()+` (sink text, pipeline text, state text NOT NULL,
			running boolean NOT NULL, since timestamptz NOT NULL, replaces boolean NOT NULL, PRIMARY KEY (sink, pipeline))`,
		"CREATE TABLE IF NOT EXISTS "+t.loads()+` (sink text, run text, pipeline text NOT NULL, rows bigint NOT NULL,
			bytes bigint NOT NULL, sha256 text NOT NULL, loaded timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (sink, run))`)
}

func (t *postgresTable) exec(ctx context.Context, tx pgx.Tx, statements ...string) error {
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return t.refused("writing to", err)
		}
	}
	return nil
}

// load brings the rows into the table, unless it has them: what happened is in the
// account that it returns.
func (t *postgresTable) load(ctx context.Context, p *Pipeline, s stage, at *progress, columns []column, id string) (
	sink Sink, err error) {
	sink = Sink{Format: postgresFormat, URL: t.where(), Object: t.table, Mode: t.mode}
	return sink, t.within(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := t.own(ctx, tx, p.Name, id); err != nil {
			return err
		}
		switch err := tx.QueryRow(ctx, "SELECT rows, bytes, sha256 FROM "+t.loads()+" WHERE sink = $1 AND run = $2",
			t.table, at.Run).Scan(&sink.Rows, &sink.Bytes, &sink.SHA256); {
		case err == nil: // the answer to its commit was lost
			return nil
		case !errors.Is(err, pgx.ErrNoRows):
			return t.refused("asking", err)
		}
		if err := t.bringRows(ctx, tx, p, s, at, columns, &sink); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO "+t.loads()+" (sink, run, pipeline, rows, bytes, sha256) "+
			"VALUES ($1, $2, $3, $4, $5, $6)", t.table, at.Run, p.Name, sink.Rows, sink.Bytes, sink.SHA256)
		if err != nil {
			return t.refused("writing to", err)
		}
		return nil
	})
}

// bringRows takes the rows into the table within a transaction.
func (t *postgresTable) bringRows(ctx context.Context, tx pgx.Tx, p *Pipeline, s stage, at *progress, columns []column,
	sink *Sink) error {
	most, err := t.prepare(ctx, tx, columns)
	if err != nil {
		return err
	}
	rows := newTableEncoder(columns, most)
	for _, name := range t.key {
		rows.key = append(rows.key, indexOf(columns, name))
	}
	return t.fill(ctx, tx, rows, func(e *tableEncoder) error {
		if err := p.encodeRows(ctx, s, at, sink, e); err != nil {
			return err
		}
		sink.Bytes, sink.SHA256 = e.bytes, e.sum.hex()
		return nil
	})
}

// prepare makes the table, where it is not there, and empties one that is to be
// replaced.
func (t *postgresTable) prepare(ctx context.Context, tx pgx.Tx, columns []column) (most []int, err error) {
	most, there, err := t.check(ctx, tx, columns)
	switch {
	case err != nil:
		return nil, err
	case there && t.mode == modeReplace:
		return most, t.exec(ctx, tx, "DELETE FROM "+quoted(t.table))
	case there:
		return most, nil
	}
	var parts []string
	for _, c := range columns {
		parts = append(parts, pgx.Identifier{c.name}.Sanitize()+" "+sqlType(c.of))
	}
	if t.mode == modeMerge {
		parts = append(parts, "PRIMARY KEY ("+quotedNames(t.key)+")")
	}
	return most, t.exec(ctx, tx, "CREATE TABLE "+quoted(t.table)+" ("+strings.Join(parts, ", ")+")")
}

// fill copies rows, and merges them where that is asked for.
func (t *postgresTable) fill(ctx context.Context, tx pgx.Tx, e *tableEncoder, encode func(*tableEncoder) error) error {
	into, cols := quoted(t.table), quotedNames(names(e.columns))
	if t.mode == modeMerge {
		if err := t.exec(ctx, tx, "CREATE TEMP TABLE _weir_etl_rows ON COMMIT DROP AS SELECT "+cols+" FROM "+into+
			" WITH NO DATA"); err != nil {
			return err
		}
		into = "_weir_etl_rows"
	}
	r, w := io.Pipe()
	e.w = w
	encoded := make(chan error, 1)
	go func() {
		err := encode(e)
		encoded <- err
		w.CloseWithError(err) // nil: the end
	}()
	_, err := tx.Conn().PgConn().CopyFrom(ctx, r, "COPY "+into+" ("+cols+") FROM STDIN")
	r.CloseWithError(errCopied) // and the encoder ends, too
	if said := <-encoded; said != nil && !errors.Is(said, errCopied) {
		return said // which the copy failed for
	}
	if err != nil {
		return t.refused("writing to", err)
	}
	if t.mode != modeMerge {
		return nil
	}
	var sets []string
	for _, name := range names(e.columns) {
		if !slices.Contains(t.key, name) {
			quoted := pgx.Identifier{name}.Sanitize()
			sets = append(sets, quoted+" = excluded."+quoted)
		}
	}
	then := "NOTHING"
	if len(sets) > 0 {
		then = "UPDATE SET " + strings.Join(sets, ", ")
	}
	_, err = tx.Exec(ctx, "INSERT INTO "+quoted(t.table)+" ("+cols+") SELECT "+cols+" FROM "+into+" ON CONFLICT ("+
		quotedNames(t.key)+") DO "+then)
	var said *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said) && said.Code == "21000":
		return dataError{fmt.Errorf("two rows of the run have the same %s: dedupe them before", strings.Join(t.key, ", "))}
	case errors.As(err, &said) && said.Code == "42P10":
		return dataError{fmt.Errorf("table %s has no unique index of exactly %s: make one, or merge by another key",
			t.table, strings.Join(t.key, ", "))}
	}
	return t.refused("writing to", err)
}

// errCopied ends an encoder whose rows nobody reads any more.
var errCopied = errors.New("the copy has ended")
