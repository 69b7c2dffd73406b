package rule

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Where many keys changed, their rows with one batch would hold it up, and those
// behind it. So what changed is written as an image first: one large value, in the
// place of the journal up to there. Its rows are written with the batches that follow,
// some with each; then it goes. Keys that are in a later image by then are left to that
// one, so that keys which change all the time are seldom rows at all.
//
// What a partition has in memory is its rows, with its images over them in their order,
// and the entries after the last one counted again on top: while an image has a key, it
// does not matter what its row has. When an image goes, each of its keys has the row that
// the image says, or is in a later one.
const (
	// rowsEach is how many rows of an image a batch writes, and with how many that
	// changed no image is made.
	rowsEach = 256
	// changedMost is how many keys of a partition may change before an image of them
	// is made: it takes a few tens of milliseconds.
	changedMost = 32_000
	// imagesMost is how many bytes the images of a process's partitions may have
	// together before batches write more rows: hurried times as many.
	imagesMost = 64 << 20
	// imageMost is how many bytes an image may have: a step of time can change all keys
	// of a partition, and no store takes a value of a gigabyte.
	imageMost = 256 << 20
	hurried   = 16
	// passedMost is how many keys of a later image a batch passes over for each row.
	passedMost = 16
)

// imageVersion begins an image in the journal.
const imageVersion = 100

func isImage(entry []byte) bool { return len(entry) > 0 && entry[0] == imageVersion }

// image is one whose rows are not all written.
type image struct {
	seq   int64 // in the journal
	at    time.Time
	bytes int
	keys  []imaged // whose rows are to be written
}

// imaged is a key in an image.
type imaged struct {
	op     *operator
	name   string
	device string
	state  []byte // empty: nothing is kept of it
}

// changes calls do with what changed of keys since it was last called, in the order in
// which their rows lie: of pages that many rows share, each is read and written once. k
// is nil where nothing is kept any more.
func (h *held) changes(do func(op *operator, name string, k *keyState)) {
	for _, op := range h.operators() {
		slices.SortFunc(op.changed, func(a, b *keyState) int { return strings.Compare(a.name, b.name) })
		for _, k := range op.changed {
			k.dirty = false
			switch kept := op.keys[k.name]; {
			case kept == nil && k.saved:
				do(op, k.name, nil)
			case kept == k:
				k.saved = true
				do(op, k.name, k)
			}
		}
		clear(op.changed)
		op.changed = op.changed[:0]
	}
}

// changed is how many keys did, some of them twice.
func (h *held) changed() (n int) {
	for _, op := range h.operators() {
		n += len(op.changed)
	}
	return n
}

// lacking is of how many keys images have the rows.
func (h *held) lacking() (n int) {
	for i := range h.images {
		n += len(h.images[i].keys)
	}
	return n
}

// saveImage writes an image in the place of the entries. One that is too large is
// written as rows at once.
func (h *held) saveImage(ctx context.Context, tx *sql.Tx, most, largest int) error {
	im := image{seq: h.version + 1, at: time.Now()}
	b := h.head(h.set.text).append(nil, imageVersion)
	var of *operator
	h.changes(func(op *operator, name string, k *keyState) {
		if of != op {
			of = op
			b = appendText(append(b, tagEpoch), op.Epoch)
		}
		_, key, _ := strings.Cut(name, "\x00")
		device := op.device(key)
		b = appendText(appendText(append(b, tagKey), name), device)
		var state []byte
		if k != nil {
			h.scratch = k.append(h.scratch[:0])
			state, k.image = h.scratch, im.seq
		}
		b = append(binary.AppendUvarint(b, uint64(len(state))), state...)
		im.keys = append(im.keys, imaged{op, name, device, b[len(b)-len(state) : len(b) : len(b)]})
	})
	if _, err := tx.ExecContext(ctx, `DELETE FROM rule_journal WHERE topic = $1 AND part = $2 AND seq > $3`, h.topic,
		h.number, h.lastImage()); err != nil {
		return fmt.Errorf("emptying the journal of %s/%d: %w", h.topic, h.number, err)
	}
	im.bytes, h.lag = len(b), 0
	h.images = append(h.images, im)
	if len(b) > largest {
		return h.saveRows(ctx, tx, most)
	}
	return h.journal(ctx, tx, b)
}

// lastImage is where the newest image is in the journal; what lies behind it is
// entries.
func (h *held) lastImage() int64 {
	if len(h.images) == 0 {
		return -1
	}
	return h.images[len(h.images)-1].seq
}

// someRows are rows of an image that are written together.
type someRows struct {
	at    place
	rows  *rowWriter
	whole int64 // the image, when no others are left of it; else -1
}

