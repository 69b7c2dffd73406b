package privacy

import (
	"bytes"
	"slices"
	"strconv"

	"weir/internal/platform/pii"
	"weir/internal/platform/rawjson"
)

// stats are what one look at a string tells: enough to leave most of them alone.
type stats struct {
	flags  uint8
	digits int
	colons int
}

const (
	hasEscape = 1 << iota
	hasAt
	hasFold  // beyond ASCII, or an escape of URLs or HTML
	hasEqual // perhaps a query
	hasDot
)

// looks is what a byte tells of its string: flags, and, above them, what counts
// as a digit and as a colon.
var looks = func() (t [256]struct {
	flags  uint8
	digit  uint8
	colon  uint8
	closes bool
}) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9':
			t[c].digit = 1
		case c == ':':
			t[c].colon = 1
		case c == '@':
			t[c].flags = hasAt
		case c == '%', c == '&', c >= 0x80:
			t[c].flags = hasFold
		case c == '=':
			t[c].flags = hasEqual
		case c == '.':
			t[c].flags = hasDot
		case c == '"', c == '\\':
			t[c].closes = true
		}
	}
	return t
}()

// scan returns where the string ends whose quote is at i, and whether it does.
func (w *walker) scan(i int) (end int, closed bool, st stats) {
	b := w.b
	for i++; i < len(b); i++ {
		l := &looks[b[i]]
		if l.closes {
			if b[i] == '"' {
				return i + 1, true, st
			}
			st.flags |= hasEscape
			i++
			continue
		}
		st.flags |= l.flags
		st.digits += int(l.digit)
		st.colons += int(l.colon)
	}
	return len(b), false, st
}

// worth tells whether a string may hold personal data.
func (st stats) worth() bool {
	return st.flags&(hasEscape|hasAt|hasFold|hasEqual) != 0 || st.digits >= 7 || st.flags&hasDot != 0 && st.digits >= 4 ||
		st.colons >= 2
}

// value masks a string: its content is b[from:to], and all of it b[start:end].
func (w *walker) value(start, from, to, end int, st stats) {
	f := w.top()
	content := w.b[from:to]
	if len(content) == 0 {
		return
	}
	r := w.rule(f)
	if r != nil && r.action == actionKeep {
		return
	}
	if r != nil && !stands(content) {
		w.text.Fold(content, true)
		if len(bytes.TrimSpace(w.text.Folded)) > 0 {
			w.stand(start, end, r, w.text.Folded)
		}
		return
	}
	if r != nil || !st.worth() || ordinary(content) {
		return
	}
	masked, changed := w.content(content, st, f)
	if changed {
		w.again = true
		w.edits = append(w.edits, edit{from, to, string(masked)})
	}
}

// ordinary tells a UUID and a time of RFC 3339 by their shapes.
func ordinary(content []byte) bool {
	switch {
	case len(content) == 36 && content[8] == '-' && content[13] == '-':
		for i, c := range content {
			if c == '-' && (i == 8 || i == 13 || i == 18 || i == 23) || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' {
				continue
			}
			return false
		}
		return content[18] == '-' && content[23] == '-'
	case len(content) >= 20 && len(content) <= 35 && content[4] == '-' && content[7] == '-' && content[10]|0x20 == 't' &&
		content[13] == ':' && content[16] == ':':
		for i, c := range content {
			if c >= '0' && c <= '9' || i >= 19 && (c == '.' || c|0x20 == 'z' || c == '+' || c == '-' || c == ':') || i < 19 &&
				(c == '-' || c == ':' || i == 10) {
				continue
			}
			return false
		}
		return true
	}
	return false
}

// content masks what a string holds: a document of its own, or text.
func (w *walker) content(content []byte, st stats, f *frame) ([]byte, bool) {
	if f.place == placeDevice && f.member {
		return w.device(content)
	}
	if w.level < innermost {
		if document, ok := documentIn(content, st); ok {
			masked := w.within(w.nodeOf(f)).mask(document)
			w.collect()
			if len(masked) == len(document) && bytes.Equal(masked, document) {
				return nil, false
			}
			quoted := rawjson.AppendString(nil, rawjson.Alias(masked))
			return quoted[1 : len(quoted)-1], true
		}
	}
	if len(content) > cleanLongest {
		return w.replace(content, true, f.hint)
	}
	known := w.clean.of(content, f.hint)
	if w.clean.has(known) {
		return nil, false
	}
	masked, changed := w.replace(content, true, f.hint)
	if !changed {
		w.clean.add(known)
	}
	return masked, changed
}

// documentIn returns the JSON that a string holds.
func documentIn(content []byte, st stats) ([]byte, bool) {
	first := bytes.TrimLeft(content, ` `)
	if len(first) < 2 || first[0] != '{' && first[0] != '[' || st.flags&hasEscape == 0 {
		return nil, false
	}
	document := unescape(content)
	return document, bytes.IndexByte(document, '"') >= 0
}

// within is the walker of documents in strings.
func (w *walker) within(place *node) *walker {
	if w.inner == nil {
		w.inner = &walker{known: w.known, told: w.told, level: w.level + 1}
	}
	w.inner.p, w.inner.keys, w.inner.root = w.p, w.keys, place
	return w.inner
}

