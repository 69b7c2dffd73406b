package etl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// mysqlMostName is the most characters of a name.
const mysqlMostName = 64

// packetHead is how many bytes a packet may have besides a value.
const packetHead = 1024

// check returns, for each column, which values the table takes, or an error that lists the columns
// it cannot hold. A table that does not exist (there is false) holds all, as it is created for
// them.
func (s *mysqlSession) check(ctx context.Context, t *dbTable, columns []column) (bounds []mysqlBound, there bool,
	err error) {
	var wrong []error
	for _, c := range columns {
		if utf8.RuneCountInString(c.name) > mysqlMostName || c.name == "" || strings.HasSuffix(c.name, " ") ||
			strings.Contains(c.name, "\x00") {
			wrong = append(wrong, fmt.Errorf("column %q: MySQL has names of 1 to %d characters, without a blank at the end: "+
				"rename it", c.name, mysqlMostName))
		}
		for _, other := range columns {
			if c.name < other.name && strings.EqualFold(c.name, other.name) {
				wrong = append(wrong, fmt.Errorf("columns %q and %q are one name to MySQL: rename one", c.name, other.name))
			}
		}
	}
	for _, name := range t.key {
		if indexOf(columns, name) < 0 {
			wrong = append(wrong, noColumn(columns, name))
		}
	}
	if len(wrong) > 0 {
		return nil, false, dataError{errors.Join(wrong...)}
	}
	var packet int64
	if err := s.query(ctx, func(scan func(...any) error) error { return scan(&packet) },
		"SELECT @@max_allowed_packet"); err != nil {
		return nil, false, err
	}
	has, err := mysqlColumns(ctx, s.conn, t.table)
	if err != nil {
		return nil, false, s.refused("asking", err)
	}
	bounds = make([]mysqlBound, len(columns))
	for i, c := range columns {
		bounds[i].packet = max(packet-packetHead, 1)
		if len(has) == 0 {
			bounds[i].bind(mysqlType(c.of, t.keyAt(columns), i))
			continue
		}
		at := slices.IndexFunc(has, func(h mysqlColumn) bool { return strings.EqualFold(h.name, c.name) })
		if at < 0 {
			wrong = append(wrong, fmt.Errorf("column %q: table %s has none of that name", c.name, t.table))
		} else if !bounds[i].holds(has[at], c.of) {
			wrong = append(wrong, fmt.Errorf("column %q: table %s has it as a type that does not hold every %s: %s does",
				c.name, t.table, c.of, mysqlType(c.of, nil, i)))
		}
	}
	if len(has) > 0 && len(wrong) == 0 {
		if err := s.checkTable(ctx, t); err != nil {
			return nil, true, err
		}
	}
	if len(wrong) > 0 {
		return nil, false, dataError{errors.Join(wrong...)}
	}
	return bounds, len(has) > 0, nil
}

// checkTable returns an error unless the table is transactional and, for mode merge, has a unique
// index of exactly the key's columns.
func (s *mysqlSession) checkTable(ctx context.Context, t *dbTable) error {
	schema, name, is := strings.Cut(t.table, ".")
	if !is {
		schema, name = s.database, t.table
	}
	whole := false
	if err := s.query(ctx, func(scan func(...any) error) error { return scan(&whole) }, `SELECT count(*) > 0
		FROM information_schema.TABLES AS t JOIN information_schema.ENGINES AS e ON e.ENGINE = t.ENGINE
		WHERE t.TABLE_SCHEMA = ? AND t.TABLE_NAME = ? AND t.TABLE_TYPE = 'BASE TABLE' AND e.TRANSACTIONS = 'YES'`, schema,
		name); err != nil {
		return err
	}
	if !whole {
		return dataError{fmt.Errorf("table %s is none of an engine with transactions, such as InnoDB: half a run would "+
			"be seen", t.table)}
	}
	if t.mode != modeMerge {
		return nil
	}
	indexes := map[string][]string{}
	if err := s.query(ctx, func(scan func(...any) error) error {
		var index, of string
		var part bool
		err := scan(&index, &of, &part)
		if part {
			of = "" // an index on a prefix does not identify a value
		}
		indexes[index] = append(indexes[index], strings.ToLower(of))
		return err
	}, `SELECT INDEX_NAME, COALESCE(COLUMN_NAME, ''), SUB_PART IS NOT NULL FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0`, schema, name); err != nil {
		return err
	}
	var key []string
	for _, name := range t.key {
		key = append(key, strings.ToLower(name))
	}
	slices.Sort(key)
	for _, index := range slices.Collect(maps.Values(indexes)) {
		if slices.Sort(index); slices.Equal(index, key) {
			return nil
		}
	}
	return t.noIndex()
}

