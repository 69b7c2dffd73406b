package etl

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// mysqlShape tells how to convert a row in the log to a row of the table, for the columns at the
// time the row was written.
type mysqlShape struct{ fields []mysqlField }

// mysqlField is a column of the table in such a row.
type mysqlField struct {
	at       int // index in the row of the log; -1: the column did not exist then
	kind     string
	unsigned bool
	charset  string   // of texts; "": none
	members  []string // of an enum or a set
	pads     int      // length in bytes: the log leaves out zeros at the end
	swapped  bool     // a UUID whose parts MariaDB may store in another order
}

// mysqlLogged is the description of a table in the log.
type mysqlLogged struct {
	*replication.TableMapEvent
	unsigned            map[int]bool
	collations, mottled map[int]uint64 // of texts; of enums and sets
	enums, sets         map[int][]string
}

func loggedOf(t *replication.TableMapEvent) mysqlLogged {
	return mysqlLogged{t, t.UnsignedMap(), t.CollationMap(), t.EnumSetCollationMap(), t.EnumStrValueMap(),
		t.SetStrValueMap()}
}

const binaryCollation = 63

// column returns a column as the log describes it. MariaDB's JSON is a text there.
func (t mysqlLogged) column(i int) mysqlColumn {
	c := mysqlColumn{name: string(t.ColumnName[i]), unsigned: t.unsigned[i]}
	meta, text := int(t.ColumnMeta[i]), t.collations[i] != binaryCollation
	or := func(kind, other string) string {
		if text {
			return kind
		}
		return other
	}
	switch t.ColumnType[i] {
	case mysql.MYSQL_TYPE_TINY:
		c.kind = "tinyint"
	case mysql.MYSQL_TYPE_SHORT:
		c.kind = "smallint"
	case mysql.MYSQL_TYPE_INT24:
		c.kind = "mediumint"
	case mysql.MYSQL_TYPE_LONG:
		c.kind = "int"
	case mysql.MYSQL_TYPE_LONGLONG:
		c.kind = "bigint"
	case mysql.MYSQL_TYPE_FLOAT:
		c.kind = "float"
	case mysql.MYSQL_TYPE_DOUBLE:
		c.kind = "double"
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		c.kind, c.precision, c.scale = "decimal", meta>>8, meta&0xff
	case mysql.MYSQL_TYPE_YEAR:
		c.kind = "year"
	case mysql.MYSQL_TYPE_BIT:
		c.kind, c.precision = "bit", meta>>8*8+meta&0xff
	case mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_NEWDATE:
		c.kind = "date"
	case mysql.MYSQL_TYPE_TIME, mysql.MYSQL_TYPE_TIME2:
		c.kind = "time"
	case mysql.MYSQL_TYPE_DATETIME, mysql.MYSQL_TYPE_DATETIME2:
		c.kind = "datetime"
	case mysql.MYSQL_TYPE_TIMESTAMP, mysql.MYSQL_TYPE_TIMESTAMP2:
		c.kind = "timestamp"
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING:
		c.kind, c.octets = or("varchar", "varbinary"), int64(meta)
	case mysql.MYSQL_TYPE_BLOB:
		c.kind = or("longtext", "longblob")
	case mysql.MYSQL_TYPE_JSON:
		c.kind = "json"
	case mysql.MYSQL_TYPE_STRING:
		switch {
		case t.IsEnumColumn(i):
			c.kind = "enum"
		case t.IsSetColumn(i):
			c.kind = "set"
		default:
			c.kind, c.octets = or("char", "binary"), int64(lengthOfString(meta))
		}
	default:
		c.kind = "a type that is not known"
	}
	return c
}

// lengthOfString returns the most bytes of a CHAR or BINARY.
func lengthOfString(meta int) int {
	if high := meta >> 8; high&0x30 != 0x30 {
		return meta&0xff | (high&0x30^0x30)<<4
	}
	return meta & 0xff
}

