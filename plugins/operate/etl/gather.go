package etl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gather is a step that needs all rows before it knows which go on. It divides a run into segments:
// the rows that reach it are synced as the blocks of one segment before it begins, and the rows
// that leave it become the blocks of the next, which exists with its counts completely or not at
// all. So after a crash within a gather it begins again from the blocks, without reading the
// source; the same rows in the same order give the same result. Its memory is bounded by the
// pipeline's memory_mib: beyond that the run fails with an error that says so, as nothing is
// spilled to disk.
type gather interface {
	// see gets each row, in order, and its number in the source. An error concerns this row, or the
	// bound of memory.
	see(r row, number int64) error
	// stays tells of each row, in the same order, whether it goes on. It is not called of a step
	// that makes rows.
	stays() bool
	// made returns the rows that the step makes of those it saw, in an order that depends only on
	// their values; nil and false if the step makes no rows.
	made() ([]numbered, bool, error)
}

// numbered is a row with its number in the source. A row that a step has made has the number of the
// first row that it was made of.
type numbered struct {
	row    row
	number int64
	place  string // position in a log: TOPIC/PARTITION/OFFSET
}

// told encodes the number and the place as one cell, which follows a row in blocks between
// segments.
func (n numbered) told() cell {
	text := strconv.FormatInt(n.number, 10)
	if n.place != "" {
		text += " " + n.place
	}
	return cell{text: text}
}

// gathers tells whether the step needs all rows.
func (s stepSpec) gathers() bool {
	return slices.Contains([]string{"dedupe", "unique", "aggregate", "check"}, s.kind)
}

// gather plans such a step: it returns the columns after the step, and a constructor.
func (s stepSpec) gather(columns []column, memory int64) (next []column, begin func(time.Time) gather,
	err error) {
	if s.kind == "check" {
		begin, err = s.planCheck(columns)
		return columns, begin, err
	}
	by := s.by
	if s.kind == "dedupe" && by == nil {
		by = names(columns)
	}
	key, err := keyOf(columns, by)
	if err != nil {
		return nil, nil, err
	}
	room := func() *budget { return &budget{left: memory << 20, most: memory} }
	if s.kind != "aggregate" {
		return columns, func(time.Time) gather {
			return &distinct{key: key, last: s.keep == keepLast, nulls: s.kind == "unique", kept: map[string]int64{},
				room: room()}
		}, nil
	}
	return s.aggregate(columns, key, room)
}

// keyColumns are the columns whose values together are a key.
type keyColumns []keyColumn

type keyColumn struct {
	at int
	of columnType
}

func keyOf(columns []column, by []string) (keyColumns, error) {
	key := keyColumns{}
	for _, name := range by {
		i := indexOf(columns, name)
		if i < 0 {
			return nil, noColumn(columns, name)
		}
		if columns[i].of.kind == kindJSON {
			return nil, fmt.Errorf("column %q is json, which may be written in several ways: derive a text of it", name)
		}
		key = append(key, keyColumn{i, columns[i].of})
	}
	return key, nil
}

// of returns the key of a row: rows have the same key exactly if the values of these columns are
// equal. null tells whether one of them is null.
func (k keyColumns) of(r row) (key string, null bool) {
	var b []byte
	for _, c := range k {
		v := r[c.at]
		if v.null {
			b, null = append(b, 0), true
			continue
		}
		if v.text == "-0" { // a float's -0 equals 0
			v.text = "0"
		}
		b = binary.AppendUvarint(b, uint64(len(v.text))+1)
		b = append(b, v.text...)
	}
	return string(b), null
}

func noColumn(columns []column, name string) error {
	return fmt.Errorf("there is no column %q here: there are %s", name, strings.Join(names(columns), ", "))
}

// budget bounds the memory of a step, in bytes.
type budget struct{ left, most int64 }

// entryBytes estimates the memory of a map entry without its key's text.
const entryBytes = 96

func (b *budget) take(n int) error {
	if b.left -= int64(n); b.left < 0 {
		return fmt.Errorf("what it keeps needs more than %d MiB: raise memory_mib, or let fewer rows or columns come to it",
			b.most)
	}
	return nil
}

// distinct lets one row of each key go on.
type distinct struct {
	key   keyColumns
	last  bool // keep the last row of a key instead of the first
	nulls bool // rows with a null in their key are all different
	kept  map[string]int64
	room  *budget

	stay       []bool // whether each row stays; set after the last row
	seen, next int64
}

