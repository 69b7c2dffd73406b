package etl

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// mysqlColumn is a column as the server describes it.
type mysqlColumn struct {
	name      string
	kind      string // such as varchar
	whole     string // such as varchar(20)
	unsigned  bool
	precision int // of decimals
	scale     int
	micros    int // digits of a second's fraction
	chars     int64
	octets    int64
	charset   string // of texts
	null      bool   // it may be null
	hidden    bool   // SELECT * leaves it out
	made      bool   // computed by the server from others
	primary   bool   // part of the primary key
	queried   bool   // column of a query, of which the server tells less
}

// mysqlColumns reads the columns of a table, in their order.
func mysqlColumns(ctx context.Context, q mysqlAsked, table string) (all []mysqlColumn, err error) {
	schema, name, is := strings.Cut(table, ".")
	where, args := "= DATABASE()", []any{table}
	if is {
		where, args = "= ?", []any{schema, name}
	}
	rows, err := q.QueryContext(ctx, `SELECT COLUMN_NAME, lower(DATA_TYPE), lower(COLUMN_TYPE),
		COALESCE(NUMERIC_PRECISION, 0), COALESCE(NUMERIC_SCALE, 0), COALESCE(DATETIME_PRECISION, 0),
		COALESCE(CHARACTER_MAXIMUM_LENGTH, 0), COALESCE(CHARACTER_OCTET_LENGTH, 0), COALESCE(CHARACTER_SET_NAME, ''),
		IS_NULLABLE = 'YES', COLUMN_KEY = 'PRI', upper(EXTRA)
		FROM information_schema.COLUMNS WHERE TABLE_SCHEMA `+where+` AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() // its error is that of Err
	for rows.Next() {
		var c mysqlColumn
		var extra string
		if err := rows.Scan(&c.name, &c.kind, &c.whole, &c.precision, &c.scale, &c.micros, &c.chars, &c.octets, &c.charset,
			&c.null, &c.primary, &extra); err != nil {
			return nil, err
		}
		c.unsigned = strings.Contains(c.whole, "unsigned")
		c.hidden = strings.Contains(extra, "INVISIBLE")
		c.made = strings.Contains(extra, "GENERATED") && !strings.Contains(extra, "DEFAULT_GENERATED")
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return all, withJSON(ctx, q, all, where, args)
}

// withJSON finds the columns that are JSON in MariaDB, where they are long texts with a check.
func withJSON(ctx context.Context, q mysqlAsked, all []mysqlColumn, where string, args []any) error {
	var version string
	if err := q.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil ||
		!strings.Contains(version, "MariaDB") {
		return err
	}
	rows, err := q.QueryContext(ctx, `SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
		WHERE CONSTRAINT_SCHEMA `+where+` AND TABLE_NAME = ?`, args...)
	if err != nil {
		return err
	}
	defer rows.Close() // its error is that of Err
	for rows.Next() {
		var clause string
		if err := rows.Scan(&clause); err != nil {
			return err
		}
		for i := range all {
			quoted, is := strings.CutPrefix(clause, "json_valid(")
			if is && all[i].kind == "longtext" && (quoted == backticked(all[i].name)+")" ||
				quoted == quotedNames([]string{all[i].name})+")") { // quoted as the mode of the session has it
				all[i].kind = "json"
			}
		}
	}
	return rows.Err()
}

// mysqlAsked is a connection or a pool of them.
type mysqlAsked interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// queried describes a column of a query.
func queried(t *sql.ColumnType) mysqlColumn {
	kind, unsigned := strings.CutPrefix(strings.ToLower(t.DatabaseTypeName()), "unsigned ")
	c := mysqlColumn{name: t.Name(), kind: kind, whole: kind, unsigned: unsigned, queried: true}
	if p, s, is := t.DecimalSize(); is {
		c.precision, c.scale = int(p), int(s)
	}
	return c
}

// kept returns the type that holds every value of a column, or why there is none.
func (c mysqlColumn) kept() (columnType, error) {
	of := func(k kind) (columnType, error) { return columnType{kind: k}, nil }
	whole := func(signed, unsigned kind) (columnType, error) {
		if c.unsigned {
			return of(unsigned)
		}
		return of(signed)
	}
	switch c.kind {
	case "tinyint":
		return of(kindInt16)
	case "smallint":
		return whole(kindInt16, kindInt32)
	case "mediumint":
		return of(kindInt32)
	case "int":
		return whole(kindInt32, kindInt64)
	case "bigint":
		if c.unsigned {
			return columnType{kindDecimal, 20, 0}, nil
		}
		return of(kindInt64)
	case "year":
		return of(kindInt16)
	case "bit":
		switch {
		case c.queried:
			return columnType{}, errors.New("a query tells not how many bits it has: select it as CAST(… AS UNSIGNED)")
		case c.precision == 1:
			return of(kindBool)
		case c.precision < 64:
			return of(kindInt64)
		}
		return columnType{kindDecimal, 20, 0}, nil
	case "float":
		return of(kindFloat32)
	case "double":
		return of(kindFloat64)
	case "decimal":
		if c.precision > mostDigits {
			return columnType{}, fmt.Errorf("decimal(%d,%d) has more than %d digits: select it as text", c.precision, c.scale,
				mostDigits)
		}
		return columnType{kindDecimal, c.precision, c.scale}, nil
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set":
		return of(kindText)
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return of(kindBytes)
	case "json":
		return of(kindJSON)
	case "date":
		return of(kindDate)
	case "datetime":
		return of(kindTimestamp)
	case "timestamp":
		return of(kindTimestampTZ)
	case "uuid":
		return of(kindUUID)
	}
	return columnType{}, fmt.Errorf("there is no exact type for %s: select it as text, by CAST(… AS CHAR)", c.kind)
}

// orders tells whether ORDER BY, > and = agree on values of the column. They do not for floats,
// which are compared as doubles, enums, which are ordered by number, and long texts, of which only
// the beginning is ordered.
func (c mysqlColumn) orders() bool {
	return slices.Contains([]string{"tinyint", "smallint", "mediumint", "int", "bigint", "year", "decimal", "char",
		"varchar",
		"binary", "varbinary", "date", "datetime", "timestamp", "uuid"}, c.kind)
}

// literal returns the placeholder for a value of the column that is given as text.
func (c mysqlColumn) literal() string {
	switch c.kind {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "year":
		if c.unsigned {
			return "CAST(? AS UNSIGNED)"
		}
		return "CAST(? AS SIGNED)"
	case "decimal":
		return fmt.Sprintf("CAST(? AS DECIMAL(%d,%d))", c.precision, c.scale)
	case "date":
		return "CAST(? AS DATE)"
	case "datetime", "timestamp":
		return "CAST(? AS DATETIME(6))"
	case "binary", "varbinary":
		return "UNHEX(?)"
	}
	return "?"
}

// bitNumber returns the value of a BIT as a decimal number.
func bitNumber(v []byte) string { return new(big.Int).SetBytes(v).String() }
