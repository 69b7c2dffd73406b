package etl

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// mysqlSource is a table or a query of a MariaDB or MySQL server.
type mysqlSource struct {
	mysqlServer
	table, query string
	key          string // column by which it is read in order; "": in no order, and always from the beginning
	zeroNull     bool   // 0000-00-00 is read as null; else it is an error of the row
}

func (p *Pipeline) readMySQL(r *reader) source {
	m := mysqlSource{p.readMySQLServer(r), r.text("table", false), r.text("query", false), r.text("key", false),
		r.oneOf("zero_dates", "refuse", "null") == "null"}
	if (m.table == "") == (m.query == "") && r.members != nil {
		r.wrong(r.n, `expected either "table" or "query"`)
	}
	return m
}

func (m mysqlSource) describe() string {
	what := "a query"
	if m.table != "" {
		what = "table " + m.table
	}
	if m.key == "" {
		return fmt.Sprintf("%s of MySQL %s; without a key, an interrupted run reads it from the beginning", what, m.host)
	}
	return fmt.Sprintf("%s of MySQL %s, by %s", what, m.host, m.key)
}

type mysqlReading struct {
	mysqlSource
	conn  *mysqlConn
	cols  []column
	has   []mysqlColumn // the server's description of each column
	key   int           // index of the key; -1: none
	rows  *sql.Rows
	stop  context.CancelFunc // ends the query of rows
	raw   []sql.RawBytes
	into  []any
	last  string // key of the last row
	began bool
}

// open connects, with the secrets as they are now, begins a snapshot that does not see later
// changes, and reads the columns.
func (m mysqlSource) open(ctx context.Context) (reading, error) {
	conn, err := m.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	r := &mysqlReading{mysqlSource: m, conn: conn, key: -1}
	if err := r.begin(ctx); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *mysqlReading) begin(ctx context.Context) error {
	if _, err := r.conn.ExecContext(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"); err != nil {
		return r.refused("reading", err)
	}
	// this takes a metadata lock: the table's columns do not change until the transaction ends
	rows, err := r.conn.QueryContext(ctx, "SELECT * FROM "+r.mysqlSource.from()+" LIMIT 0")
	if err != nil {
		return r.refused("asking", err)
	}
	types, err := rows.ColumnTypes()
	_ = rows.Close() // Err returns its error
	if err = errors.Join(err, rows.Err()); err != nil {
		return r.refused("asking", err)
	}
	if r.table != "" {
		r.has, err = mysqlColumns(ctx, r.conn, r.table)
		if err != nil {
			return r.refused("asking", err)
		}
		r.has = slices.DeleteFunc(r.has, func(c mysqlColumn) bool { return c.hidden })
	} else {
		for _, t := range types {
			r.has = append(r.has, queried(t))
		}
	}
	return r.take()
}

// take maps the columns to types, and finds the key.
func (r *mysqlReading) take() error {
	var wrong []error
	for _, c := range r.has {
		of, err := c.kept()
		if err != nil {
			wrong = append(wrong, fmt.Errorf("column %q: %w", c.name, err))
		}
		r.cols = append(r.cols, column{c.name, of})
	}
	if name := r.mysqlSource.key; name != "" {
		if r.key = indexOf(r.cols, name); r.key < 0 {
			wrong = append(wrong, fmt.Errorf("the key %q is no column", name))
		} else if !r.has[r.key].orders() {
			wrong = append(wrong, fmt.Errorf("the key %q is a %s, whose order and equality are not the same to the server: "+
				"name another column", name, r.has[r.key].kind))
		}
	}
	if len(wrong) > 0 {
		return dataError{errors.Join(wrong...)}
	}
	return nil
}

func (m mysqlSource) from() string {
	if m.table == "" {
		return "(" + m.query + "\n) AS source"
	}
	return backtickedTable(m.table) + " AS source"
}

func (r *mysqlReading) columns() []column { return r.cols }

// identity is the columns and the key: while they are the same, so is the meaning of a position.
// The query is part of the pipeline's hash.
func (r *mysqlReading) identity() string {
	if r.key < 0 {
		return "" // a run never continues
	}
	return fmt.Sprintf("%v by %s", r.cols, r.mysqlSource.key)
}