func (d *distinct) see(r row, _ int64) error {
	key, null := d.key.of(r)
	d.stay = append(d.stay, true)
	if d.seen++; null && d.nulls {
		return d.room.take(1)
	}
	before, is := d.kept[key]
	switch {
	case is && !d.last:
		d.stay[d.seen-1] = false
		return d.room.take(1)
	case is:
		d.stay[before] = false
		d.kept[key] = d.seen - 1
		return d.room.take(1)
	}
	d.kept[key] = d.seen - 1
	return d.room.take(len(key) + entryBytes)
}

func (d *distinct) stays() bool {
	d.next++
	return d.stay[d.next-1]
}

func (d *distinct) made() ([]numbered, bool, error) { return nil, false, nil }

// segment is a part of a run between two gathering steps. Its rows pass the steps [from, to).
type segment struct{ from, to int }

// segments returns the number of segments of a run.
func (p *Pipeline) segments() int {
	n := 1
	for _, s := range p.steps {
		if s.gathers() {
			n++
		}
	}
	return n
}

// segments returns the segments of a plan. Between two is the step that gathers.
func (p *planned) segments() []segment {
	all := []segment{{0, len(p.specs)}}
	for i, s := range p.specs {
		if s.gathers() {
			all[len(all)-1].to = i
			all = append(all, segment{i + 1, len(p.specs)})
		}
	}
	return all
}

// into passes rows through the steps of a segment into a block.
type into struct {
	p       *Pipeline
	planned *planned
	segment segment
	counts  *Counts
	b       *block
	changes bool // the source is a log of changes: sinks may have the row that is filtered now
}

// take passes one row through the segment and counts what became of it.
func (w into) take(r numbered) error { return w.through(r, w.segment.from) }

// through passes a row on from step from. A step that spreads a row ends its way, and each row that
// it makes goes on from the step after it.
func (w into) through(r numbered, from int) error {
	to := from
	for to < w.segment.to && w.planned.spreads[to] == nil {
		to++
	}
	out, filtered, no := w.planned.run(r.row, segment{from, to})
	switch {
	case filtered >= 0:
		w.counts.Steps[filtered].Filtered++
		w.counts.Filtered++
	case no != nil:
		raw := appendJSON(nil, w.planned.between[no.step], out)
		return w.fail(r, no.step, no.reason, no.onFailure, raw)
	case to < w.segment.to:
		return w.spread(numbered{out, r.number, r.place}, to)
	case to == len(w.planned.specs):
		w.b.add(out)
		w.counts.Written++
	default: // a segment follows, which needs its number
		w.b.add(append(slices.Clone(out), r.told()))
	}
	return nil
}

func (w into) spread(r numbered, step int) error {
	rows, failed := w.planned.spreads[step](r.row)
	if failed != "" {
		return w.fail(r, step, failed, w.planned.specs[step].onFailure,
			appendJSON(nil, w.planned.between[step], r.row))
	}
	c := &w.counts.Steps[step]
	c.Combined, c.Made = c.Combined+1, c.Made+int64(len(rows))
	w.counts.Combined, w.counts.Made = w.counts.Combined+1, w.counts.Made+int64(len(rows))
	for _, one := range rows {
		if err := w.through(numbered{one, r.number, r.place}, step+1); err != nil {
			return err
		}
	}
	return nil
}

// fail counts a row that failed; step -1: it could not be read. It rejects or drops the row, or
// returns an error, as onFailure says.
func (w into) fail(r numbered, step int, reason, onFailure string, raw []byte) error {
	if step >= 0 {
		w.counts.Steps[step].Failed++
	} else {
		w.counts.Unreadable++
	}
	switch onFailure {
	case onDrop:
		w.counts.Dropped++
	case onReject:
		w.counts.Rejected++
		line := rejected(r, step, reason, raw)
		w.b.rejects, w.b.size = append(w.b.rejects, line), w.b.size+len(line)
	default:
		where := "reading the source"
		if step >= 0 {
			where = fmt.Sprintf("step %d (%s)", step+1, w.p.steps[step].kind)
		}
		if r.place != "" {
			where = r.place + ": " + where
		}
		return dataError{fmt.Errorf("row %d: %s: %s", r.number, where, reason)}
	}
	return nil
}

