package rule

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// entryVersion begins an entry of the journal. One of a newer weir is refused; the first had
// no tagRefused.
const entryVersion = 2

// The items that follow the head of an entry or an image, each with its tag first. Numbers are varints, texts have
// their length before them.
const (
	tagFleet   = 1 // of the events that follow
	tagEvent   = 2 // by the values that rules look at
	tagWhole   = 3 // by its document
	tagTime    = 4 // the partition's time went on, without an event
	tagEpoch   = 5 // of an image (journal_before.go): of the keys that follow
	tagKey     = 6 // of an image: a key with its device, and what is kept of it; nothing is no bytes
	tagRefused = 7 // a rule for which the key of the next event is one too many of its fleet
)

// entryWriter makes an entry.
type entryWriter struct {
	b          []byte
	head       int    // length of the head
	fleet      string // of the event before
	at, offset int64  // of the event before: the next ones are differences
	to         int64  // if went: the time that the partition has reached since
	went       bool
}

// head says how an entry was counted, or where counting goes on after an image.
type head struct {
	version         byte
	rules           string
	text            string // of the rules, in the first entry
	time            int64  // of the partition, before it
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

// refused notes that the key of the next event is one too many for a rule.
func (w *entryWriter) refused(rule string) { w.b = appendText(append(w.bytes(), tagRefused), rule) }

// time notes that the partition's time went on. Of steps with nothing between them the
// last is enough.
func (w *entryWriter) time(to int64) {
	if !w.went || to > w.to {
		w.to, w.went = to, true
	}
}

// bytes returns the entry so far.
func (w *entryWriter) bytes() []byte {
	if w.went {
		w.b, w.went = binary.AppendVarint(append(w.b, tagTime), w.to), false
	}
	return w.b
}

// entered is an event or a step of time in an entry. Its texts and payload may share the entry's memory.
type entered struct {
	record
	tag     byte
	device  string
	payload []byte
	refused []string // the rules for which its key is one too many
	to      int64
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

// each calls do with each event and step of time in the rest of an entry, until do fails. e is reused. The error is
// errDamaged if the entry cannot be read.
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

// without is an entry without the events of a fleet, or of one of its devices. Of each event
// the time is left, so that what else it has is counted as it was. It is nil when there are
// none; n says how many there were.
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