// shape finds the columns of the table in the log. If they differ from the table's, it reads the
// table's description again: either the row is from before a change of the columns, or they were
// changed after the stream began.
func (s *mysqlStream) shape(ctx context.Context, t *replication.TableMapEvent, at int64) (*mysqlShape, error) {
	if len(t.ColumnName) != int(t.ColumnCount) {
		return nil, dataError{fmt.Errorf("the log does not name the columns of table %s at %s: %s", s.table, placed(at),
			mysqlMetadata)}
	}
	l, of := loggedOf(t), &mysqlShape{}
	var then []Column
	index := map[string]int{}
	for i := range t.ColumnName {
		c := l.column(i)
		index[c.name] = i
		if n := indexOf(s.at.cols, c.name); n >= 0 {
			then = append(then, Column{c.name, l.told(i, s.at.cols[n], s.at.has[n])})
		} else if !slices.Contains(s.at.hidden, c.name) {
			kept, err := c.kept()
			told := kept.String()
			if err != nil {
				told = "of a type that has no exact one here"
			}
			then = append(then, Column{c.name, told})
		}
	}
	for i, c := range s.at.cols {
		f := mysqlField{at: -1}
		if n, is := index[c.name]; is {
			var err error
			if f, err = s.field(l, n, s.at.has[i]); err != nil {
				return nil, dataError{fmt.Errorf("column %q of table %s at %s: %w", c.name, s.table, placed(at), err)}
			}
		}
		of.fields = append(of.fields, f)
	}
	added, other := changes(then, told(s.at.cols))
	if len(added)+len(other) == 0 {
		return of, nil
	}
	now, err := s.mysqlChanges.look(ctx, s.asks)
	if err != nil {
		return nil, fmt.Errorf("table %s was changed before %s: %w", s.table, placed(at), err)
	}
	if slices.Equal(now.cols, s.at.cols) { // the row is from before the change
		if s.earlier || s.additions && len(other) == 0 {
			return of, nil
		}
		return nil, s.otherwise(append(other, added...), at)
	}
	added, other = changes(told(s.at.cols), told(now.cols))
	if s.additions && len(other) == 0 {
		return nil, errColumns
	}
	return nil, s.otherwise(append(other, added...), at)
}

// told returns the type of a column in the log, or that of the table where the log cannot tell it:
// there JSON is a text, and a uuid 16 bytes.
func (t mysqlLogged) told(i int, now column, has mysqlColumn) string {
	c := t.column(i)
	kept, err := c.kept()
	switch {
	case err != nil:
		return "of a type that has no exact one here"
	case has.kind == "json" && c.kind == "longtext",
		has.kind == "uuid" && (c.kind == "char" || c.kind == "binary") && c.octets == 16:
		return now.of.String()
	}
	return kept.String()
}

func (s *mysqlStream) otherwise(what []string, at int64) error {
	return dataError{fmt.Errorf("table %s is not as it was, in the transaction at %s: %s; take it as it is with "+
		"--accept-columns", s.table, placed(at), strings.Join(what, "; "))}
}

// field returns how a column is read.
func (s *mysqlStream) field(l mysqlLogged, i int, has mysqlColumn) (f mysqlField, err error) {
	c := l.column(i)
	f = mysqlField{at: i, kind: c.kind, unsigned: c.unsigned}
	collation, is := l.collations[i]
	switch c.kind {
	case "enum":
		collation, is = l.mottled[i]
		f.members = l.enums[i]
	case "set":
		collation, is = l.mottled[i]
		f.members = l.sets[i]
	case "binary":
		if f.pads = int(c.octets); has.kind == "uuid" {
			f.pads, f.swapped = 16, true
		}
		return f, nil
	case "char":
		if has.kind == "uuid" {
			f.pads, f.swapped = 16, true
			return f, nil
		}
	}
	if !is || collation == binaryCollation {
		return f, nil
	}
	if f.charset = s.charsets[collation]; !readsCharset(f.charset) {
		return f, errors.New(cannotCharset(f.charset))
	}
	f.members = slices.Clone(f.members)
	for n := range f.members {
		f.members[n] = string(fromCharset(f.charset, []byte(f.members[n])))
	}
	return f, nil
}

func readsCharset(name string) bool {
	return slices.Contains([]string{"utf8mb4", "utf8mb3", "utf8", "ascii", "latin1"}, name)
}

func cannotCharset(name string) string {
	return fmt.Sprintf("the log has it in %s, which is not read: ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4", name)
}

