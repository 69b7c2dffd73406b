package privacy

import (
	"bytes"

	"weir/internal/event"
	"weir/internal/platform/pii"
)

// walker takes personal data out of events. It reads bytes once, from left to
// right, and demands nothing of them: what is no JSON is refused later, and its
// bytes are kept as a dead letter. It is not safe for concurrent use.
type walker struct {
	p     *policy
	keys  *fleetKeys // nil without keys
	root  *node      // where rules for fields begin
	found [kinds]int64
	known map[string]named // names that were seen
	clean clean            // texts that were
	told  func(kind)       // nil, or called with each find while its place is open

	b      []byte
	frames []frame
	edits  []edit
	again  bool // something was changed within a text: that may have set free another find
	broken bool // it is no JSON: what it holds is text
	level  int  // JSON within a string of JSON …

	text  pii.Text
	spans []pii.Span
	inner *walker
}

// frame is an object or array that is open, or all of it.
type frame struct {
	object  bool
	metrics bool            // readings: numbers there are no personal data
	held    *rule           // what holds for all values within
	node    *node           // its place, as rules name places
	names   map[string]bool // of its members, once one was changed

	open      int  // where its first member may begin
	kept      int  // where the last member ends that stays; open when none did
	dropComma bool // the comma that comes next belongs to a member that went

	// the member whose value comes next
	named  [2]int // where its name is
	rule   *rule
	next   *node
	hint   pii.Hint
	place  place
	member bool
}

// place says what else is to be known of a value.
type place uint8

const (
	placeAny place = iota
	placeDevice
	placeMetrics
)

// edit replaces b[from:to].
type edit struct {
	from, to int
	text     string
}

// Bounds of what is kept of one event, whatever it is.
const (
	deepest    = 1024    // levels with a frame of their own; those below share the last
	innermost  = 4       // JSON in strings of JSON
	mostNames  = 4096    // names of fields that are remembered
	mostBuffer = 1 << 20 // of memory that is kept for the next event
)

// mask returns the event without personal data: the same bytes when there is
// none, else a copy. It goes over what it changed within texts until nothing changes,
// and so a later pass changes nothing either: what stands for one find may set free
// another. Where whole values went alone, there is nothing left of them to find.
func (w *walker) mask(b []byte) []byte {
	defer w.rest()
	for range mostPasses {
		w.walk(b)
		if len(w.edits) == 0 && !w.broken {
			return b
		}
		changed := len(w.edits) > 0
		if changed {
			if b = w.apply(); !w.again && !w.broken {
				return b
			}
		}
		if w.broken {
			w.frames = w.frames[:1] // it has no places
			masked, did := w.replace(b, true, pii.HintNone)
			b, changed = masked, changed || did
		}
		if !changed {
			return b
		}
	}
	w.find(kindField)
	return []byte(`"` + kindField.mark() + `"`)
}

// mostPasses is how often one text is gone over. One that still holds something
// was made to, and is masked as a whole.
const mostPasses = 16

// find counts what was found.
func (w *walker) find(k kind) {
	w.found[k]++
	if w.told != nil {
		w.told(k)
	}
}

func (w *walker) walk(b []byte) {
	w.b, w.broken, w.again = b, false, false
	w.edits = w.edits[:0]
	w.frames = append(w.frames[:0], frame{node: w.root})
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			i = w.string(i)
		case c == '{', c == '[':
			i = w.enter(i)
		case c == '}', c == ']':
			w.leave(i)
			i++
		case c == ',':
			i = w.comma(i)
		case c == ':', c == ' ', c == '\n', c == '\t', c == '\r':
			i++
		case c == '-', c >= '0' && c <= '9':
			i = w.number(i)
		default:
			i = w.word(i)
		}
	}
	if len(w.frames) != 1 {
		w.broken = true
	}
}

func (w *walker) top() *frame { return &w.frames[len(w.frames)-1] }

// enter opens an object or an array.
func (w *walker) enter(i int) int {
	f := w.top()
	r := w.rule(f)
	if r != nil && r.action == actionKeep {
		return w.keep(i)
	}
	if len(w.frames) >= deepest {
		w.broken = true // rawjson refuses it long before
		f.member = false
		return i + 1
	}
	next := frame{object: w.b[i] == '{', held: r, node: w.nodeOf(f), open: i + 1, kept: i + 1}
	next.metrics = f.place == placeMetrics && f.member
	if f.member {
		next.hint = f.hint
	}
	w.frames = append(w.frames, next)
	return i + 1
}

