package etl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// mostName is the most bytes of a name. PostgreSQL cuts longer ones without an error.
const mostName = 63

// check returns, for each column, the most characters of a text (0: no bound), or an error that
// lists the columns which the table cannot hold. A table that does not exist (there is false) holds
// all, as it is created for them.
func (s *postgresSession) check(ctx context.Context, t *dbTable, columns []column) (most []int, there bool, err error) {
	var wrong []error
	for _, c := range columns {
		if len(c.name) > mostName || strings.Contains(c.name, "\x00") {
			wrong = append(wrong, fmt.Errorf("column %q: PostgreSQL keeps %d bytes of a name: rename it", c.name, mostName))
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
	most = make([]int, len(columns))
	if err := s.conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", quoted(t.table)).Scan(&there); err != nil {
		return nil, false, s.refused("asking", err)
	}
	if !there {
		return most, false, nil
	}
	rows, err := s.conn.Query(ctx, "SELECT * FROM "+quoted(t.table)+" LIMIT 0")
	if err != nil {
		return nil, false, s.refused("asking", err)
	}
	fields := rows.FieldDescriptions()
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, false, s.refused("asking", err)
	}
	for i, c := range columns {
		at := slices.IndexFunc(fields, func(f pgconn.FieldDescription) bool { return f.Name == c.name })
		if at < 0 {
			wrong = append(wrong, fmt.Errorf("column %q: table %s has none of that name", c.name, t.table))
		} else if n, is := holds(fields[at], c.of); is {
			most[i] = n
		} else {
			wrong = append(wrong, fmt.Errorf("column %q: table %s has it as a type that does not hold every %s: %s does",
				c.name, t.table, c.of, sqlType(c.of)))
		}
	}
	if len(wrong) > 0 {
		return nil, false, dataError{errors.Join(wrong...)}
	}
	return most, true, nil
}

// sqlType returns the type of a new table's column.
func sqlType(of columnType) string {
	if of.kind == kindDecimal {
		return fmt.Sprintf("numeric(%d,%d)", of.precision, of.scale)
	}
	return map[kind]string{kindBool: "boolean", kindInt16: "smallint", kindInt32: "integer", kindInt64: "bigint",
		kindFloat32: "real", kindFloat64: "double precision", kindText: "text", kindBytes: "bytea", kindDate: "date",
		kindTimestamp: "timestamp", kindTimestampTZ: "timestamptz", kindUUID: "uuid", kindJSON: "json"}[of.kind]
}

// OIDs of PostgreSQL's types, and the offset of a type modifier.
const (
	oidNumeric   = 1700
	oidVarchar   = 1043
	modifierBase = 4
)

// holds tells whether a column of a table holds every value of a type without change, and how many
// characters of a text; 0: no bound.
func holds(f pgconn.FieldDescription, of columnType) (most int, is bool) {
	oid, modifier := f.DataTypeOID, int(f.TypeModifier)
	if of.kind == kindDecimal {
		if oid != oidNumeric || modifier < modifierBase {
			return 0, oid == oidNumeric
		}
		p, s := (modifier-modifierBase)>>16, (modifier-modifierBase)&0x7ff
		return 0, s >= of.scale && p-s >= of.precision-of.scale
	}
	if of.kind == kindText && oid == oidVarchar {
		return max(modifier-modifierBase, 0), true
	}
	if !slices.Contains(map[kind][]uint32{kindBool: {16}, kindBytes: {17}, kindInt16: {21, 23, 20}, kindInt32: {23, 20},
		kindInt64: {20}, kindFloat32: {700}, kindFloat64: {701}, kindText: {25}, kindDate: {1082}, kindTimestamp: {1114},
		kindTimestampTZ: {1184}, kindUUID: {2950}, kindJSON: {114, 3802}}[of.kind], oid) {
		return 0, false
	}
	const micros = 6 // with fewer digits, the server rounds times
	return 0, of.kind != kindTimestamp && of.kind != kindTimestampTZ || modifier < 0 || modifier >= micros
}
