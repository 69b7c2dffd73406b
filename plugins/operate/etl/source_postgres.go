package etl

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"weir/internal/platform/rawjson"
)

// postgresSource is a table or a query of a PostgreSQL server.
type postgresSource struct {
	postgresServer
	table, query string
	key          string // column by which it is read in order; "": in no order, and always from the beginning
}

func readPostgres(r *reader) source {
	p := postgresSource{postgresServer{readServer(r, postgresPort)}, r.text("table", false), r.text("query", false),
		r.text("key", false)}
	if (p.table == "") == (p.query == "") && r.members != nil {
		r.wrong(r.n, `expected either "table" or "query"`)
	}
	return p
}

func (p postgresSource) describe() string {
	what := "a query"
	if p.table != "" {
		what = "table " + p.table
	}
	if p.key == "" {
		return fmt.Sprintf("%s of PostgreSQL %s; without a key, an interrupted run reads it from the beginning", what, p.host)
	}
	return fmt.Sprintf("%s of PostgreSQL %s, by %s", what, p.host, p.key)
}

type postgresReading struct {
	postgresSource
	conn  *pgx.Conn
	cols  []column
	key   int // index of the key; -1: none
	rows  pgx.Rows
	slab  slab
	last  string // key of the last row
	began bool
}

// open connects, with the secrets as they are now, and reads the columns.
func (p postgresSource) open(ctx context.Context) (reading, error) {
	conn, err := p.connect(ctx, map[string]string{"default_transaction_read_only": "on"})
	if err != nil {
		return nil, err
	}
	r := &postgresReading{postgresSource: p, conn: conn, key: -1}
	if err := r.describeColumns(ctx); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (p postgresSource) from() string {
	if p.table == "" {
		return "(" + p.query + ") AS source"
	}
	return quoted(p.table) + " AS source"
}

func (r *postgresReading) describeColumns(ctx context.Context) error {
	rows, err := r.conn.Query(ctx, "SELECT * FROM "+r.postgresSource.from()+" LIMIT 0")
	if err != nil {
		return r.refused("asking", err)
	}
	fields := rows.FieldDescriptions()
	rows.Close()
	if err := rows.Err(); err != nil {
		return r.refused("asking", err)
	}
	var wrong []error
	for _, f := range fields {
		of, err := r.typeOf(ctx, f)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("column %q: %w", f.Name, err))
		}
		if indexOf(r.cols, f.Name) >= 0 {
			wrong = append(wrong, fmt.Errorf("column %q stands twice: name one of them otherwise", f.Name))
		}
		r.cols = append(r.cols, column{f.Name, of})
	}
	if r.postgresSource.key != "" {
		if r.key = indexOf(r.cols, r.postgresSource.key); r.key < 0 {
			wrong = append(wrong, fmt.Errorf("the key %q is no column", r.postgresSource.key))
		}
	}
	if len(wrong) > 0 {
		return dataError{errors.Join(wrong...)}
	}
	return nil
}

// typeOf returns the type that holds every value of a column, or why there is none.
func (r *postgresReading) typeOf(ctx context.Context, f pgconn.FieldDescription) (columnType, error) {
	if k, is := map[uint32]kind{16: kindBool, 17: kindBytes, 18: kindText, 19: kindText, 20: kindInt64, 21: kindInt16,
		23: kindInt32, 25: kindText, 26: kindInt64, 114: kindJSON, 700: kindFloat32, 701: kindFloat64, 1042: kindText,
		1043: kindText, 1082: kindDate, 1114: kindTimestamp, 1184: kindTimestampTZ, 2950: kindUUID,
		3802: kindJSON}[f.DataTypeOID]; is {
		return columnType{kind: k}, nil
	}
	const numeric = 1700
	if f.DataTypeOID == numeric {
		if f.TypeModifier < 4 {
			return columnType{}, errors.New("a numeric without bounds holds more than any decimal: select it as " +
				"numeric(38,9) or the like, or as text")
		}
		p, s := int(f.TypeModifier-4)>>16, int(f.TypeModifier-4)&0x7ff
		if p > mostDigits || s > p {
			return columnType{}, fmt.Errorf("numeric(%d,%d) has more than %d digits, or a scale out of them: select it as text",
				p, s, mostDigits)
		}
		return columnType{kindDecimal, p, s}, nil
	}
	var name, of string
	var base, modifier int64
	if err := r.conn.QueryRow(ctx, "SELECT format_type($1, NULL), typtype::text, typbasetype::bigint, typtypmod FROM "+
		"pg_type WHERE oid = $1", int64(f.DataTypeOID)).Scan(&name, &of, &base, &modifier); err != nil {
		return columnType{}, r.refused("asking", err)
	}
	if of == "d" { // a domain
		return r.typeOf(ctx, pgconn.FieldDescription{Name: f.Name, DataTypeOID: uint32(base), TypeModifier: int32(modifier)})
	}
	if of == "e" { // an enum
		return columnType{kind: kindText}, nil
	}
	return columnType{}, fmt.Errorf("there is no exact type for %s: select it as text or jsonb", name)
}

