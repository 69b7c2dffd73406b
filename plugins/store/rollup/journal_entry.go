package rollup

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The format of an entry of the journal, which FORMAT.md documents.

// entryVersion is the first byte of an entry.
const entryVersion = 1

// The tags of what follows it.
const (
	tagFleet    = 1 // of the windows that follow
	tagWindow   = 2 // of the events that follow
	tagEvent    = 3
	tagReplayed = 4 // an event that a replay published
)

// entryWriter encodes an entry.
type entryWriter struct {
	body  []byte
	fleet string
	names []string
	index map[string]int
	last  []int // numbers of the names in the previous event

	node         int   // the part of the devices that it is for, see note
	first, until int64 // the first and the last bucket
}

func (w *entryWriter) begin() {
	w.body = append(w.body[:0], entryVersion)
	w.fleet, w.names, w.last = "", w.names[:0], w.last[:0]
	w.first, w.until = math.MaxInt64, math.MinInt64
	if w.index == nil {
		w.index = map[string]int{}
	}
	clear(w.index)
}

// release lets go of the texts of the windows, which lie in the batch's memory.
func (w *entryWriter) release() {
	clear(w.names)
	clear(w.index)
	w.fleet, w.names, w.last = "", w.names[:0], w.last[:0]
}

func (w *entryWriter) empty() bool { return len(w.body) == 1 }

// window begins the events of a window.
func (w *entryWriter) window(k Key) {
	if k.Fleet != w.fleet {
		w.fleet = k.Fleet
		w.body = append(w.body, tagFleet)
		w.text(k.Fleet)
	}
	w.body = append(w.body, tagWindow)
	w.text(k.Device)
	w.body = binary.AppendVarint(w.body, k.Bucket)
	w.first, w.until = min(w.first, k.Bucket), max(w.until, k.Bucket)
}

func (w *entryWriter) text(s string) {
	w.body = binary.AppendUvarint(w.body, uint64(len(s)))
	w.body = append(w.body, s...)
}

func (w *entryWriter) event(bucket int64, e *sample) {
	tag := byte(tagEvent)
	if e.replayed {
		tag = tagReplayed
	}
	b := binary.LittleEndian.AppendUint64(append(w.body, tag), e.id)
	b = binary.AppendUvarint(b, uint64(e.at-bucket*1e6))
	w.body = binary.AppendUvarint(b, uint64(len(e.readings)))
	for n := range e.readings {
		w.name(n, e.readings[n].metric)
		w.body = binary.LittleEndian.AppendUint64(w.body, math.Float64bits(e.readings[n].value))
	}
	w.last = w.last[:len(e.readings)]
}

// name appends the number of a metric's name and, if the name is new, the name. n is the
// position in the event: most events of a batch have the same names at the same positions.
func (w *entryWriter) name(n int, name string) {
	if n < len(w.last) && w.names[w.last[n]] == name {
		w.body = binary.AppendUvarint(w.body, uint64(w.last[n]))
		return
	}
	i, known := w.index[name]
	if !known {
		i = len(w.names)
		w.index[name] = i
		w.names = append(w.names, name)
	}
	if w.body = binary.AppendUvarint(w.body, uint64(i)); !known {
		w.text(name)
	}
	w.last = append(w.last[:n], i)
}

// decodeEntry returns the windows of an entry.
func decodeEntry(b []byte) (windows []*Window, err error) {
	if len(b) == 0 || b[0] != entryVersion {
		return nil, fmt.Errorf("reading an entry: %w", errCorrupt)
	}
	d := decoder{b: b[1:]}
	var names []string
	var fleet string
	var w *Window
	for len(d.b) > 0 && !d.bad {
		switch tag := d.byte(); {
		case tag == tagFleet:
			fleet = d.text()
		case tag == tagWindow:
			w = &Window{Key: Key{fleet, d.text(), d.varint()}}
			w.events = w.first[:0:1]
			windows = append(windows, w)
			d.bad = d.bad || mod(w.Bucket, byMinute.Width) != 0
		case w != nil && (tag == tagEvent || tag == tagReplayed):
			e := sample{id: d.uint64(), replayed: tag == tagReplayed}
			offset, n := d.uvarint(), d.uvarint()
			if offset >= 60e6 || n > uint64(len(d.b)) {
				return nil, fmt.Errorf("reading an entry: %w", errCorrupt)
			}
			e.at = w.Bucket*1e6 + int64(offset)
			e.readings = make([]reading, n)
			for i := range e.readings {
				id := d.uvarint()
				if id == uint64(len(names)) {
					names = append(names, d.text())
				}
				if id >= uint64(len(names)) {
					return nil, fmt.Errorf("reading an entry: %w", errCorrupt)
				}
				e.readings[i] = reading{names[id], d.float()}
			}
			w.events = append(w.events, e)
		default:
			d.bad = true
		}
	}
	if d.bad {
		return nil, fmt.Errorf("reading an entry: %w", errCorrupt)
	}
	return windows, nil
}
