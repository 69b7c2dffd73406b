package etl

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// kind is the type of a column. Values are kept as canonical text, so that nothing is lost between
// a source and a sink.
type kind string

const (
	kindBool        kind = "bool"
	kindInt16       kind = "int16"
	kindInt32       kind = "int32"
	kindInt64       kind = "int64"
	kindFloat32     kind = "float32"
	kindFloat64     kind = "float64"
	kindDecimal     kind = "decimal"
	kindText        kind = "text"
	kindBytes       kind = "bytes"
	kindDate        kind = "date"
	kindTimestamp   kind = "timestamp"   // without a zone
	kindTimestampTZ kind = "timestamptz" // an instant, in UTC
	kindUUID        kind = "uuid"
	kindJSON        kind = "json"
)

func kinds() []kind {
	return []kind{kindBool, kindInt16, kindInt32, kindInt64, kindFloat32, kindFloat64, kindText, kindBytes, kindDate,
		kindTimestamp, kindTimestampTZ, kindUUID, kindJSON}
}

// columnType is a kind and, for a decimal, its number of digits and how many of them follow the
// point.
type columnType struct {
	kind             kind
	precision, scale int
}

func (t columnType) String() string {
	if t.kind == kindDecimal {
		return fmt.Sprintf("decimal(%d,%d)", t.precision, t.scale)
	}
	return string(t.kind)
}

// decimalType needs both numbers: a default scale would round in silence.
var decimalType = regexp.MustCompile(`^decimal\((\d{1,2}), ?(\d{1,2})\)$`)

// mostDigits is the precision of the widest decimal that readers of Parquet support.
const mostDigits = 38

func parseType(text string) (columnType, error) {
	for _, k := range kinds() {
		if text == string(k) {
			return columnType{kind: k}, nil
		}
	}
	if m := decimalType.FindStringSubmatch(text); m != nil {
		p, _ := strconv.Atoi(m[1]) // two digits
		s, _ := strconv.Atoi(m[2])
		if p >= 1 && p <= mostDigits && s <= p {
			return columnType{kindDecimal, p, s}, nil
		}
		return columnType{}, fmt.Errorf("%q: a decimal has 1 to %d digits, of which some may follow the point", text,
			mostDigits)
	}
	return columnType{}, fmt.Errorf("%q is no type: expected decimal(PRECISION,SCALE) or one of %s", text, kindList())
}

func kindList() string {
	var names []string
	for _, k := range kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// column is the name and type of a column.
type column struct {
	name string
	of   columnType
}

// cell is a value: its canonical text, or null.
type cell struct {
	text string
	null bool
}

// row has one cell for each column, in their order.
type row []cell

// size estimates how many bytes of memory a row takes.
func (r row) size() (n int) {
	for _, c := range r {
		n += len(c.text) + 24
	}
	return n
}
