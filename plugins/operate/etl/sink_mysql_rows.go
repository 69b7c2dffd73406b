package etl

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// mysqlRows inserts rows into a table, many per statement. The sum of the rows does not depend on
// their order.
type mysqlRows struct {
	ctx     context.Context
	session *mysqlSession // nil: rows are only checked, as in tests of pipelines
	into    string
	columns []column
	bounds  []mysqlBound
	key     []int // indices of the columns of a merge's key
	all     rowTeller
	bytes   int64

	held     []row
	size     int
	prepared map[int]*sql.Stmt // number of rows -> statement that inserts so many
}

func newMySQLRows(columns []column) *mysqlRows {
	return &mysqlRows{columns: columns, bounds: make([]mysqlBound, len(columns)), prepared: map[int]*sql.Stmt{}}
}

const (
	mostInsert      = 256     // rows of a statement; a power of two
	mostInsertBytes = 1 << 20 // rows of more bytes are sent, however few they are
	mostValues      = 65535   // values of a statement that the server takes
)

func (e *mysqlRows) write(r row) error {
	for i, c := range r {
		if c.null && slices.Contains(e.key, i) {
			return noKey(e.columns[i])
		}
		if err := e.bounds[i].takes(e.columns[i].of, c); err != nil {
			return fmt.Errorf("column %q: %w", e.columns[i].name, err)
		}
		e.bytes += int64(len(c.text))
		e.size += len(c.text)
	}
	e.all.add(e.columns, r)
	if e.session == nil {
		return nil
	}
	if e.held = append(e.held, r); len(e.held) < mostInsert && e.size < mostInsertBytes {
		return nil
	}
	return e.end()
}

// end inserts the rows that are held, by statements whose numbers of rows are powers of two.
func (e *mysqlRows) end() error {
	n := mostInsert
	for len(e.held) > 0 {
		for n > len(e.held) || n > 1 && n*len(e.columns) > mostValues {
			n /= 2
		}
		if err := e.send(e.held[:n]); err != nil {
			return storeError{err}
		}
		e.held = e.held[n:]
	}
	e.held, e.size = e.held[:0], 0
	return nil
}

func (e *mysqlRows) told() (int64, string) { return e.bytes, e.all.sum.hex() }

func (e *mysqlRows) send(rows []row) error {
	statement := e.prepared[len(rows)]
	if statement == nil {
		one := "(?" + strings.Repeat(", ?", len(e.columns)-1) + ")"
		var err error
		if statement, err = e.session.conn.PrepareContext(e.ctx, "INSERT INTO "+e.into+" ("+quotedNames(names(e.columns))+
			") VALUES "+one+strings.Repeat(", "+one, len(rows)-1)); err != nil {
			return e.session.refused("writing to", err)
		}
		e.prepared[len(rows)] = statement
	}
	args := make([]any, 0, len(rows)*len(e.columns))
	for _, r := range rows {
		for i, c := range r {
			v, err := e.columns[i].of.toMySQL(c)
			if err != nil {
				return dataError{fmt.Errorf("encoding column %q: %w", e.columns[i].name, err)}
			}
			args = append(args, v)
		}
	}
	if _, err := statement.ExecContext(e.ctx, args...); err != nil {
		return e.session.refused("writing to", err)
	}
	return nil
}

// close closes the statements.
func (e *mysqlRows) close() {
	for _, s := range e.prepared {
		_ = s.Close() // the connection is closed, too
	}
}

// toMySQL returns a value of a type that the driver sends without a loss.
func (t columnType) toMySQL(c cell) (any, error) {
	if c.null {
		return nil, nil
	}
	switch t.kind {
	case kindBool:
		return c.text == "true", nil
	case kindInt16, kindInt32, kindInt64:
		return strconv.ParseInt(c.text, 10, 64)
	case kindFloat32, kindFloat64:
		return strconv.ParseFloat(c.text, bits(t.kind))
	case kindBytes:
		return []byte(c.text), nil
	case kindTimestampTZ:
		return strings.TrimSuffix(c.text, "Z"), nil // the session's zone is UTC
	}
	return c.text, nil
}

// mysqlBound is which values a column takes of those of its type.
type mysqlBound struct {
	chars, octets int64 // most characters, or bytes; 0: no bound
	packet        int64 // most bytes of any value
	notNull       bool
}

// Range of a TIMESTAMP.
const (
	firstInstant = "1970-01-01T00:00:01"
	lastInstant  = "2038-01-19T03:14:07.999999"
)

func (b mysqlBound) takes(of columnType, c cell) error {
	switch {
	case c.null && b.notNull:
		return errors.New("it is null in a row, and the table takes no null")
	case c.null:
		return nil
	case b.packet > 0 && int64(len(c.text)) > b.packet:
		return fmt.Errorf("a value has more than the %d bytes that the server takes: raise its max_allowed_packet", b.packet)
	case b.chars > 0 && int64(utf8.RuneCountInString(c.text)) > b.chars:
		return fmt.Errorf("a text is longer than the %d characters that the table takes", b.chars)
	case b.octets > 0 && int64(len(c.text)) > b.octets:
		return fmt.Errorf("a value is longer than the %d bytes that the table takes", b.octets)
	}
	switch of.kind {
	case kindFloat32, kindFloat64:
		if strings.ContainsAny(c.text, "IN") {
			return errors.New("MySQL keeps no float that is infinite or no number")
		}
	case kindTimestampTZ:
		if at := strings.TrimSuffix(c.text, "Z"); at < firstInstant || at > lastInstant {
			return errors.New("MySQL keeps no instant before 1970-01-01T00:00:01Z or after 2038-01-19T03:14:07Z: " +
				"derive a timestamp of it, without a zone")
		}
	}
	return nil
}