// keyChars bounds the characters of the texts in a merge's key, because an index takes 3072 bytes.
const keyChars = 700

// mysqlType returns the type of a new table's column. Texts in a merge's key, whose columns are
// key, have a bounded length.
func mysqlType(of columnType, key []int, i int) string {
	if n := len(key); n > 0 && slices.Contains(key, i) {
		switch of.kind {
		case kindText:
			return fmt.Sprintf("varchar(%d)", keyChars/n)
		case kindBytes:
			return fmt.Sprintf("varbinary(%d)", keyChars/n)
		}
	}
	if of.kind == kindDecimal {
		return of.String()
	}
	return map[kind]string{kindBool: "boolean", kindInt16: "smallint", kindInt32: "int", kindInt64: "bigint",
		kindFloat32: "float", kindFloat64: "double", kindText: "longtext", kindBytes: "longblob", kindDate: "date",
		kindTimestamp: "datetime(6)", kindTimestampTZ: "timestamp(6) NULL",
		kindUUID: "char(36) CHARACTER SET ascii COLLATE ascii_bin", kindJSON: "json"}[of.kind]
}

// bind sets the bounds of a column from its type in a new table.
func (b *mysqlBound) bind(made string) {
	if n, err := fmt.Sscanf(made, "varchar(%d)", &b.chars); n == 1 && err == nil {
		return
	}
	_, _ = fmt.Sscanf(made, "varbinary(%d)", &b.octets) // other types have no bound
}

// holds tells whether a column holds every value of a type without change, within the bounds that
// it sets in b.
func (b *mysqlBound) holds(c mysqlColumn, of columnType) bool {
	const micros = 6 // with fewer digits, the server rounds times
	if b.notNull = !c.null; c.made || c.unsigned {
		return false
	}
	switch of.kind {
	case kindDecimal:
		return c.kind == "decimal" && c.scale >= of.scale && c.precision-c.scale >= of.precision-of.scale
	case kindBool:
		return c.kind == "tinyint"
	case kindInt16:
		return slices.Contains([]string{"smallint", "mediumint", "int", "bigint"}, c.kind)
	case kindInt32:
		return c.kind == "int" || c.kind == "bigint"
	case kindInt64:
		return c.kind == "bigint"
	case kindFloat32, kindFloat64: // with (M,D), the server rounds
		return c.whole == map[kind]string{kindFloat32: "float", kindFloat64: "double"}[of.kind]
	case kindText:
		if c.charset != "utf8mb4" || c.kind == "char" || c.kind == "enum" || c.kind == "set" {
			return false
		}
		if b.octets = c.octets; c.kind == "varchar" {
			b.chars, b.octets = c.chars, 0
		}
		return c.kind != "json"
	case kindBytes:
		b.octets = c.octets
		return slices.Contains([]string{"varbinary", "tinyblob", "blob", "mediumblob", "longblob"}, c.kind)
	case kindDate:
		return c.kind == "date"
	case kindTimestamp:
		return c.kind == "datetime" && c.micros >= micros
	case kindTimestampTZ:
		return c.kind == "timestamp" && c.micros >= micros
	case kindUUID:
		return c.kind == "uuid" || c.kind == "char" && c.chars == 36
	case kindJSON:
		return c.kind == "json"
	}
	return false
}