// gatherAll runs each gathering step whose segment has ended, until the blocks of the last segment
// exist.
func (p *Pipeline) gatherAll(ctx context.Context, o Options, s stage, at *progress) error {
	if p.segments() == 1 || len(at.Ends) == p.segments() {
		return nil
	}
	columns, err := columnsOf(at.From)
	if err != nil {
		return err
	}
	planned, problems := p.plan(columns)
	if len(problems) > 0 {
		return dataError{&ProblemsError{problems}}
	}
	for all := planned.segments(); len(at.Ends) < len(all); {
		step := all[len(at.Ends)].from - 1
		if err := p.gather(ctx, o, s, planned, all[len(at.Ends)], at); err != nil {
			return err
		}
		o.Tell(fmt.Sprintf("step %d (%s) has seen all rows", step+1, p.steps[step].kind))
	}
	return nil
}

// gather runs one gathering step and writes the blocks of the segment next. When it returns nil,
// these blocks and their counts are durable.
func (p *Pipeline) gather(ctx context.Context, o Options, s stage, planned *planned, next segment, at *progress) error {
	step := next.from - 1
	g := planned.begin[step](o.Now())
	if err := s.each(ctx, at, func(r numbered) error {
		if err := g.see(r.row, r.number); err != nil {
			return dataError{fmt.Errorf("row %d: step %d (%s): %w", r.number, step+1, p.steps[step].kind, err)}
		}
		return nil
	}); err != nil {
		return err
	}
	after := *at
	after.Counts.Steps = slices.Clone(at.Counts.Steps)
	b := &block{}
	w := into{p: p, planned: planned, segment: next, counts: &after.Counts, b: b}
	flush := func() error {
		if err := s.put(after.Blocks, b); err != nil {
			return err
		}
		after.Blocks++
		*b = block{}
		return nil
	}
	n := 0
	bounded := func() error {
		if n++; n%p.block != 0 && b.size < mostBlockBytes {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return flush()
	}
	pass := func(r numbered) error {
		if err := w.take(r); err != nil {
			return err
		}
		return bounded()
	}
	made, makes, err := g.made()
	if err != nil {
		return dataError{fmt.Errorf("step %d (%s): %w", step+1, p.steps[step].kind, err)}
	}
	if makes {
		err = p.passMade(s, at, &after, step, made, pass)
	} else {
		err = s.each(ctx, at, func(r numbered) error {
			if g.stays() {
				return pass(r)
			}
			if p.steps[step].kind == "dedupe" {
				after.Counts.Duplicates++
				after.Counts.Steps[step].Duplicates++
				return nil
			}
			if err := w.fail(r, step, p.steps[step].twin(), p.steps[step].onFailure,
				appendJSON(nil, planned.between[step], r.row)); err != nil {
				return err
			}
			return bounded()
		})
	}
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	after.Ends = append(slices.Clone(at.Ends), after.Blocks)
	if err := s.save(&after); err != nil {
		return err
	}
	*at = after
	return nil
}

// passMade passes on the rows that the step has made, and counts those that it made them of.
func (p *Pipeline) passMade(s stage, at, after *progress, step int, made []numbered, pass func(numbered) error) error {
	combined := int64(0)
	for n := at.begins(); n < at.Blocks; n++ {
		b, err := s.get(n)
		if err != nil {
			return err
		}
		combined += int64(len(b.rows))
	}
	c := &after.Counts.Steps[step]
	c.Combined, c.Made = combined, int64(len(made))
	after.Counts.Combined += combined
	after.Counts.Made += int64(len(made))
	for _, r := range made {
		if err := pass(r); err != nil {
			return err
		}
	}
	return nil
}

func (s stepSpec) twin() string {
	return fmt.Sprintf("another row has the same %s", strings.Join(s.by, ", "))
}

// each calls do for the rows of the newest segment that is complete.
func (s stage) each(ctx context.Context, at *progress, do func(numbered) error) error {
	for n := at.begins(); n < at.Blocks; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := s.get(n)
		if err != nil {
			return err
		}
		for _, r := range b.rows {
			if len(r) == 0 {
				return errors.New("reading a block of the run: a row has no number: run again with --fresh")
			}
			told, place, _ := strings.Cut(r[len(r)-1].text, " ")
			number, err := strconv.ParseInt(told, 10, 64)
			if err != nil {
				return fmt.Errorf("reading a block of the run: %w", err)
			}
			if err := do(numbered{r[:len(r)-1], number, place}); err != nil {
				return err
			}
		}
	}
	return nil
}

// begins returns the number of the first block of the newest complete segment.
func (at *progress) begins() int {
	if n := len(at.Ends); n > 1 {
		return at.Ends[n-2]
	}
	return 0
}