// nodeOf is the place of the value that comes next in a frame.
func (w *walker) nodeOf(f *frame) *node {
	switch {
	case f.member:
		return f.next
	case f.open == 0: // the event itself
		return f.node
	}
	return f.node.at("*")
}

// leave closes one.
func (w *walker) leave(i int) {
	if len(w.frames) == 1 {
		w.broken = true
		return
	}
	if f := w.top(); f.object != (w.b[i] == '}') {
		w.broken = true
	}
	w.frames = w.frames[:len(w.frames)-1]
	w.done(i + 1)
}

// done notes that a value of the frame has ended.
func (w *walker) done(end int) {
	f := w.top()
	f.kept, f.dropComma = end, false
	f.rule, f.next, f.place, f.member = nil, nil, placeAny, false
	if f.object {
		f.hint = pii.HintNone
	}
}

func (w *walker) comma(i int) int {
	f := w.top()
	if !f.dropComma {
		return i + 1
	}
	f.dropComma = false
	for i++; i < len(w.b) && (w.b[i] == ' ' || w.b[i] == '\n' || w.b[i] == '\t' || w.b[i] == '\r'); i++ {
	}
	w.edits[len(w.edits)-1].to = i
	return i
}

// string reads a name or a value.
func (w *walker) string(i int) int {
	end, closed, st := w.scan(i)
	if !closed {
		w.broken = true
	}
	f := w.top()
	if closed && !f.member {
		k := end
		for k < len(w.b) && (w.b[k] == ' ' || w.b[k] == '\n' || w.b[k] == '\t' || w.b[k] == '\r') {
			k++
		}
		if k < len(w.b) && w.b[k] == ':' { // in an array, too, where levels were too many
			w.broken = w.broken || !f.object
			return w.name(i, end, k+1, st)
		}
		w.broken = w.broken || f.object
	}
	content := end
	if closed {
		content--
	}
	w.value(i, i+1, content, end, st)
	w.done(end)
	return end
}

// name takes in the name of a member, and returns where to go on: at its value,
// or behind it when it goes.
func (w *walker) name(i, end, value int, st stats) int {
	f := w.top()
	before := len(w.edits)
	raw := w.b[i+1 : end-1]
	if st.worth() {
		raw = w.rename(raw, i, end)
	}
	says := w.says(raw)
	f.member, f.named, f.hint, f.next = true, [2]int{i + 1, end - 1}, says.hint, nil
	if f.node != nil {
		f.next = f.node.at(string(unescape(raw)))
	}
	if len(w.frames) == 2 && w.level == 0 {
		f.place = placeOf(raw)
	}
	switch {
	case f.next != nil && f.next.rule != nil:
		f.rule = f.next.rule
	case f.held != nil:
		f.rule = f.held
	case says.is && w.p.names && f.place == placeAny:
		f.rule = &byName[says.kind][w.p.actions[says.kind]]
	}
	if f.rule != nil {
		switch f.rule.action {
		case actionDrop:
			w.edits = w.edits[:before]
			return w.drop(value)
		case actionKeep:
			if f.rule.explicit {
				return w.keep(value)
			}
			f.rule = nil
		}
	}
	return value
}

// byName are the rules that names of fields make, so that none is made for an
// event.
var byName = func() (all [kinds][5]rule) {
	for k := range all {
		for a := range all[k] {
			all[k][a] = rule{kind: kind(k), action: action(a)}
		}
	}
	return all
}()

func placeOf(name []byte) place {
	switch string(name) {
	case event.FieldDevice:
		return placeDevice
	case event.FieldMetrics:
		return placeMetrics
	}
	return placeAny
}

// says looks a name up.
func (w *walker) says(raw []byte) named {
	if len(raw) > longestName {
		return named{}
	}
	says, ok := w.known[string(raw)]
	if !ok {
		says = nameSays(raw)
		if len(w.known) >= mostNames {
			clear(w.known)
		}
		w.known[string(raw)] = says
	}
	return says
}

// drop takes a member out, with the comma that it needs no more.
func (w *walker) drop(value int) int {
	f := w.top()
	end := w.past(value)
	w.find(f.rule.kind)
	first := f.kept == f.open
	if n := len(w.edits); n > 0 && w.edits[n-1].from == f.kept && w.edits[n-1].text == "" {
		w.edits[n-1].to = end
	} else {
		w.edits = append(w.edits, edit{f.kept, end, ""})
	}
	f.rule, f.next, f.place, f.member, f.hint = nil, nil, placeAny, false, pii.HintNone
	f.dropComma = first
	return end
}

