package etl

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/text"
	"weir/plugins/operate/etl/delta"
)

// mostOpen bounds the memory of rows that are in no file yet: above it, those of the largest
// partition are written to a file.
const mostOpen = 64 << 20

// deltaFiles writes rows to files, separate ones for each partition. The same rows give files with
// the same names and contents, so that a retry leaves no others behind.
type deltaFiles struct {
	columns    []column // of the run
	as         []deltaColumn
	partitions []int // indices of the columns of the partition
	inside     []int // indices of the other columns
	run        string
	now        int64
	put        func(name string, body []byte) error
	keys       *mergeKeys   // of mode merge
	more       func() error // writes further rows after those of the run; may be nil

	wider bool // some decimal has more digits in the table
	key   []byte
	inRow row
	open  map[string]*deltaFile
	size  int
	added []delta.Add
	told  []byte
	sum   rowSum
	bytes int64
}

// deltaFile is a file in memory: its rows as appendRow encodes them, and their statistics.
type deltaFile struct {
	raw    []byte
	values []cell // of the partition
	rows   int64
	nulls  []int64
	least  []extreme
	most   []extreme
}

// extreme is the least or the greatest value of a column.
type extreme struct {
	text []byte // a copy
	is   bool
}

func (x *extreme) set(text string) { x.text, x.is = append(x.text[:0], text...), true }

func newDeltaFiles(columns []column, as []deltaColumn, partitions []string, run string, now int64,
	put func(string, []byte) error) *deltaFiles {
	d := &deltaFiles{columns: columns, as: as, run: run, now: now, put: put, open: map[string]*deltaFile{}}
	for _, name := range partitions {
		d.partitions = append(d.partitions, indexOf(columns, name))
	}
	for i := range columns {
		if !slices.Contains(d.partitions, i) {
			d.inside = append(d.inside, i)
		}
		d.wider = d.wider || d.widens(i)
	}
	d.inRow = make(row, len(d.inside))
	return d
}

func (d *deltaFiles) write(r row) error {
	for i, c := range r {
		if c.null && d.as[i].never {
			return fmt.Errorf("column %q: the table takes no null", d.as[i].name)
		}
	}
	out, err := d.widened(r)
	if err != nil {
		return err
	}
	if d.keys != nil {
		if err := d.keys.add(out, d.columns); err != nil {
			return err
		}
	}
	d.told = appendRow(d.told[:0], r)
	d.sum.add(d.told)
	return d.keep(out)
}

// widened returns a row with its values as the table stores them.
func (d *deltaFiles) widened(r row) (row, error) {
	if !d.wider {
		return r, nil
	}
	out := make(row, len(r))
	for i, c := range r {
		if d.widens(i) && !c.null {
			var err error
			if c.text, err = d.as[i].of.canonical(c.text); err != nil {
				return nil, fmt.Errorf("column %q: %w", d.as[i].name, err)
			}
		}
		out[i] = c
	}
	return out, nil
}

// widens tells whether a decimal has more digits behind the point in the table.
func (d *deltaFiles) widens(i int) bool {
	return d.as[i].of != d.columns[i].of && d.as[i].of.kind == kindDecimal
}

// erase notes that the row with this key is to be deleted; the run has no such row.
func (d *deltaFiles) erase(r row) error {
	out, err := d.widened(r)
	if err != nil {
		return err
	}
	return d.keys.add(out, d.columns)
}

// keep writes a row as the table stores it; it need not be one of the run.
func (d *deltaFiles) keep(out row) error {
	key := d.key[:0]
	for _, i := range d.partitions {
		if !out[i].null && out[i].text == "" {
			return fmt.Errorf("column %q: a partition of the empty text is one of null: make one of the other", d.as[i].name)
		}
		key = appendCell(key, out[i])
	}
	d.key = key
	f := d.open[string(key)]
	if f == nil {
		f = d.begin(out)
		d.open[string(key)] = f
	}
	inside := d.inRow
	for n, i := range d.inside {
		inside[n] = out[i]
	}
	f.note(d, inside)
	before := len(f.raw)
	f.raw = appendRow(f.raw, inside)
	if d.size += len(f.raw) - before; d.size < mostOpen {
		return nil
	}
	return d.finish(slices.MaxFunc(slices.Sorted(maps.Keys(d.open)), func(a, b string) int {
		return len(d.open[a].raw) - len(d.open[b].raw)
	}))
}

