package etl

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"weir/plugins/operate/etl/delta"
)

// deltaType returns the type of a new table's column for a type.
func deltaType(of columnType) delta.Type {
	if of.kind == kindDecimal {
		return delta.Type(of.String())
	}
	return map[kind]delta.Type{kindBool: "boolean", kindInt16: "short", kindInt32: "integer", kindInt64: "long",
		kindFloat32: "float", kindFloat64: "double", kindText: "string", kindBytes: "binary", kindDate: "date",
		kindTimestamp: "timestamp_ntz", kindTimestampTZ: "timestamp", kindUUID: "string", kindJSON: "string"}[of.kind]
}

// ofDelta returns the type that holds every value of a column of a table.
func ofDelta(t delta.Type) (columnType, error) {
	if strings.HasPrefix(string(t), "decimal") {
		return parseType(string(t))
	}
	of, is := map[delta.Type]kind{"boolean": kindBool, "byte": kindInt16, "short": kindInt16, "integer": kindInt32,
		"long": kindInt64, "float": kindFloat32, "double": kindFloat64, "string": kindText, "binary": kindBytes,
		"date": kindDate, "timestamp_ntz": kindTimestamp, "timestamp": kindTimestampTZ}[t]
	if !is {
		return columnType{}, fmt.Errorf("there is no exact type for %s", t)
	}
	return columnType{kind: of}, nil
}

// keeps tells whether a table's column holds every value of a type without change.
func keeps(table delta.Type, of columnType) bool {
	as, err := ofDelta(table)
	switch {
	case err != nil || table == "byte": // it is read as a wider type
		return false
	case of.kind == kindDecimal:
		return as.kind == kindDecimal && as.scale >= of.scale && as.precision-as.scale >= of.precision-of.scale
	case of.kind == kindInt16 && as.kind == kindInt32,
		(of.kind == kindInt16 || of.kind == kindInt32) && as.kind == kindInt64:
		return true
	}
	return table == deltaType(of)
}

func deltaFields(columns []column) []delta.Field {
	all := make([]delta.Field, len(columns))
	for i, c := range columns {
		all[i] = delta.Field{Name: c.name, Type: deltaType(c.of), Nullable: true, Metadata: map[string]any{}}
	}
	return all
}

// deltaColumn is a column of a run and how the table stores it.
type deltaColumn struct {
	column      // with the type of the table
	never  bool // never null
	place  delta.Place
}

// inFiles returns the column's name in the files.
func (c deltaColumn) inFiles() string { return cmp.Or(c.place.Name, c.name) }

// check returns how the table stores each column, or an error that lists the columns it cannot
// hold. A table that does not exist holds all, as it is created for them.
func (t *deltaTable) check(s *delta.Snapshot, columns []column) ([]deltaColumn, error) {
	var wrong []error
	find := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	fields := deltaFields(columns)
	if s.Version >= 0 {
		if err := s.Writable(t.mode != modeAppend); err != nil {
			return nil, dataError{err}
		}
		var err error
		if fields, err = s.Fields(); err != nil {
			return nil, dataError{err}
		}
		if t.partitions != nil && !slices.Equal(t.partitions, s.Metadata.PartitionColumns) {
			find("the table is partitioned by %s, and not by %s", orNothing(s.Metadata.PartitionColumns),
				orNothing(t.partitions))
		}
	}
	places, err := s.Places(fields)
	if err != nil {
		return nil, dataError{err}
	}
	mapped := len(places) > 0 && places[0].ID != 0 // column mapping: names are not restricted
	seen := map[string]string{}
	for _, c := range columns {
		if !mapped && strings.ContainsAny(c.name, " ,;{}()\n\t=\x00") {
			find("column %q: Delta Lake has no blank, tab, line feed and none of ,;{}()= in a name: rename it", c.name)
		}
		folded := strings.ToLower(c.name)
		if twin, is := seen[folded]; is {
			find("columns %q and %q: Delta Lake has them as one name: rename one", twin, c.name)
		}
		seen[folded] = c.name
	}
	as := make([]deltaColumn, len(columns))
	for i, c := range columns {
		at := slices.IndexFunc(fields, func(f delta.Field) bool { return f.Name == c.name })
		switch {
		case at < 0:
			find("column %q: the table has none of that name", c.name)
		case !keeps(fields[at].Type, c.of):
			find("column %q: the table has it as %s, which does not hold every %s: %s does", c.name, fields[at].Type, c.of,
				deltaType(c.of))
		default:
			of, err := ofDelta(fields[at].Type)
			if err != nil {
				return nil, dataError{err}
			}
			as[i] = deltaColumn{column{c.name, of}, !fields[at].Nullable, places[at]}
		}
	}
	for _, f := range fields {
		if indexOf(columns, f.Name) < 0 && !f.Nullable {
			find("column %q of the table is never null, and the run has none of that name", f.Name)
		}
	}
	if t.mode == modeMerge {
		wrong = append(wrong, t.checkMerge(fields, columns)...)
	}
	partitions := t.partitionsOf(s)
	for _, name := range partitions {
		if at := indexOf(columns, name); at < 0 {
			find("column %q, by which the table is partitioned: the run has none of that name", name)
		} else if !slices.Contains(partitioning(), columns[at].of.kind) {
			find("column %q is %s, by which no table is partitioned: derive a date, a text or a number of it", name,
				columns[at].of)
		}
	}
	if len(partitions) > 0 && len(partitions) == len(columns) {
		find("the table is partitioned by all of its columns: its files need one more")
	}
	if len(wrong) > 0 {
		return nil, dataError{errors.Join(wrong...)}
	}
	return as, nil
}

// partitioning returns the kinds whose texts all readers parse alike.
func partitioning() []kind {
	return []kind{kindBool, kindInt16, kindInt32, kindInt64, kindDecimal, kindText, kindDate, kindUUID}
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
