package quality

import (
	"bytes"
	"slices"
	"strings"

	"weir/internal/event"
	"weir/internal/platform/pii"
	"weir/internal/platform/rawjson"
)

const (
	depthMost  = 5    // names of a pointer: /user/address/geo/lat has four
	placesMost = 4000 // pointers that a look remembers
	// someName stands for names that are personal data themselves.
	someName = "*"
)

// look is how a profile sees events: what it may not keep, and where it has been.
type look struct {
	into   *Profile
	hidden func(pointer string) bool // of which fields no value is kept; nil: none
	finder *pii.Finder
	known  map[string]place // by the pointer as it was sent
	path   []byte
}

// place is what is known of a pointer. One that is not among those kept has a field
// that nobody reads.
type place struct {
	field  *Field
	hidden bool
}

// newLook makes one. Fields that hidden tells of, by their pointers, are counted, and
// nothing of their values is kept; so are those whose names are personal data
// themselves, under a name that is none.
func newLook(into *Profile, hidden func(pointer string) bool) (*look, error) {
	finder, err := pii.New(nil)
	if err != nil {
		return nil, err
	}
	return &look{into: into, hidden: hidden, finder: finder, known: map[string]place{}}, nil
}

// Add adds an event to the profile.
func (l *look) Add(e *sample) {
	p := l.into
	p.Events++
	if event.HasFlag(e.Flags, event.FlagLate) {
		p.Late++
	}
	if event.HasFlag(e.Flags, event.FlagClockAhead) {
		p.Ahead++
	}
	if e.Unknown != "" {
		p.Unknown++
	}
	l.path = append(l.path[:0], "/"+event.FieldMetrics...)
	for _, m := range e.Metrics {
		if at, ok := l.at(rawjson.Bytes(m.Name)); ok {
			at.field.number(m.Value, at.hidden)
		}
	}
	l.path = l.path[:0]
	if at, ok := l.at([]byte(event.FieldFirmware)); ok {
		at.field.text(e.Firmware, at.hidden)
	}
	l.path = append(l.path[:0], "/"+event.FieldDiagnostics...)
	l.members(e.Diagnostics, 0)
	l.path = l.path[:0]
	l.members(e.Extra, 0)
}

// members adds those of a JSON object, and of the objects within. What is no JSON was
// refused before it was stored, and ends the look.
func (l *look) members(object []byte, depth int) {
	if len(object) == 0 {
		return
	}
	_, _ = rawjson.Object(object, 0, depth, func(key []byte, plain bool, i int) (int, error) {
		end, err := rawjson.Value(object, i, depth+1)
		if err != nil {
			return end, err
		}
		if !plain {
			key = rawjson.Unquote(key)
		}
		under := len(l.path)
		if at, ok := l.at(key); ok {
			value := object[i:end]
			at.field.value(value, at.hidden)
			if value[0] == '{' {
				l.path = appendName(l.path, key)
				l.members(value, depth+1)
			}
		}
		l.path = l.path[:under]
		return end, nil
	})
}

// at returns the place of a name below the path.
func (l *look) at(name []byte) (place, bool) {
	under := len(l.path)
	l.path = appendName(l.path, name)
	pointer := l.path
	l.path = l.path[:under]
	if len(pointer) > pathMost || bytes.Count(pointer, []byte("/")) > depthMost {
		l.into.More = true
		return place{}, false
	}
	if at, ok := l.known[string(pointer)]; ok {
		return at, true
	}
	if len(l.known) == placesMost {
		clear(l.known)
	}
	at := l.find(string(pointer))
	l.known[string(pointer)] = at
	return at, true
}

func (l *look) find(pointer string) place {
	names := strings.Split(pointer, "/")
	personal := false
	for i, name := range names {
		if l.personal(name) {
			names[i], personal = someName, true
		}
	}
	at := place{hidden: personal || l.hidden != nil && l.hidden(pointer)}
	if at.field = l.into.field(strings.Join(names, "/")); at.field == nil {
		at.field = &Field{}
	}
	return at
}

// personal tells whether a name holds personal data.
func (l *look) personal(name string) bool {
	var text pii.Text
	text.Fold([]byte(name), false)
	return len(l.finder.Finds(text.Folded, pii.HintNone, nil)) > 0
}

// appendName appends a name to a JSON pointer.
func appendName(pointer, name []byte) []byte {
	pointer = append(pointer, '/')
	if !slices.ContainsFunc(name, func(c byte) bool { return c == '~' || c == '/' }) {
		return append(pointer, name...)
	}
	return append(pointer, event.EscapePointer(string(name))...)
}
