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

// gather is a step that needs all rows before it knows which go on. It cuts a run
// into segments: the rows that come to it are a segment's blocks, synced, before
// it begins; what goes on from it becomes the blocks of the next segment, and is
// there whole, with its counts, or not at all. So a crash within a gather begins
// it again from the blocks, and asks no source again; the same rows in the same
// order give the same. What it keeps in memory is bounded by the pipeline's
// memory_mib; beyond that it is refused by name, and nothing is guessed or spilled.
type gather interface {
	// see takes each row, in order, and its number in the source. An error is of
	// this row, or of the bound.
	see(r row, number int64) error
	// stays tells of each row, in the same order, whether it goes on. A step that
	// makes rows is not asked.
	stays() bool
	// made are the rows that it makes of those that it saw, in an order that
	// depends on their values alone; nil, and false, when it makes none.
	made() ([]numbered, bool, error)
}

// numbered is a row with its number in the source; one that a step has made has
// that of the first row that it was made of.
type numbered struct {
	row    row
	number int64
	place  string // in a log: TOPIC/PARTITION/OFFSET
}

// told is what a row's number and place are kept as.
func (n numbered) told() cell {
	text := strconv.FormatInt(n.number, 10)
	if n.place != "" {
		text += " " + n.place
	}
	return cell{text: text}
}

// gathers tells whether a step needs all rows.
func (s stepSpec) gathers() bool {
	return slices.Contains([]string{"dedupe", "unique", "aggregate", "check"}, s.kind)
}

// gather plans such a step: the columns behind it, and what makes one.
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

// keyColumns are the columns whose values, together, are a key.
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

// of is the key of a row: the same for equal values, and no other. null tells
// whether one of them is null.
func (k keyColumns) of(r row) (key string, null bool) {
	var b []byte
	for _, c := range k {
		v := r[c.at]
		if v.null {
			b, null = append(b, 0), true
			continue
		}
		if v.text == "-0" { // of floats: it equals 0
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

// budget bounds what a step keeps in memory.
type budget struct{ left, most int64 }

// entryBytes is what a key costs beside its text.
const entryBytes = 96

func (b *budget) take(n int) error {
	if b.left -= int64(n); b.left < 0 {
		return fmt.Errorf("what it keeps needs more than %d MiB: raise memory_mib, or let fewer rows or columns come to it",
			b.most)
	}
	return nil
}

// distinct keeps one row of each key.
type distinct struct {
	key   keyColumns
	last  bool // the last row stays, and not the first
	nulls bool // a row with a null in its key is like no other
	kept  map[string]int64
	room  *budget

	stay       []bool // of the rows, when all have been seen
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

// segment is a part of a run between two steps that gather: the steps that its
// rows take, [from, to).
type segment struct{ from, to int }

// segments is how many there are.
func (p *Pipeline) segments() int {
	n := 1
	for _, s := range p.steps {
		if s.gathers() {
			n++
		}
	}
	return n
}

// segments are those of a plan; between two is the step that gathers.
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

// into takes rows through the steps of a segment into a block.
type into struct {
	p       *Pipeline
	planned *planned
	segment segment
	counts  *Counts
	b       *block
	changes bool // rows may be there already: one that is filtered is gone
}

// take takes one row, and notes what became of it.
func (w into) take(r numbered) error { return w.through(r, w.segment.from) }

// through takes a row from a step on. One that spreads ends the row's way, and
// begins that of each of those that it makes.
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
	default: // its number is with it until the end
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

// fail notes a row that cannot pass; step -1: it could not be read.
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

// gatherAll takes the rows of each segment that has ended through the step behind
// it, until those of the last are there.
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

// gather makes the blocks of a segment of those of the one before. When it
// returns without an error, they and their counts are durable.
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

// passMade passes the rows that a step has made of those that it saw.
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

// each reads the rows of the segment that ended last.
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

// begins is the first block of the segment that was written last.
func (at *progress) begins() int {
	if n := len(at.Ends); n > 1 {
		return at.Ends[n-2]
	}
	return 0
}
