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

// mostOpen is about how much memory rows take that are in no file yet: those of the
// largest partition are written then, and it begins again.
const mostOpen = 64 << 20

// deltaFiles writes rows into files, for each partition its own. The same rows give
// the same files, so that a run which is tried again leaves none behind.
type deltaFiles struct {
	columns    []column // of the run
	as         []deltaColumn
	partitions []int // of the columns
	inside     []int // the others
	run        string
	now        int64
	put        func(name string, body []byte) error
	keys       *mergeKeys   // of merge
	more       func() error // what is to be written behind the rows of the run

	wider bool // a column has more digits in the table
	key   []byte
	inRow row
	open  map[string]*deltaFile
	size  int
	added []delta.Add
	told  []byte
	sum   rowSum
	bytes int64
}

// deltaFile is one that is to be written: its rows, as appendRow has them.
type deltaFile struct {
	raw    []byte
	values []cell // of the partition
	rows   int64
	nulls  []int64
	least  []extreme
	most   []extreme
}

// extreme is a value of a column that is above, or below, all others.
type extreme struct {
	text []byte // its own
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

// widened is a row with the values as the table has them.
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

// widens tells whether a column has more digits behind the point in the table.
func (d *deltaFiles) widens(i int) bool {
	return d.as[i].of != d.columns[i].of && d.as[i].of.kind == kindDecimal
}

// erase lets the row with this one's key go, of which there is none in the run.
func (d *deltaFiles) erase(r row) error {
	out, err := d.widened(r)
	if err != nil {
		return err
	}
	return d.keys.add(out, d.columns)
}

// keep writes a row as the table has it, which may be no row of the run.
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

// appendCell and appendRow tell values apart whatever they are.
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

// rowOf reads what appendRow wrote into a row, whose texts are parts of that, and
// returns what is behind it.
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

// clone is a value that keeps no block in memory of which its text is a part.
func (c cell) clone() cell { return cell{strings.Clone(c.text), c.null} }

// note counts nulls, and keeps the least and the most of each column that has them.
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

// sureDigits are those of a decimal that a reader keeps which takes it for a float.
const sureDigits = 15

// bounded tells whether all readers order values as we do. Floats have NaN.
func bounded(of columnType) bool {
	return of.kind == kindDecimal && of.precision <= sureDigits || slices.Contains([]kind{kindInt16, kindInt32, kindInt64,
		kindText, kindDate, kindTimestamp, kindTimestampTZ}, of.kind)
}

// statsColumns and statsText bound what the log has of a file.
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

// bound is a value of a log's statistics, not above the least or not below the most:
// times are told by milliseconds, long texts by their beginning, which is no most.
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

// encode is the file, as Parquet.
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

// finish ends a file, and puts it to its place.
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

// mergedBy notes the keys of the rows.
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

// mostFolder is how long the name of a folder may be; of one that would be longer,
// a sum stands for the value, which the log has.
const mostFolder = 200

// folderOf is the folder of a partition, as Hive names it.
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