// takeImaged takes rows of the oldest image out of it, up to so many, and the image when
// these are all. n is how many they are, and at least 1.
func (h *held) takeImaged(rows int) (some someRows, n int) {
	im, w, passed := &h.images[0], rowsOf(h.partition), 0
	for len(im.keys) > 0 && w.n < rows && passed < passedMost*rows {
		k := &im.keys[0]
		if now := k.op.keys[k.name]; now != nil && now.image > im.seq {
			passed++
		} else {
			w.write(k.op, k.name, k.device, k.state)
		}
		im.keys = im.keys[1:]
	}
	some = someRows{place{h.topic, h.number}, w, -1}
	if len(im.keys) == 0 {
		some.whole = im.seq
		h.images[0] = image{}
		h.images = h.images[1:]
	}
	return some, max(w.n, passed/passedMost, 1)
}

func (s *someRows) write(ctx context.Context, tx *sql.Tx, most int) error {
	if err := s.rows.flush(ctx, tx, most); err != nil || s.whole < 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM rule_journal WHERE topic = $1 AND part = $2 AND seq = $3`, s.at.topic,
		s.at.number, s.whole); err != nil {
		return fmt.Errorf("deleting from the journal of %s/%d: %w", s.at.topic, s.at.number, err)
	}
	return nil
}

// takeSomeRows takes rows of the images of partitions that a batch changed, the oldest
// images first, as many as a batch may wait for: none, when it waits for what is due.
func (o *output) takeSomeRows(changed []*held, due *held) (all []someRows) {
	left, bytes := o.rowsEach, 0
	for _, h := range o.places {
		for i := range h.images {
			bytes += h.images[i].bytes
		}
	}
	switch {
	case bytes > imagesMost:
		left *= hurried
	case due != nil:
		return nil
	}
	for left > 0 {
		var oldest *held
		for _, h := range changed {
			if len(h.images) > 0 && (oldest == nil || h.images[0].at.Before(oldest.images[0].at)) {
				oldest = h
			}
		}
		if oldest == nil {
			break
		}
		some, n := oldest.takeImaged(left)
		all = append(all, some)
		left -= n
	}
	return all
}

// readImage calls do with what an image has of each key.
func readImage(entry []byte, do func(epoch, name, device string, state []byte) error) error {
	d := &decoder{b: entry}
	d.head()
	epoch := ""
	for len(d.b) > 0 && !d.bad {
		switch d.byte() {
		case tagEpoch:
			epoch = d.text()
		case tagKey:
			name, device := d.text(), d.text()
			state := d.take(d.length(1))
			if d.bad {
				break
			}
			if err := do(epoch, name, device, state); err != nil {
				return err
			}
		default:
			d.bad = true
		}
	}
	if d.bad {
		return fmt.Errorf("reading the journal of rules: %w", errDamaged)
	}
	return nil
}

// overlay puts what images have in the place of what rows had, of a fleet or, if it is
// "", of all. The images are returned with the rows that they lack.
func (p *partition) overlay(j journal, fleet string) (images []image, err error) {
	ops := map[string]*operator{}
	for _, op := range p.ops {
		ops[op.Epoch] = op
	}
	for _, one := range j.images {
		im := image{seq: one.seq, at: time.Now(), bytes: len(one.entry)}
		if err := readImage(one.entry, func(epoch, name, device string, state []byte) error {
			op := ops[epoch]
			of, key, _ := strings.Cut(name, "\x00")
			if op == nil || fleet != "" && of != fleet {
				return nil
			}
			if k := op.keys[name]; k != nil {
				p.forget(op, k)
			}
			im.keys = append(im.keys, imaged{op, name, device, state})
			if len(state) == 0 {
				return nil
			}
			err := p.restore(op, of, key, state)
			if err == nil {
				op.keys[name].image = im.seq
			}
			return err
		}); err != nil {
			return nil, err
		}
		images = append(images, im)
	}
	return images, nil
}

// imageWithout is an image without the keys of a fleet, or of one of its devices. It is
// nil when there are none; n says how many there were.
func imageWithout(entry []byte, fleet, device string) (rest []byte, n int64, err error) {
	h, err := headOf(entry)
	if err != nil {
		return nil, 0, err
	}
	b, last := h.append(nil, imageVersion), ""
	err = readImage(entry, func(epoch, name, of string, state []byte) error {
		if whose, _, _ := strings.Cut(name, "\x00"); whose == fleet && (device == "" || of == device) {
			n++
			return nil
		}
		if epoch != last {
			last = epoch
			b = appendText(append(b, tagEpoch), epoch)
		}
		b = appendText(appendText(append(b, tagKey), name), of)
		b = append(binary.AppendUvarint(b, uint64(len(state))), state...)
		return nil
	})
	if n == 0 {
		return nil, 0, err
	}
	return b, n, err
}
