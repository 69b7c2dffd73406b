package rule

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// entryVersion is the version of the format of journal entries, their first byte. Entries of a later version are
// refused. Version 1 had no tagRefused.
const entryVersion = 2

// The tags of the items that follow the head of an entry or an image. Each item begins with its tag. Numbers are
// varints; a text follows its length.
const (
	tagFleet   = 1 // the fleet of the events that follow
	tagEvent   = 2 // an event, with the values that rules look at
	tagWhole   = 3 // an event, with its whole document
	tagTime    = 4 // a step of the watermark that no event of the entry made
	tagEpoch   = 5 // in an image (journal_before.go): the epoch of the keys that follow
	tagKey     = 6 // in an image: a key, its device and its state; without bytes: the key has ended
	tagRefused = 7 // a rule that refuses the next event, because its fleet has too many keys
)

// entryWriter encodes an entry.
type entryWriter struct {
	b          []byte
	head       int    // length of the head
	fleet      string // of the previous event
	at, offset int64  // of the previous event: the next ones are encoded as differences
	to         int64  // if went: the watermark
	went       bool   // the watermark moved after the previous item, and that is not encoded yet
}

// head says with which rules, limits and watermark an entry was counted, or with which counting goes on after an image.
type head struct {
	version         byte
	rules           string
	text            string // of the rules; only in some entries, see open
	time            int64  // the watermark before the entry
	delay, perFleet int64
}

func (h head) append(b []byte) []byte {
	b = appendText(appendText(append(b, h.version), h.rules), h.text)
	for _, v := range [...]int64{h.time, h.delay, h.perFleet} {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func (w *entryWriter) begin(h head) {
	b := h.append(w.b[:0])
	*w = entryWriter{b: b, head: len(b)}
}

func (w *entryWriter) empty() bool { return len(w.b) == w.head && !w.went }

func (w *entryWriter) event(tag byte, e *record, device string, payload []byte) {
	b := w.bytes()
	if e.Fleet != w.fleet {
		w.fleet = strings.Clone(e.Fleet)
		b = appendText(append(b, tagFleet), e.Fleet)
	}
	b = append(append(b, tag), e.ID[:]...)
	b = appendText(b, device)
	b = binary.AppendVarint(b, e.At-w.at)
	b = binary.AppendVarint(b, e.Offset-w.offset)
	b = binary.AppendUvarint(b, uint64(len(payload)))
	w.b, w.at, w.offset = append(b, payload...), e.At, e.Offset
}

// refused adds that a rule refuses the next event, because its fleet has too many keys.
func (w *entryWriter) refused(rule string) { w.b = appendText(append(w.bytes(), tagRefused), rule) }

// time adds a step of the watermark. Consecutive steps are encoded as one.
func (w *entryWriter) time(to int64) {
	if !w.went || to > w.to {
		w.to, w.went = to, true
	}
}

// bytes returns the entry as encoded so far.
func (w *entryWriter) bytes() []byte {
	if w.went {
		w.b, w.went = binary.AppendVarint(append(w.b, tagTime), w.to), false
	}
	return w.b
}

// entered is an event or a step of the watermark in an entry. Its texts and payload may share the entry's memory.
type entered struct {
	record
	tag     byte
	device  string
	payload []byte
	refused []string // the rules that refused it, because its fleet had too many keys
	to      int64    // if tagTime: the watermark
}

// head reads the head of an entry or an image.
func (d *decoder) head() (h head) {
	if h.version = d.byte(); (h.version == 0 || h.version > entryVersion) && h.version != imageVersion {
		d.bad, d.b = true, nil
	}
	h.rules, h.text = d.text(), d.text()
	h.time, h.delay, h.perFleet = d.varint(), d.varint(), d.varint()
	return h
}

// each calls do with each event and step of the watermark in the rest of an entry, until do fails. e is reused. The
// error is errDamaged if the entry cannot be read.
func (d *decoder) each(do func(e *entered) error) error {
	var e entered
	fleet := ""
	for len(d.b) > 0 {
		switch e.tag = d.byte(); e.tag {
		case tagFleet:
			fleet = d.text()
			continue
		case tagRefused:
			e.refused = append(e.refused, d.text())
			continue
		case tagEvent, tagWhole:
			e.Fleet = fleet
			copy(e.ID[:], d.take(16))
			e.device = d.text()
			e.At, e.Offset = e.At+d.varint(), e.Offset+d.varint()
			e.payload = d.take(d.length(1))
		case tagTime:
			e.to = d.varint()
		default:
			d.bad = true
		}
		if d.bad {
			break
		}
		if err := do(&e); err != nil {
			return err
		}
		e.refused = nil
	}
	if d.bad {
		return fmt.Errorf("reading the journal of rules: %w", errDamaged)
	}
	return nil
}

// headOf reads the head of an entry or an image.
func headOf(entry []byte) (head, error) {
	d := &decoder{b: entry}
	if h := d.head(); !d.bad {
		return h, nil
	}
	return head{}, fmt.Errorf("reading the journal of rules: %w", errDamaged)
}

// without returns an entry without the events of a fleet, or of one of its devices. In the place of each event the
// watermark that it reached stays, so that the other events are counted as before. n is how many events were taken out;
// if there are none, rest is nil.
func without(entry []byte, fleet, device string) (rest []byte, n int64, err error) {
	d := &decoder{b: entry}
	h := d.head()
	if d.bad {
		return nil, 0, fmt.Errorf("reading the journal of rules: %w", errDamaged)
	}
	var w entryWriter
	w.begin(h)
	err = d.each(func(e *entered) error {
		switch {
		case e.tag == tagTime:
			w.time(e.to)
		case e.Fleet == fleet && (device == "" || e.device == device):
			w.time(e.At - h.delay)
			n++
		default:
			for _, rule := range e.refused {
				w.refused(rule)
			}
			w.event(e.tag, &e.record, e.device, e.payload)
		}
		return nil
	})
	if n == 0 {
		return nil, 0, err
	}
	return w.bytes(), n, err
}
