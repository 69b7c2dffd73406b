package etl

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MariaDB and MySQL commit a transaction implicitly when a table is created. So tables are created
// empty before the transaction that writes the rows.

func (m mysqlServer) books(t *dbTable) []string {
	return []string{"CREATE TABLE IF NOT EXISTS " + t.claims() + ` (sink varchar(200), pipeline varchar(64),
			state varchar(64) NOT NULL, running boolean NOT NULL, since datetime(6) NOT NULL, replaces boolean NOT NULL,
			PRIMARY KEY (sink, pipeline))` + mysqlBooks,
		"CREATE TABLE IF NOT EXISTS " + t.loads() + ` (sink varchar(200), run varchar(64), pipeline varchar(64) NOT NULL,
			"rows" bigint NOT NULL, bytes bigint NOT NULL, sha256 varchar(64) NOT NULL,
			loaded datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), PRIMARY KEY (sink, run))` + mysqlBooks}
}

func (m mysqlServer) positions(t *dbTable) string {
	return "CREATE TABLE IF NOT EXISTS " + t.marked() + ` (sink varchar(200), pipeline varchar(64), log varchar(255),
		part integer, next bigint NOT NULL, PRIMARY KEY (sink, pipeline, log, part))` + mysqlBooks
}

// mysqlBooks makes these tables transactional, and their names compare byte by byte.
const mysqlBooks = " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

func (m mysqlServer) otherwise(_, sets []string) string {
	all := make([]string, len(sets))
	for i, name := range sets {
		name = quotedNames([]string{name})
		all[i] = name + " = VALUES(" + name + ")"
	}
	return " ON DUPLICATE KEY UPDATE " + strings.Join(all, ", ")
}

func (m mysqlServer) reading(t *dbTable, columns []column) source {
	asked := make([]string, len(columns))
	for i, c := range columns {
		asked[i] = backticked(c.name)
	}
	return mysqlSource{mysqlServer: m, query: "SELECT " + strings.Join(asked, ", ") + " FROM " + backtickedTable(t.table)}
}

// mysqlModes: names may be in double quotes, a value that does not fit is an error, and 0 is stored
// as 0 and not as the next auto-increment value. (mysqlBound refuses null in such a column.)
const mysqlModes = "'ANSI_QUOTES,STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE," +
	"ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'"

// mysqlSession is a connection to a MariaDB or MySQL server. It does one thing at a time.
type mysqlSession struct {
	mysqlServer
	conn *mysqlConn
}

func (m mysqlServer) session(ctx context.Context, readOnly bool) (dbSession, error) {
	conn, err := m.connect(ctx, true)
	if err != nil {
		return nil, err
	}
	s := &mysqlSession{m, conn}
	if readOnly {
		if err := s.exec(ctx, "SET SESSION TRANSACTION READ ONLY"); err != nil {
			s.close(ctx)
			return nil, err
		}
	}
	return s, nil
}

func (s *mysqlSession) close(context.Context) { s.conn.end() }

func (s *mysqlSession) exec(ctx context.Context, sql string, args ...any) error {
	if _, err := s.conn.ExecContext(ctx, sql, args...); err != nil {
		return s.refused("writing to", err)
	}
	return nil
}