// appendCell and appendRow encode values so that different ones have different bytes.
func appendCell(b []byte, c cell) []byte {
	if c.null {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(c.text))+1), c.text...)
}

func appendRow(b []byte, r row) []byte {
	for _, c := range r {
		b = appendCell(b, c)
	}
	return b
}

// rowOf decodes a row that appendRow encoded, and returns the bytes after it. The row's texts refer
// to raw.
func rowOf(raw []byte, r row) []byte {
	for i := range r {
		n, size := binary.Uvarint(raw)
		if raw = raw[size:]; n == 0 {
			r[i] = cell{null: true}
			continue
		}
		r[i], raw = cell{text: rawjson.Alias(raw[:n-1])}, raw[n-1:]
	}
	return raw
}

func (d *deltaFiles) begin(r row) *deltaFile {
	n := len(d.inside)
	f := &deltaFile{nulls: make([]int64, n), least: make([]extreme, n), most: make([]extreme, n)}
	for _, i := range d.partitions {
		f.values = append(f.values, r[i].clone())
	}
	return f
}

// clone copies a cell, so that it does not keep a block in memory of which its text is a part.
func (c cell) clone() cell { return cell{strings.Clone(c.text), c.null} }

// note updates the statistics of the file: nulls, and the least and the greatest value of each
// column.
func (f *deltaFile) note(d *deltaFiles, r row) {
	f.rows++
	for n, c := range r {
		of := d.as[d.inside[n]].of
		switch {
		case c.null:
			f.nulls[n]++
		case !bounded(of):
		case !f.least[n].is:
			f.least[n].set(c.text)
			f.most[n].set(c.text)
		default:
			if of.compare(c.text, rawjson.Alias(f.least[n].text)) < 0 {
				f.least[n].set(c.text)
			}
			if of.compare(c.text, rawjson.Alias(f.most[n].text)) > 0 {
				f.most[n].set(c.text)
			}
		}
	}
}

// sureDigits is the number of decimal digits that a reader keeps which converts decimals to
// float64.
const sureDigits = 15

// bounded tells whether all readers order values of the type alike. Floats have NaN.
func bounded(of columnType) bool {
	return of.kind == kindDecimal && of.precision <= sureDigits || slices.Contains([]kind{kindInt16, kindInt32, kindInt64,
		kindText, kindDate, kindTimestamp, kindTimestampTZ}, of.kind)
}

// statsColumns and statsText bound the statistics of a file in the log.
const (
	statsColumns = 32
	statsText    = 32 // bytes
)

func (f *deltaFile) stats(d *deltaFiles) (string, error) {
	least, most, nulls := map[string]any{}, map[string]any{}, map[string]int64{}
	for n, i := range d.inside[:min(len(d.inside), statsColumns)] {
		of, name := d.as[i].of, d.as[i].inFiles()
		nulls[name] = f.nulls[n]
		if !f.least[n].is {
			continue
		}
		if v, is := bound(of, string(f.least[n].text), false); is {
			least[name] = v
		}
		if v, is := bound(of, string(f.most[n].text), true); is {
			most[name] = v
		}
	}
	raw, err := text.JSON(map[string]any{"numRecords": f.rows, "minValues": least, "maxValues": most, "nullCount": nulls})
	return strings.TrimSpace(string(raw)), err
}