func (r *postgresReading) columns() []column { return r.cols }

// identity is the columns and the key: while they are the same, so is the meaning of a position.
// The query is part of the pipeline's hash.
func (r *postgresReading) identity() string {
	if r.key < 0 {
		return "" // a run never continues
	}
	return fmt.Sprintf("%v by %s", r.cols, r.postgresSource.key)
}

// from begins a snapshot, which does not see later changes, and reads on after the key in position.
func (r *postgresReading) from(ctx context.Context, position string) error {
	if _, err := r.conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return r.refused("reading", err)
	}
	query, args := "SELECT * FROM "+r.postgresSource.from(), []any(nil)
	if r.key >= 0 {
		key := "source." + pgx.Identifier{r.postgresSource.key}.Sanitize()
		var null bool
		if err := r.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+r.postgresSource.from()+" WHERE "+key+
			" IS NULL)").Scan(&null); err != nil {
			return r.refused("reading", err)
		}
		if null {
			return r.wrongKey()
		}
		if position != "" {
			if err := r.once(ctx, key, position); err != nil {
				return err
			}
			query += " WHERE " + key + " > $1"
			args = append(args, position)
			r.last, r.began = position, true
		}
		query += " ORDER BY " + key // an index on the key gives this order
	}
	var err error
	if r.rows, err = r.conn.Query(ctx, query, args...); err != nil {
		return r.refused("reading", err)
	}
	return nil
}

// once returns an error if two rows have the key after which to go on: it would not be known
// whether the second was read.
func (r *postgresReading) once(ctx context.Context, key, position string) error {
	var rows int64
	if err := r.conn.QueryRow(ctx, "SELECT count(*) FROM "+r.postgresSource.from()+" WHERE "+key+" = $1",
		position).Scan(&rows); err != nil {
		return r.refused("reading", err)
	}
	if rows > 1 {
		return r.wrongKey()
	}
	return nil
}

func (r *postgresReading) wrongKey() error {
	return dataError{fmt.Errorf("the key %q is null in a row, or the same in two: name one that is neither",
		r.postgresSource.key)}
}

func (r *postgresReading) next() (row, string, error) {
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return nil, "", r.refused("reading", err)
		}
		return nil, r.last, io.EOF
	}
	raw := r.rows.RawValues()
	if r.key >= 0 {
		key := raw[r.key]
		if key == nil || r.began && string(key) == r.last {
			return nil, "", r.wrongKey()
		}
		r.last, r.began = r.slab.text(key), true
	}
	out := r.slab.row(len(raw))
	for i, v := range raw {
		var err error
		if out[i], err = r.cols[i].of.fromPostgres(v, &r.slab); err != nil {
			return nil, r.last, &rowError{fmt.Sprintf("column %q: %v", r.cols[i].name, err), rawRow(r.cols, raw)}
		}
	}
	return out, r.last, nil
}

// fromPostgres converts a value from the text that the server sends; nil: null.
func (t columnType) fromPostgres(v []byte, s *slab) (c cell, err error) {
	if v == nil {
		return cell{null: true}, nil
	}
	switch t.kind {
	case kindText, kindJSON, kindUUID: // the server has validated them
		c.text = s.text(v)
		return c, nil
	case kindBytes:
		c.text, err = fromHex(v)
		return c, err
	case kindTimestamp, kindTimestampTZ:
		if text, is := s.postgresTime(t, v); is {
			return cell{text: text}, nil
		}
	}
	if t.plain(rawjson.Alias(v)) {
		return cell{text: s.text(v)}, nil
	}
	c.text, err = t.canonical(string(v))
	return c, err
}

// rawRow returns a row that cannot be read as a JSON object, with the values as the server sent
// them.
func rawRow(cols []column, raw [][]byte) []byte {
	cells := make(row, len(raw))
	all := make([]column, len(raw))
	for i, v := range raw {
		cells[i] = cell{string(v), v == nil}
		all[i] = column{cols[i].name, columnType{kind: kindText}}
	}
	return appendJSON(nil, all, cells)
}

func fromHex(v []byte) (string, error) {
	digits, is := strings.CutPrefix(string(v), `\x`)
	raw, err := hex.DecodeString(digits)
	if !is || err != nil {
		return "", errors.New("it is no bytea in hex")
	}
	return string(raw), nil
}

func (r *postgresReading) count(ctx context.Context) (n int64, err error) {
	if err := r.conn.QueryRow(ctx, "SELECT count(*) FROM "+r.postgresSource.from()).Scan(&n); err != nil {
		return 0, r.refused("counting the rows of", err)
	}
	return n, nil
}

func (r *postgresReading) close() {
	ctx, cancel := context.WithTimeout(context.Background(), postgresTimeout)
	defer cancel()
	_ = r.conn.Close(ctx) // it was only read
}