func (s *mysqlSession) query(ctx context.Context, each func(scan func(...any) error) error, sql string,
	args ...any) error {
	rows, err := s.conn.QueryContext(ctx, sql, args...)
	if err != nil {
		return s.refused("asking", err)
	}
	defer rows.Close() // Err returns its error
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

func (s *mysqlSession) make(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if err := s.exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

const (
	mysqlTries = 5                      // attempts of a transaction that the server aborts
	mysqlPause = 100 * time.Millisecond // before the second attempt, doubled for each further one
	lockWait   = 365 * 24 * 3600        // seconds: the context ends the wait before
)

// transact holds the lock by GET_LOCK; the server releases it when the connection ends.
func (s *mysqlSession) transact(ctx context.Context, lock string, do func(context.Context) error) error {
	sum := sha256.Sum256([]byte(s.database + " " + lock))
	name, got := "weir etl "+hex.EncodeToString(sum[:16]), false // a lock's name has at most 64 characters
	if err := s.query(ctx, func(scan func(...any) error) error { return scan(&got) }, "SELECT COALESCE(GET_LOCK(?, ?), 0)",
		name, lockWait); err != nil {
		return err
	}
	if !got {
		return s.refused("waiting for a lock of", errors.New("it was not given"))
	}
	for try := 1; ; try++ {
		err := s.once(ctx, do)
		switch number := mysqlNumber(err); {
		case err == nil:
			return s.query(ctx, func(scan func(...any) error) error { return nil }, "SELECT RELEASE_LOCK(?)", name)
		case try == mysqlTries || number != mysqlDeadlock && number != mysqlLockTimeout && number != mysqlChanged:
			return err // the connection is closed, which rolls the transaction back
		}
		if err := s.exec(ctx, "ROLLBACK"); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(mysqlPause << (try - 1)):
		}
	}
}

func (s *mysqlSession) once(ctx context.Context, do func(context.Context) error) error {
	if err := s.exec(ctx, "START TRANSACTION"); err != nil {
		return err
	}
	if err := do(ctx); err != nil {
		return err
	}
	return s.exec(ctx, "COMMIT")
}

func (s *mysqlSession) takes(ctx context.Context, t *dbTable, columns []column) error {
	_, _, err := s.check(ctx, t, columns)
	return err
}

// mysqlMerged is a temporary table of the connection with the rows to be merged.
const mysqlMerged = "_weir_etl_rows"

// ready creates the table if it does not exist, and the temporary table for mode merge.
func (s *mysqlSession) ready(ctx context.Context, t *dbTable, columns []column) error {
	_, there, err := s.check(ctx, t, columns)
	if err != nil {
		return err
	}
	if !there {
		if err := s.exec(ctx, s.creating(t, columns)); err != nil {
			return err
		}
	}
	if t.mode != modeMerge {
		return nil
	}
	if err := s.exec(ctx, "DROP TEMPORARY TABLE IF EXISTS "+mysqlMerged); err != nil {
		return err
	}
	return s.exec(ctx, "CREATE TEMPORARY TABLE "+mysqlMerged+" (UNIQUE KEY ("+quotedNames(t.key)+")) ENGINE=InnoDB AS "+
		"SELECT "+quotedNames(names(columns))+" FROM "+quoted(t.table)+" LIMIT 0")
}

func (s *mysqlSession) creating(t *dbTable, columns []column) string {
	var parts []string
	key := t.keyAt(columns)
	for i, c := range columns {
		parts = append(parts, quotedNames([]string{c.name})+" "+mysqlType(c.of, key, i))
	}
	if t.mode == modeMerge {
		parts = append(parts, "PRIMARY KEY ("+quotedNames(t.key)+")")
	}
	return "CREATE TABLE IF NOT EXISTS " + quoted(t.table) + " (" + strings.Join(parts, ", ") + ")" + mysqlBooks
}

func (s *mysqlSession) fill(ctx context.Context, t *dbTable, columns []column, encode func(tableRows) error) error {
	into, cols := quoted(t.table), quotedNames(names(columns))
	// this takes a metadata lock: the table's columns do not change until the transaction ends
	if err := s.query(ctx, func(func(...any) error) error { return nil }, "SELECT 1 FROM "+into+" LIMIT 1"); err != nil {
		return err
	}
	bounds, there, err := s.check(ctx, t, columns)
	if err == nil && !there {
		err = fmt.Errorf("table %s is gone", t.table)
	}
	if err != nil {
		return err
	}
	switch t.mode {
	case modeReplace:
		err = s.exec(ctx, "DELETE FROM "+into)
	case modeMerge:
		into = mysqlMerged
		err = s.exec(ctx, "DELETE FROM "+into) // rows of an earlier attempt
	}
	if err != nil {
		return err
	}
	rows := newMySQLRows(columns)
	rows.ctx, rows.session, rows.into, rows.bounds, rows.key = ctx, s, into, bounds, t.keyAt(columns)
	defer rows.close()
	if err := encode(rows); err != nil {
		if t.mode == modeMerge && mysqlNumber(err) == mysqlDuplicate {
			return t.sameKey()
		}
		return err
	}
	if t.mode != modeMerge {
		return nil
	}
	return s.merge(ctx, t, columns, cols)
}

// merge updates the rows whose keys are there, and inserts the others. ON DUPLICATE KEY would not
// do: it takes rows for the same that are equal in any unique index.
func (s *mysqlSession) merge(ctx context.Context, t *dbTable, columns []column, cols string) error {
	into := quoted(t.table)
	var on, sets, from []string
	for _, name := range t.key {
		name = quotedNames([]string{name})
		on = append(on, "t."+name+" = r."+name)
	}
	for _, c := range columns {
		name := quotedNames([]string{c.name})
		sets = append(sets, "t."+name+" = r."+name)
		from = append(from, "r."+name)
	}
	if err := s.exec(ctx, "UPDATE "+into+" AS t JOIN "+mysqlMerged+" AS r ON "+strings.Join(on, " AND ")+" SET "+
		strings.Join(sets, ", ")); err != nil {
		return err
	}
	return s.exec(ctx, "INSERT INTO "+into+" ("+cols+") SELECT "+strings.Join(from, ", ")+" FROM "+mysqlMerged+
		" AS r LEFT JOIN "+into+" AS t ON "+strings.Join(on, " AND ")+" WHERE t."+quotedNames(t.key[:1])+" IS NULL")
}

func (s *mysqlSession) erase(ctx context.Context, t *dbTable, key []column, rows []row, all bool) error {
	if all {
		if err := s.exec(ctx, "DELETE FROM "+quoted(t.table)); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(rows, mostErased) {
		var args []any
		for _, r := range part {
			for i, c := range r {
				v, err := key[i].of.toMySQL(c)
				if err != nil {
					return dataError{fmt.Errorf("encoding column %q: %w", key[i].name, err)}
				}
				args = append(args, v)
			}
		}
		if err := s.exec(ctx, t.erasing(key, len(part), func(int) string { return "?" }), args...); err != nil {
			return err
		}
	}
	return nil
}
