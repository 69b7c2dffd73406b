package etl

import (
	"strings"
	"unicode"
)

// statement classifies a statement in the log by what it means to a table whose changes are
// followed.
type statement byte

const (
	stmtNothing  statement = iota
	stmtEmptied            // all rows are deleted
	stmtGone               // the table is dropped, replaced or renamed
	stmtUnlogged           // it adds or removes rows without changes in the log
	stmtRows               // it changes rows itself, because the session did not log the rows
)

// words splits a statement into words and signs, as they are written. It leaves out texts in single
// quotes and comments, but not the statements in comments that the server executes (/*! and /*M!).
func words(sql string) (all []word) {
	for i := 0; i < len(sql); {
		switch c := sql[i]; {
		case strings.HasPrefix(sql[i:], "/*!") || strings.HasPrefix(sql[i:], "/*M!"):
			for i += strings.IndexByte(sql[i:], '!') + 1; i < len(sql) && sql[i] >= '0' && sql[i] <= '9'; i++ {
			}
		case strings.HasPrefix(sql[i:], "/*"):
			end := strings.Index(sql[i+2:], "*/")
			if end < 0 {
				return all
			}
			i += end + 4
		case strings.HasPrefix(sql[i:], "*/"):
			i += 2
		case c == '#' || strings.HasPrefix(sql[i:], "-- ") || strings.HasPrefix(sql[i:], "--\n"):
			end := strings.IndexByte(sql[i:], '\n')
			if end < 0 {
				return all
			}
			i += end
		case c == '\'' || c == '"' || c == '`':
			text, n := quotedWord(sql[i:])
			if i += n; c != '\'' { // what is in " is a name or a text, depending on the session's mode
				all = append(all, word{text, true})
			}
		case wordly(rune(c)):
			n := strings.IndexFunc(sql[i:], func(r rune) bool { return !wordly(r) })
			if n < 0 {
				n = len(sql) - i
			}
			all = append(all, word{sql[i : i+n], false})
			i += n
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		default:
			all = append(all, word{string(c), false})
			i++
		}
	}
	return all
}

type word struct {
	text   string
	quoted bool
}

func wordly(r rune) bool {
	return r == '_' || r == '$' || r >= 0x80 || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// quotedWord returns what is within the quotes at the beginning of sql, and the index after them.
func quotedWord(sql string) (string, int) {
	quote := sql[0]
	var text strings.Builder
	for i := 1; i < len(sql); i++ {
		switch {
		case sql[i] == quote && i+1 < len(sql) && sql[i+1] == quote:
			i++
		case sql[i] == quote:
			return text.String(), i + 1
		case sql[i] == '\\' && quote != '`' && i+1 < len(sql):
			i++
		}
		text.WriteByte(sql[i])
	}
	return text.String(), len(sql)
}

func (w word) is(any ...string) bool {
	for _, one := range any {
		if !w.quoted && strings.EqualFold(w.text, one) {
			return true
		}
	}
	return false
}

// tableName is the name of a table.
type tableName struct {
	schema, name string
	fold         bool // the server's names are not case-sensitive
}

func (t tableName) same(schema, name string) bool {
	if t.fold {
		return strings.EqualFold(t.schema, schema) && strings.EqualFold(t.name, name)
	}
	return t.schema == schema && t.name == name
}

// first tells whether a list of words begins with the table's name, [SCHEMA.]NAME, and returns the
// words after the name there.
func (t tableName) first(all []word, schema string) (is bool, rest []word) {
	if len(all) == 0 {
		return false, nil
	}
	name, rest := all[0].text, all[1:]
	if len(rest) > 1 && rest[0].is(".") {
		schema, name, rest = name, rest[1].text, rest[2:]
	}
	return t.same(schema, name), rest
}

// mentioned tells whether the table's name occurs anywhere in a statement.
func (t tableName) mentioned(all []word, schema string) bool {
	for i, w := range all {
		of := schema
		if i > 1 && all[i-1].is(".") {
			of = all[i-2].text
		}
		if t.same(of, w.text) {
			return true
		}
	}
	return false
}

// of classifies a statement, sent by a session with this default schema, for the table.
func (t tableName) of(sql, schema string) statement {
	all := words(sql)
	skip := func(any ...string) {
		for len(all) > 0 && all[0].is(any...) {
			all = all[1:]
		}
	}
	if len(all) == 0 {
		return stmtNothing
	}
	verb := all[0]
	all = all[1:]
	switch {
	case verb.is("truncate"):
		skip("table")
		if is, _ := t.first(all, schema); is {
			return stmtEmptied
		}
	case verb.is("alter"):
		skip("online", "offline", "ignore")
		if len(all) == 0 || !all[0].is("table") {
			return stmtNothing
		}
		skip("table")
		skip("if", "exists")
		if is, rest := t.first(all, schema); is {
			return altered(rest)
		}
		return exchanged(t, all, schema)
	case verb.is("drop", "create", "rename"):
		skip("or", "replace", "temporary")
		if len(all) == 0 {
			return stmtNothing
		}
		if all[0].is("database", "schema") && verb.is("drop") {
			skip("database", "schema")
			skip("if", "exists")
			if len(all) > 0 && t.same(all[0].text, t.name) {
				return stmtGone
			}
			return stmtNothing
		}
		if all[0].is("table", "tables") && !temporary(sql) {
			return t.listed(verb, all[1:], schema)
		}
	case verb.is("insert", "update", "delete", "replace", "load", "with"):
		if t.mentioned(all, schema) {
			return stmtRows
		}
	}
	return stmtNothing
}

// temporary tells whether a statement is about a temporary table, which only its session sees.
func temporary(sql string) bool {
	for i, w := range words(sql) {
		if w.is("temporary") && i < 4 {
			return true
		}
	}
	return false
}

// listed classifies a DROP, CREATE or RENAME of the tables in all.
func (t tableName) listed(verb word, all []word, schema string) statement {
	for len(all) > 0 && all[0].is("if", "not", "exists") {
		all = all[1:]
	}
	if verb.is("create") {
		if is, _ := t.first(all, schema); is {
			return stmtGone
		}
		return stmtNothing
	}
	if t.mentioned(all, schema) {
		return stmtGone
	}
	return stmtNothing
}

// altered classifies an ALTER of the table. Changes of its columns do not count: the log shows them
// with the next change of a row.
func altered(all []word) statement {
	for i, w := range all {
		switch next := at(all, i+1); {
		case w.is("rename") && !next.is("column", "index", "key"):
			return stmtGone
		case w.is("drop", "truncate", "exchange", "convert", "import", "discard") &&
			next.is("partition", "tablespace", "table"):
			return stmtUnlogged
		}
	}
	return stmtNothing
}

// exchanged classifies an ALTER of another table, which may exchange rows with this one.
func exchanged(t tableName, all []word, schema string) statement {
	for i, w := range all {
		if !w.is("exchange", "convert") {
			continue
		}
		for j := i + 1; j < len(all); j++ {
			if all[j].is("table") {
				if is, _ := t.first(all[j+1:], schema); is {
					return stmtUnlogged
				}
			}
		}
	}
	return stmtNothing
}

func at(all []word, i int) word {
	if i < len(all) {
		return all[i]
	}
	return word{}
}