// fromCharset converts a text to UTF-8. MySQL's latin1 is Windows code page 1252; its five bytes
// without a letter are as in ISO 8859-1.
func fromCharset(charset string, v []byte) []byte {
	if charset != "latin1" {
		return v
	}
	const high = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"
	letters, out := []rune(high), make([]byte, 0, len(v)+8)
	for _, c := range v {
		switch {
		case c < 0x80:
			out = append(out, c)
		case c < 0xa0:
			out = append(out, string(letters[c-0x80])...)
		default:
			out = append(out, string(rune(c))...)
		}
	}
	return out
}

// text returns a value of the log as the server would send it for a query; nil: null.
func (f mysqlField) text(v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case int8:
		return f.number(int64(v), 8), nil
	case int16:
		return f.number(int64(v), 16), nil
	case int32:
		if f.kind == "mediumint" {
			return f.number(int64(v), 24), nil
		}
		return f.number(int64(v), 32), nil
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	case int64:
		switch f.kind {
		case "bit":
			return binary.BigEndian.AppendUint64(nil, uint64(v)), nil
		case "enum":
			return f.member(v)
		case "set":
			return f.memberships(uint64(v))
		}
		return f.number(v, 64), nil
	case float32:
		return strconv.AppendFloat(nil, float64(v), 'g', -1, 32), nil
	case float64:
		return strconv.AppendFloat(nil, v, 'g', -1, 64), nil
	case string:
		return f.bytes([]byte(v))
	case []byte:
		return f.bytes(slices.Clone(v))
	}
	return nil, errors.New("the log has it in a form that is not known")
}

func (f mysqlField) number(v int64, bits int) []byte {
	if f.unsigned {
		return strconv.AppendUint(nil, uint64(v)&(1<<bits-1), 10)
	}
	return strconv.AppendInt(nil, v, 10)
}

// bytes converts a text, a binary value, or another type that the log has as text.
func (f mysqlField) bytes(v []byte) ([]byte, error) {
	if len(v) < f.pads {
		v = append(v, make([]byte, f.pads-len(v))...)
	}
	if v == nil {
		v = []byte{} // empty, not null
	}
	if f.swapped {
		return uuidText(v)
	}
	return fromCharset(f.charset, v), nil
}

// member returns a member of an enum; 0 is what the server stores for a value that is none.
func (f mysqlField) member(n int64) ([]byte, error) {
	if n == 0 {
		return []byte{}, nil
	}
	if n < 0 || n > int64(len(f.members)) {
		return nil, errors.New("it is no member of its enum")
	}
	return []byte(f.members[n-1]), nil
}

func (f mysqlField) memberships(bits uint64) ([]byte, error) {
	var all []string
	for n, name := range f.members {
		if bits&(1<<n) != 0 {
			all = append(all, name)
			bits &^= 1 << n
		}
	}
	if bits != 0 {
		return nil, errors.New("it has a member that its set has not")
	}
	return append([]byte{}, strings.Join(all, ",")...), nil
}

// uuidText formats a UUID as MariaDB stores it. Versions 1 to 5, which contain a time, are stored
// with their parts in reverse order, so that they sort by time; the bits of variant and version
// tell which it is.
func uuidText(v []byte) ([]byte, error) {
	if len(v) != 16 {
		return nil, errors.New("it is no UUID")
	}
	if v[6]&0x80 != 0 && v[8] != 0 && v[8] <= 0x80 {
		v = slices.Concat(v[12:16], v[10:12], v[8:10], v[6:8], v[0:6])
	}
	text := hex.EncodeToString(v)
	return []byte(text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]), nil
}

// row converts a row of the log to a row of the table.
func (s *mysqlStream) row(of *mysqlShape, values []any, lacks []int) (row, error) {
	out, raw := make(row, len(s.at.cols)), make([][]byte, len(s.at.cols))
	var wrong error
	for i, c := range s.at.cols {
		f, err := of.fields[i], error(nil)
		switch {
		case f.at < 0:
			out[i].null = true
		case f.at >= len(values) || slices.Contains(lacks, f.at):
			err = errors.New("the log does not have it, as a session has set another binlog_row_image than FULL")
		default:
			if raw[i], err = f.text(values[f.at]); err == nil {
				out[i], err = s.asks.cell(c.of, f.kind, raw[i])
			}
		}
		if err != nil && wrong == nil {
			wrong = fmt.Errorf("column %q: %w", c.name, err)
		}
	}
	if wrong != nil {
		return nil, &rowError{wrong.Error(), unreadMySQL(s.at.cols, s.at.has, raw)}
	}
	return out, nil
}