func (w *walker) collect() {
	for k, n := range w.inner.found {
		w.found[k] += n
	}
	w.inner.found = [kinds]int64{}
}

// device replaces a device_id that holds personal data as a whole: what stands
// for it is the device of all its events.
func (w *walker) device(content []byte) ([]byte, bool) {
	if stands(content) {
		return nil, false
	}
	w.text.Fold(content, true)
	w.spans = w.p.finder.Finds(w.text.Folded, pii.HintNone, w.spans[:0])
	for _, s := range w.spans {
		k := kindOf(s.Kind)
		if w.p.actions[k] == actionKeep {
			continue
		}
		w.find(k)
		return []byte(w.standIn(k, actionHash, w.text.Folded)), true
	}
	return nil, false
}

// replace masks text until nothing is found in it: what stands for one find may
// set free another. Escaped text is that of a JSON string.
func (w *walker) replace(raw []byte, escaped bool, hint pii.Hint) (out []byte, changed bool) {
	for pass := 0; ; pass++ {
		w.text.Fold(raw, escaped)
		folded := w.text.Folded
		places := w.queries(folded)
		if len(places) == 0 {
			w.spans = w.p.finder.Finds(folded, hint, w.spans[:0])
			for _, s := range w.spans {
				if k := kindOf(s.Kind); w.p.actions[k] != actionKeep {
					places = append(places, found{s.From, s.To, k})
				}
			}
		}
		if len(places) == 0 {
			return raw, changed
		}
		if pass == mostPasses {
			return []byte(kindField.mark()), true
		}
		next, at := make([]byte, 0, len(raw)+16*len(places)), 0
		for _, f := range places {
			from, to := w.text.Raw(f.from, f.to)
			next = append(append(next, raw[at:from]...), w.standIn(f.kind, w.p.actions[f.kind], folded[f.from:f.to])...)
			at = to
			w.find(f.kind)
		}
		raw, changed = append(next, raw[at:]...), true
	}
}

type found struct {
	from, to int
	kind     kind
}

// queries finds the values of personal names in URLs' queries and in what is
// written like them: ?email=…&password=….
func (w *walker) queries(text []byte) (all []found) {
	if !w.p.names {
		return nil
	}
	for at := bytes.IndexByte(text, '='); at >= 0; {
		from := at
		for from > 0 && at-from < longestName && nameByte(text[from-1]) {
			from--
		}
		to := at + 1
		if says := w.says(text[from:at]); says.is && w.p.actions[says.kind] != actionKeep {
			for to < len(text) && bytes.IndexByte([]byte("&;#,\"'<> \\"), text[to]) < 0 {
				to++
			}
			if to > at+1 && !stands(text[at+1:to]) {
				all = append(all, found{at + 1, to, says.kind})
			}
		}
		next := bytes.IndexByte(text[to:], '=')
		if next < 0 {
			break
		}
		at = to + next
	}
	return all
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
}

// stands tells whether a text is a mark or a token: what an earlier pass left.
func stands(text []byte) bool {
	if len(text) < 4 {
		return false
	}
	if text[0] == '[' {
		return slices.Contains(marks[:], string(text))
	}
	return pii.IsToken(text)
}

// rename masks the name of a member, and returns what it is then. Two members do
// not come to have one name.
func (w *walker) rename(raw []byte, i, end int) []byte {
	f := w.top()
	masked, changed := w.replace(raw, true, pii.HintNone)
	if !changed {
		return raw
	}
	w.again = true
	if f.names == nil {
		f.names = w.namesOf(f.open)
	}
	plain := string(unescape(masked))
	if plain == "" {
		plain = kindField.mark()
	}
	name := plain
	for n := 2; f.names[name]; n++ {
		name = plain + ":" + strconv.Itoa(n)
	}
	f.names[name] = true
	quoted := rawjson.AppendString(nil, name)
	w.edits = append(w.edits, edit{i, end, string(quoted)})
	return quoted[1 : len(quoted)-1]
}

// namesOf reads the names of an object whose members begin at i.
func (w *walker) namesOf(i int) map[string]bool {
	names := map[string]bool{}
	for i < len(w.b) && w.b[i] != '}' {
		if w.b[i] != '"' {
			i++
			continue
		}
		end, closed, _ := w.scan(i)
		if !closed {
			break
		}
		names[string(unescape(w.b[i+1:end-1]))] = true
		for i = end; i < len(w.b) && w.b[i] != ':' && w.b[i] != '}'; i++ {
		}
		if i < len(w.b) && w.b[i] == ':' {
			i = w.past(i + 1)
		}
	}
	return names
}

// unescape resolves the escapes of a JSON string, as far as they are some.
func unescape(content []byte) []byte {
	if bytes.IndexByte(content, '\\') < 0 {
		return content
	}
	quoted := append(append(append(make([]byte, 0, len(content)+2), '"'), content...), '"')
	if end, _, err := rawjson.String(quoted, 0); err == nil && end == len(quoted) {
		return rawjson.Unquote(content)
	}
	return content
}
