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

const postgresFormat = "postgres"

func (p postgresServer) books(t *dbTable) []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + t.claims() + ` (sink text, pipeline text, state text NOT NULL,
			running boolean NOT NULL, since timestamptz NOT NULL, replaces boolean NOT NULL, PRIMARY KEY (sink, pipeline))`,
		"CREATE TABLE IF NOT EXISTS " + t.loads() + ` (sink text, run text, pipeline text NOT NULL, rows bigint NOT NULL,
			bytes bigint NOT NULL, sha256 text NOT NULL, loaded timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (sink, run))`}
}

func (p postgresServer) positions(t *dbTable) string {
	return "CREATE TABLE IF NOT EXISTS " + t.marked() + ` (sink text, pipeline text, log text,
			part integer, next bigint NOT NULL, PRIMARY KEY (sink, pipeline, log, part))`
}

func (p postgresServer) otherwise(key, sets []string) string {
	all := make([]string, len(sets))
	for i, name := range sets {
		name = pgx.Identifier{name}.Sanitize()
		all[i] = name + " = excluded." + name
	}
	return " ON CONFLICT (" + quotedNames(key) + ") DO UPDATE SET " + strings.Join(all, ", ")
}

func (p postgresServer) reading(t *dbTable, columns []column) source {
	asked := make([]string, len(columns))
	for i, c := range columns {
		asked[i] = pgx.Identifier{c.name}.Sanitize()
		if c.of.kind == kindDecimal { // the table may have more digits, or no bound
			asked[i] += "::text AS " + asked[i]
		}
	}
	return postgresSource{postgresServer: p, query: "SELECT " + strings.Join(asked, ", ") + " FROM " + quoted(t.table)}
}

// postgresSession is a connection to a PostgreSQL server. It does one thing at a time.
type postgresSession struct {
	postgresServer
	conn *pgx.Conn
}

func (p postgresServer) session(ctx context.Context, readOnly bool) (dbSession, error) {
	more := map[string]string{}
	if readOnly {
		more["default_transaction_read_only"] = "on"
	}
	conn, err := p.connect(ctx, more)
	if err != nil {
		return nil, err
	}
	return &postgresSession{p, conn}, nil
}

// close closes the connection, which rolls back an open transaction. The error is ignored: only the
// answer to a commit matters.
func (s *postgresSession) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), postgresTimeout)
	defer cancel()
	_ = s.conn.Close(ctx)
}

// dollars replaces each ? by $1, $2 and so on. sql must not contain a ? in a name or a text.
func dollars(sql string) string {
	parts := strings.Split(sql, "?")
	for i := range parts[1:] {
		parts[i] += fmt.Sprintf("$%d", i+1)
	}
	return strings.Join(parts, "")
}

func (s *postgresSession) exec(ctx context.Context, sql string, args ...any) error {
	if len(args) > 0 { // without arguments, a ? is part of a name
		sql = dollars(sql)
	}
	if _, err := s.conn.Exec(ctx, sql, args...); err != nil {
		return s.refused("writing to", err)
	}
	return nil
}

func (s *postgresSession) query(ctx context.Context, each func(scan func(...any) error) error, sql string,
	args ...any) error {
	rows, err := s.conn.Query(ctx, dollars(sql), args...)
	if err != nil {
		return s.refused("asking", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return s.refused("asking", err)
		}
	}
	if err := rows.Err(); err != nil {
		return s.refused("asking", err)
	}
	return nil
}

func (s *postgresSession) make(ctx context.Context, statements ...string) error {
	return s.transact(ctx, "weir etl", func(ctx context.Context) error { // two sessions cannot create one table at once
		for _, sql := range statements {
			if err := s.exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *postgresSession) transact(ctx context.Context, lock string, do func(context.Context) error) error {
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return s.refused("writing to", err)
	}
	if err := s.exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", lock); err != nil {
		return err
	}
	if err := do(ctx); err != nil {
		return err // the connection is closed, which rolls the transaction back
	}
	if err := tx.Commit(ctx); err != nil {
		return s.refused("writing to", err)
	}
	return nil
}

func (s *postgresSession) takes(ctx context.Context, t *dbTable, columns []column) error {
	_, _, err := s.check(ctx, t, columns)
	return err
}

// ready does nothing: tables are created within the transaction.
func (s *postgresSession) ready(context.Context, *dbTable, []column) error { return nil }

// prepare creates the table if it does not exist, and empties it in mode replace.
func (s *postgresSession) prepare(ctx context.Context, t *dbTable, columns []column) (most []int, err error) {
	most, there, err := s.check(ctx, t, columns)
	switch {
	case err != nil:
		return nil, err
	case there && t.mode == modeReplace:
		return most, s.exec(ctx, "DELETE FROM "+quoted(t.table))
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
	return most, s.exec(ctx, "CREATE TABLE "+quoted(t.table)+" ("+strings.Join(parts, ", ")+")")
}

// fill copies the rows into the table; in mode merge into a temporary one, from which it merges
// them.
func (s *postgresSession) fill(ctx context.Context, t *dbTable, columns []column, encode func(tableRows) error) error {
	most, err := s.prepare(ctx, t, columns)
	if err != nil {
		return err
	}
	e := newTableEncoder(columns, most)
	e.key = t.keyAt(columns)
	into, cols := quoted(t.table), quotedNames(names(e.columns))
	if t.mode == modeMerge {
		if err := s.exec(ctx, "CREATE TEMP TABLE _weir_etl_rows ON COMMIT DROP AS SELECT "+cols+" FROM "+into+
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
		w.CloseWithError(err) // nil: end of the rows
	}()
	_, err = s.conn.PgConn().CopyFrom(ctx, r, "COPY "+into+" ("+cols+") FROM STDIN")
	r.CloseWithError(errCopied) // stops the encoder, if it is not at its end
	if said := <-encoded; said != nil && !errors.Is(said, errCopied) {
		return said // it is why the copy failed
	}
	if err != nil {
		return s.refused("writing to", err)
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
	_, err = s.conn.Exec(ctx, "INSERT INTO "+quoted(t.table)+" ("+cols+") SELECT "+cols+" FROM "+into+" ON CONFLICT ("+
		quotedNames(t.key)+") DO "+then)
	var said *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said) && said.Code == "21000":
		return t.sameKey()
	case errors.As(err, &said) && said.Code == "42P10":
		return t.noIndex()
	}
	return s.refused("writing to", err)
}

// errCopied stops an encoder whose rows are not read any more.
var errCopied = errors.New("the copy has ended")

func (s *postgresSession) erase(ctx context.Context, t *dbTable, key []column, rows []row, all bool) error {
	there := false
	if err := s.conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", quoted(t.table)).Scan(&there); err != nil {
		return s.refused("asking", err)
	}
	if !there {
		return nil
	}
	if all {
		if err := s.exec(ctx, "DELETE FROM "+quoted(t.table)); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(rows, mostErased) {
		var args []any
		for _, r := range part {
			for i, c := range r {
				if key[i].of.kind == kindBytes {
					c.text = fmt.Sprintf(`\x%x`, c.text)
				}
				args = append(args, c.text)
			}
		}
		if _, err := s.conn.Exec(ctx, t.erasing(key, len(part), func(n int) string {
			return fmt.Sprintf("$%d", n+1)
		}), args...); err != nil {
			return s.refused("writing to", err)
		}
	}
	return nil
}
