package sqldb

import "weir/internal/platform/rawjson"

// Among returns the SQL condition that a text is in a list, where the list is one parameter: so one statement, which
// connections keep prepared, works for any number of texts.
func (d Dialect) Among(placeholder string) string {
	if d == Postgres {
		return `= ANY(` + placeholder + `::text[])`
	}
	return `IN (SELECT value FROM json_each(` + placeholder + `))`
}

// List returns the parameter of Among.
func (d Dialect) List(texts []string) any {
	if d == Postgres {
		return texts
	}
	size := 2
	for _, text := range texts {
		size += len(text) + 3
	}
	list := append(make([]byte, 0, size), '[')
	for i, text := range texts {
		if i > 0 {
			list = append(list, ',')
		}
		list = rawjson.AppendString(list, text)
	}
	return string(append(list, ']'))
}
