package etl

import (
	"errors"

	"weir/internal/platform/rawjson"
)

// objectReader reads rows from JSON objects, by the names of columns. With missing, a column that
// an object lacks is null; with ignore, a name that is no column is skipped. Otherwise either is an
// error.
type objectReader struct {
	what            string // what errors call the object
	columns         []column
	missing, ignore bool
	slab            slab

	raw   []byte // the object that is being read
	row   row
	found []bool
	left  int // columns not found yet
	next  int // the column that is expected next
	field rawjson.Field
}

func newObjectReader(what string, columns []column, missing, ignore bool) *objectReader {
	o := &objectReader{what: what, columns: columns, missing: missing, ignore: ignore, found: make([]bool, len(columns))}
	o.field = o.member
	return o
}

var errCareful = errors.New("it is to be read with care")

// read reads one object into a row that has room for more cells. An object in the usual form is
// read in one pass. Any other is parsed, which gives the row or the error.
func (o *objectReader) read(raw []byte, more int) (row, error) {
	if r := o.pass(raw, more); r != nil {
		return r, nil
	}
	n, err := parseData(o.what, raw)
	if err != nil {
		return nil, err
	}
	return objectCells(n, o.columns, o.missing, o.ignore)
}

// pass returns nil if the object has to be parsed.
func (o *objectReader) pass(raw []byte, more int) row {
	n := len(o.columns)
	o.raw, o.row, o.left, o.next = raw, o.slab.row(n + more)[:n], n, 0
	clear(o.found)
	end, err := rawjson.Object(raw, rawjson.Space(raw, 0), 0, o.field)
	if err != nil || rawjson.Space(raw, end) != len(raw) || o.left > 0 && !o.missing {
		return nil
	}
	for i := 0; o.left > 0; i++ {
		if !o.found[i] {
			o.row[i].null = true
			o.left--
		}
	}
	return o.row
}

// member reads one member of the object.
func (o *objectReader) member(key []byte, plain bool, i int) (end int, err error) {
	if !plain {
		return i, errCareful
	}
	at := o.column(key)
	if at < 0 {
		if !o.ignore {
			return i, errCareful
		}
		return rawjson.Value(o.raw, i, 1)
	}
	o.found[at], o.next = true, at+1
	o.left--
	c, of := &o.row[at], o.columns[at].of
	if i >= len(o.raw) {
		return i, errCareful
	}
	switch o.raw[i] {
	case '"':
		if end, plain, err = rawjson.String(o.raw, i); err != nil {
			return end, err
		}
		text := rawjson.Alias(o.raw[i+1 : end-1])
		if plain && (of.kind == kindText || of.plain(text) && textual(of.kind)) {
			c.text = o.slab.text(o.raw[i+1 : end-1])
			return end, nil
		}
		*c, err = of.fromText(rawjson.Text(o.raw[i+1:end-1], plain))
		c.text = o.slab.text(rawjson.Bytes(c.text))
	case 'n':
		end, err = rawjson.Value(o.raw, i, 1)
		c.null = true
	case 't', 'f':
		if end, err = rawjson.Value(o.raw, i, 1); err == nil {
			*c, err = of.fromBool(o.raw[i] == 't')
		}
	case '{', '[':
		if of.kind != kindJSON {
			return i, errCareful
		}
		if end, err = rawjson.Value(o.raw, i, 1); err != nil {
			return end, err
		}
		n, err := parse("", o.raw[i:end])
		if err != nil {
			return i, err
		}
		*c, err = marshalled(n.plain())
		return end, err
	default:
		if end, err = rawjson.Number(o.raw, i); err != nil {
			return end, err
		}
		text := rawjson.Alias(o.raw[i:end])
		if !of.plain(text) {
			*c, err = of.fromNumber(text)
			text = c.text
		}
		c.text = o.slab.text(rawjson.Bytes(text))
	}
	return end, err
}

// textual tells whether a value of this kind may be a JSON string in its plain form.
func textual(k kind) bool {
	switch k {
	case kindDecimal, kindDate, kindTimestamp, kindTimestampTZ, kindUUID:
		return true
	}
	return false
}

// column returns the index of the column with this name; -1: there is none.
func (o *objectReader) column(key []byte) int {
	if o.next < len(o.columns) && o.columns[o.next].name == string(key) {
		return o.next
	}
	for i, c := range o.columns {
		if c.name == string(key) {
			return i
		}
	}
	return -1
}