// keep steps over a value that is to stay as it is.
func (w *walker) keep(value int) int {
	end := w.past(value)
	w.done(end)
	return end
}

// past returns where the value ends that begins at or after i.
func (w *walker) past(i int) int {
	for i < len(w.b) && (w.b[i] == ' ' || w.b[i] == '\n' || w.b[i] == '\t' || w.b[i] == '\r') {
		i++
	}
	depth := 0
	for i < len(w.b) {
		switch c := w.b[i]; c {
		case '"':
			i, _, _ = w.scan(i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // nothing was there
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

// apply makes the event that the edits leave.
func (w *walker) apply() []byte {
	size := len(w.b)
	for i := range w.edits {
		size += len(w.edits[i].text)
	}
	out, at := make([]byte, 0, size), 0
	for _, e := range w.edits {
		out = append(append(out, w.b[at:e.from]...), e.text...)
		at = e.to
	}
	return append(out, w.b[at:]...)
}

// rest lets go of the event, and of memory that few events need.
func (w *walker) rest() {
	clear(w.frames)
	clear(w.edits)
	w.b, w.frames = nil, w.frames[:0]
	if cap(w.spans)+cap(w.edits)+cap(w.frames) > mostBuffer/64 {
		w.spans, w.edits, w.frames = nil, nil, nil
	}
	if w.text.Size() > mostBuffer {
		w.text = pii.Text{}
	}
	w.text.Folded = nil
}

// word reads a literal, or what is no JSON.
func (w *walker) word(i int) int {
	end := i
	for end < len(w.b) && w.b[end] >= 'a' && w.b[end] <= 'z' {
		end++
	}
	switch string(w.b[i:end]) {
	case "true", "false":
		if f := w.top(); w.rule(f) != nil && w.rule(f).explicit {
			w.stand(i, end, w.rule(f), w.b[i:end])
		}
	case "null":
	default:
		w.broken = true
		end = max(end, i+1)
		return end
	}
	w.done(end)
	return end
}

// rule is what holds for the value that comes next in a frame.
func (w *walker) rule(f *frame) *rule {
	if f.member {
		return f.rule
	}
	if n := w.nodeOf(f); n != nil && n.rule != nil {
		return n.rule
	}
	return f.held
}

// number reads a number. One that goes is written as a string.
func (w *walker) number(i int) int {
	end, digits, whole := i, 0, true
	for ; end < len(w.b); end++ {
		c := w.b[end]
		if c >= '0' && c <= '9' {
			digits++
			continue
		}
		if c == '.' || c|0x20 == 'e' {
			whole = false
		} else if c != '-' && c != '+' {
			break
		}
	}
	f := w.top()
	raw := w.b[i:end]
	switch r := w.rule(f); {
	case r != nil && r.action == actionKeep:
	case r != nil && (r.explicit || !f.metrics && (r.kind > kindSSN || whole && digits >= 7)):
		w.stand(i, end, r, raw)
	case whole && digits >= 13 && digits <= 19 && !f.metrics && raw[0] != '-':
		w.spans = w.p.finder.Finds(raw, f.hint, w.spans[:0])
		if len(w.spans) == 1 && w.spans[0].Kind == pii.Card && w.p.actions[kindCard] != actionKeep {
			w.stand(i, end, &byName[kindCard][w.p.actions[kindCard]], raw)
		}
	}
	w.done(end)
	return end
}

// stand puts what stands for a value into its place, as a string.
func (w *walker) stand(from, to int, r *rule, folded []byte) {
	text := `"` + w.standIn(r.kind, r.action, folded) + `"`
	if r.action == actionDrop { // an element, whose neighbours stay where they are
		text = "null"
	}
	if string(w.b[from:to]) == text {
		return
	}
	w.find(r.kind)
	w.edits = append(w.edits, edit{from, to, text})
}

// standIn is what stands for a value.
func (w *walker) standIn(k kind, a action, folded []byte) string {
	switch {
	case a == actionDrop:
		return ""
	case w.keys == nil || !a.keyed():
		return k.mark()
	case a == actionTokenise:
		return w.keys.sealed(k, bytes.TrimSpace(folded))
	}
	return w.keys.hashed(k, canonical(k, folded))
}