func (r *mysqlReading) from(ctx context.Context, position string) error {
	asked := make([]string, len(r.cols))
	for i, c := range r.cols {
		asked[i] = "source." + backticked(c.name)
	}
	query, args := "SELECT "+strings.Join(asked, ", ")+" FROM "+r.mysqlSource.from(), []any(nil)
	if r.key >= 0 {
		key := asked[r.key]
		if n, err := r.number(ctx, "SELECT EXISTS (SELECT 1 FROM "+r.mysqlSource.from()+" WHERE "+key+
			" IS NULL)"); err != nil {
			return err
		} else if n > 0 {
			return r.wrongKey()
		}
		if position != "" {
			at := r.has[r.key].literal() // compared as the column's type, and not as a float
			// if two rows have this key, it is not known whether the second was read
			if n, err := r.number(ctx, "SELECT count(*) FROM "+r.mysqlSource.from()+" WHERE "+key+" = "+at,
				position); err != nil {
				return err
			} else if n > 1 {
				return r.wrongKey()
			}
			query, args = query+" WHERE "+key+" > "+at, []any{position}
			r.last, r.began = position, true
		}
		query += " ORDER BY " + key // an index on the key gives this order
	}
	prepared, err := r.conn.PrepareContext(ctx, query) // the text protocol would round floats
	if err != nil {
		return r.refused("reading", err)
	}
	ctx, r.stop = context.WithCancel(ctx)
	if r.rows, err = prepared.QueryContext(ctx, args...); err != nil {
		return r.refused("reading", err)
	}
	r.raw, r.into = make([]sql.RawBytes, len(r.cols)), make([]any, len(r.cols))
	for i := range r.raw {
		r.into[i] = &r.raw[i]
	}
	return nil
}

func (r *mysqlReading) number(ctx context.Context, query string, args ...any) (n int64, err error) {
	if err := r.conn.QueryRowContext(ctx, query, args...).Scan(&n); err != nil {
		return 0, r.refused("reading", err)
	}
	return n, nil
}

func (r *mysqlReading) wrongKey() error {
	return dataError{fmt.Errorf("the key %q is null in a row, or the same in two: name one that is neither",
		r.mysqlSource.key)}
}

func (r *mysqlReading) next() (row, string, error) {
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return nil, "", r.refused("reading", err)
		}
		return nil, r.last, io.EOF
	}
	if err := r.rows.Scan(r.into...); err != nil {
		return nil, "", r.refused("reading", err)
	}
	if r.key >= 0 {
		key := string(r.raw[r.key])
		if r.cols[r.key].of.kind == kindBytes { // a position is a text
			key = hex.EncodeToString(r.raw[r.key])
		}
		if r.raw[r.key] == nil || r.began && key == r.last {
			return nil, "", r.wrongKey()
		}
		r.last, r.began = key, true
	}
	out := make(row, len(r.raw))
	for i, v := range r.raw {
		var err error
		if out[i], err = r.cell(r.cols[i].of, r.has[i].kind, v); err != nil {
			raw := make([][]byte, len(r.raw))
			for j, v := range r.raw {
				raw[j] = v
			}
			return nil, r.last, &rowError{fmt.Sprintf("column %q: %v", r.cols[i].name, err),
				unreadMySQL(r.cols, r.has, raw)}
		}
	}
	return out, r.last, nil
}

// cell converts a value from the text that the server sends. kind is the server's name of its type.
func (m mysqlSource) cell(of columnType, kind string, v []byte) (c cell, err error) {
	if v == nil {
		return cell{null: true}, nil
	}
	switch {
	case of.kind == kindText || of.kind == kindJSON:
		if c.text = string(v); !utf8.ValidString(c.text) {
			err = errors.New("it is not UTF-8")
		}
		return c, err
	case of.kind == kindBytes:
		return cell{text: string(v)}, nil
	case kind == "bit":
		c.text = bitNumber(v)
		err = c.as(of)
		return c, err
	case m.zeroNull && strings.HasPrefix(string(v), "0000-00-00"):
		return cell{null: true}, nil
	case of.kind == kindTimestampTZ: // in the session's zone, which is UTC
		c.text, err = of.canonical(string(v) + "Z")
		return c, err
	}
	c.text, err = of.canonical(string(v))
	return c, err
}

// unreadMySQL returns a row that cannot be read as a JSON object, with the values as the server
// sent them.
func unreadMySQL(cols []column, has []mysqlColumn, all [][]byte) []byte {
	raw := slices.Clone(all)
	for i, v := range raw {
		switch {
		case v == nil:
		case has[i].kind == "bit":
			raw[i] = []byte(bitNumber(v))
		case !utf8.Valid(v):
			raw[i] = fmt.Appendf(nil, "%x", v)
		}
	}
	return rawRow(slices.Clone(cols), raw)
}

func (r *mysqlReading) count(ctx context.Context) (int64, error) {
	return r.number(ctx, "SELECT count(*) FROM "+r.mysqlSource.from())
}

// close ends the connection and its snapshot. It cancels the query instead of waiting for the rest
// of the rows.
func (r *mysqlReading) close() {
	if r.stop != nil {
		r.stop()
	}
	if r.rows != nil {
		_ = r.rows.Close()
	}
	r.conn.end()
}