// bound returns a value for the log's statistics that is not above the least value, or, for upper,
// not below the greatest. Times are rounded to milliseconds. A long text is cut, which is only a
// lower bound: then it returns false for upper.
func bound(of columnType, value string, upper bool) (any, bool) {
	switch of.kind {
	case kindText:
		if len(value) <= statsText {
			return value, true
		}
		end := statsText
		for !utf8.RuneStart(value[end]) {
			end--
		}
		return value[:end], !upper
	case kindDate:
		return value, true
	case kindTimestamp, kindTimestampTZ:
		at, err := time.Parse(formTimestamp, strings.TrimSuffix(value, "Z"))
		cut := at.Truncate(time.Millisecond)
		if upper && cut.Before(at) {
			cut = cut.Add(time.Millisecond)
		}
		form := "2006-01-02T15:04:05.000"
		if of.kind == kindTimestampTZ {
			form += "Z"
		}
		return cut.Format(form), err == nil && cut.Year() == at.Year()
	}
	return json.Number(value), true
}

// encode returns the file as Parquet.
func (f *deltaFile) encode(d *deltaFiles) ([]byte, error) {
	columns, ids := make([]column, len(d.inside)), make([]int, len(d.inside))
	for n, i := range d.inside {
		columns[n], ids[n] = column{d.as[i].inFiles(), d.as[i].of}, d.as[i].place.ID
	}
	var body bytes.Buffer
	e, err := newParquet(columns, ids, &body)
	if err != nil {
		return nil, err
	}
	r := make(row, len(columns))
	for rest := f.raw; len(rest) > 0; {
		rest = rowOf(rest, r)
		if err := e.write(r); err != nil {
			return nil, err
		}
	}
	if err := e.end(); err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

// finish writes the file of a partition, and adds it to those that the commit adds.
func (d *deltaFiles) finish(key string) error {
	f := d.open[key]
	delete(d.open, key)
	d.size -= len(f.raw)
	body, err := f.encode(d)
	if err != nil {
		return err
	}
	stats, err := f.stats(d)
	if err != nil {
		return err
	}
	name, values := "", map[string]*string{}
	for n, i := range d.partitions {
		of := d.as[i].inFiles()
		name += folderOf(of, f.values[n]) + "/"
		if values[of] = nil; !f.values[n].null {
			values[of] = &f.values[n].text
		}
	}
	name += fmt.Sprintf("part-%05d-%s.parquet", len(d.added), d.run)
	if err := d.put(name, body); err != nil {
		return storeError{err}
	}
	size := int64(len(body))
	d.bytes += size
	d.added = append(d.added, delta.Add{Path: delta.Path(name), PartitionValues: values, Size: size,
		ModificationTime: d.now, DataChange: true, Stats: stats})
	return nil
}

// mergedBy makes the writer note the keys of its rows, for mode merge.
func (d *deltaFiles) mergedBy(key []string, memory int64) {
	d.keys = &mergeKeys{seen: map[string]struct{}{}, room: &budget{left: memory << 20, most: memory}}
	for _, name := range key {
		d.keys.at = append(d.keys.at, indexOf(d.columns, name))
	}
}

func (d *deltaFiles) end() error {
	if d.more != nil {
		if err := d.more(); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.open)) {
		if err := d.finish(key); err != nil {
			return err
		}
	}
	return nil
}

// mostFolder bounds the name of a folder. A longer one is replaced by a hash; the log has the
// value.
const mostFolder = 200

// folderOf returns the folder of a partition, as Hive names it.
func folderOf(name string, value cell) string {
	if value.null {
		return escaped(name) + "=__HIVE_DEFAULT_PARTITION__"
	}
	out := escaped(name) + "=" + escaped(value.text)
	if len(out) > mostFolder {
		sum := sha256.Sum256([]byte(name + "=" + value.text))
		return "partition=" + hex.EncodeToString(sum[:])
	}
	return out
}

func escaped(text string) string {
	var out strings.Builder
	for _, c := range []byte(text) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}
