package rule

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
)

// status says whether a result can still change.
type status string

// The statuses.
const (
	statusProvisional status = "provisional" // its window is still open
	statusFinal       status = "final"       // its window is closed
	statusRevised     status = "revised"     // an event came after its window was closed, within the allowed lateness
	statusRetracted   status = "retracted"   // the result with this id is withdrawn
)

// Result is a result of a rule for a window, a match or a pair. The same ID and Revision always have the same JSON,
// however often they are computed.
type Result struct {
	ID       string // a hash of the rule, its epoch, the fleet, the key and the window; see idOf
	Revision int64
	Rule     string
	Fleet    string
	Device   string
	End      int64 // of the window, in microseconds since 1970
	JSON     []byte
	steps    []byte // of a funnel's result, which is emitted once: its values
}

// window is what a result is about. Its id tells it from others of the key: the end of a grid window, the start of a
// session, the lowest offset of a count window, the offset of the first event of a match, of the left event of a
// pair, or of an event without a partner.
type window struct {
	id, start, end int64
	with           int64     // of a join: what else identifies it, the right offset + 1 of a pair
	from           [2]string // the topics of its first and last event; "": the partition's
	status         status
}

// result emits a result of the events of a pane, unless the rule's having is false or another operator owns the
// window.
func (p *partition) result(op *operator, k *keyState, w window, of *pane) {
	if p.bare && k.form.having == nil {
		if p.owned(op, k, w) {
			p.ends = append(p.ends, ending{name: &k.name, start: w.start, end: w.end})
		}
		return
	}
	values := []byte{'{'}
	for i := range op.values {
		if i > 0 {
			values = append(values, ',')
		}
		values = append(rawjson.AppendString(values, op.values[i].name), ':')
		values = op.values[i].appendValue(values, of)
	}
	p.tellValues(op, k, w, of, append(values, '}'))
}

// tellValues emits a result with these values, a JSON object, on the same conditions as result. If having is false
// and an earlier revision was emitted, that one is retracted.
func (p *partition) tellValues(op *operator, k *keyState, w window, of *pane, values []byte) {
	if !p.owned(op, k, w) {
		return
	}
	told := k.toldOf(w.id)
	if k.form.having != nil {
		if yes, err := k.form.having.true(k.form.reader, values); err != nil || !yes {
			if told != nil && !told.retracted {
				p.retract(op, k, *told, math.MinInt64)
				told.revision, told.retracted = told.revision+1, true
			}
			return
		}
	}
	revision := int64(0)
	if told != nil {
		if revision = told.revision; w.status == statusFinal && told.final {
			w.status = statusRevised
		}
	}
	r := p.begin(op, k, w, revision)
	r.End = w.end
	r.JSON = appendTime(append(r.JSON, `,"window_start":`...), w.start)
	r.JSON = appendTime(append(r.JSON, `,"window_end":`...), w.end)
	r.JSON = strconv.AppendInt(append(r.JSON, `,"count":`...), of.n, 10)
	r.JSON = p.appendPlace(append(r.JSON, `,"first":"`...), w.from[0], of.first)
	r.JSON = p.appendPlace(append(r.JSON, `","last":"`...), w.from[1], of.last)
	r.JSON = append(append(append(append(r.JSON, `","values":`...), values...), k.form.also...), '}')
	if op.pattern != nil && w.status == statusFinal && revision == 0 && IsFunnel(op.Name) {
		r.steps = values
	}
	p.out = append(p.out, r)
	k.tell(w, revision, op.keepsTold(w.status))
}

// owned reports whether this operator emits a window, and not another one of the same rule.
func (p *partition) owned(op *operator, k *keyState, w window) bool {
	if !op.beside && len(op.turns) == 0 {
		return true
	}
	fleet, _, _ := strings.Cut(k.name, "\x00")
	return op.owns(fleet, w.start)
}

// keepsTold reports whether a result with a status may be followed by another revision.
func (op *operator) keepsTold(s status) bool {
	return s == statusProvisional || op.window != nil && op.window.lateness > 0
}

func (k *keyState) toldOf(id int64) *told {
	for i := range k.told {
		if k.told[i].window == id {
			return &k.told[i]
		}
	}
	return nil
}

func (k *keyState) tell(w window, revision int64, keep bool) {
	t := told{window: w.id, end: w.end, revision: revision + 1, final: w.status != statusProvisional}
	if have := k.toldOf(w.id); have != nil {
		*have = t
	} else if keep {
		i, _ := slices.BinarySearchFunc(k.told, w.id, func(t told, id int64) int {
			if t.window < id {
				return -1
			}
			return 1
		})
		k.told = slices.Insert(k.told, i, t)
	}
}

// retract emits the retraction of a result. into is the start of the session that has its events now, math.MinInt64
// for none.
func (p *partition) retract(op *operator, k *keyState, t told, into int64) {
	r := p.begin(op, k, window{id: t.window, status: statusRetracted}, t.revision)
	r.End = t.end
	if into != math.MinInt64 {
		r.JSON = append(r.JSON, `,"merged_into":"`...)
		r.JSON = append(append(r.JSON, p.idOf(op, k, window{id: into})...), '"')
	}
	r.JSON = append(append(r.JSON, k.form.also...), '}')
	p.out = append(p.out, r)
}

// begin returns a result with the members that all results have.
func (p *partition) begin(op *operator, k *keyState, w window, revision int64) Result {
	fleet, key, _ := strings.Cut(k.name, "\x00")
	r := Result{ID: p.idOf(op, k, w), Revision: revision, Rule: op.Name, Fleet: fleet, Device: op.device(key)}
	b := append(make([]byte, 0, 512), `{"id":"`...)
	b = append(append(b, r.ID...), `","revision":`...)
	b = append(strconv.AppendInt(b, revision, 10), `,"status":"`...)
	b = append(append(b, w.status...), `","rule":"`...)
	b = append(append(b, op.Name...), `","version":"`...)
	b = append(append(b, k.form.version...), `","fleet":`...)
	b = append(rawjson.AppendString(b, fleet), `,"key":`...)
	r.JSON = op.appendKey(b, key)
	return r
}

// appendKey appends the key as a JSON object: its values, which key has as an array, by their names.
func (op *operator) appendKey(b []byte, key string) []byte {
	b = append(b, '{')
	raw, i := rawjson.Bytes(key), 1
	for n, part := range op.key {
		end, err := rawjson.Value(raw, i, 1)
		if err != nil { // it was written here
			break
		}
		if n > 0 {
			b = append(b, ',')
		}
		b = append(rawjson.AppendString(b, part.name), ':')
		b = append(b, raw[i:end]...)
		i = end + 1
	}
	return append(b, '}')
}

// device returns the device of a key, "" in a rule that counts across devices.
func (op *operator) device(key string) string {
	raw, i := rawjson.Bytes(key), 1
	for _, part := range op.key {
		end, err := rawjson.Value(raw, i, 1)
		if err != nil { // it was written here
			break
		}
		if part.name == event.FieldDevice && raw[i] == '"' {
			if text := key[i+1 : end-1]; strings.IndexByte(text, '\\') < 0 {
				return text // nearly all ids: nothing to unescape
			}
			return string(rawjson.Unquote(raw[i+1 : end-1]))
		}
		i = end + 1
	}
	return ""
}

// idOf returns the id of a window's results. It depends on the log and on the offset at which the rule began, so a
// rule that begins anew and a topic that was made anew use other ids for the same window: their results differ.
func (p *partition) idOf(op *operator, k *keyState, w window) string {
	var b [256]byte
	text := append(append(b[:0], op.Name...), 0)
	text = append(append(text, op.Epoch...), 0)
	text = append(append(text, k.name...), 0)
	text = append(strconv.AppendInt(append(append(text, p.origin...), 0), op.since, 10), 0)
	if text = strconv.AppendInt(text, w.id, 10); w.with != 0 {
		text = strconv.AppendInt(append(text, 0), w.with, 10)
	}
	if op.across { // each partition emits its part under the same key
		text = strconv.AppendInt(append(text, "\x00part\x00"...), int64(p.number), 10)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

func appendTime(b []byte, t int64) []byte {
	b = append(b, '"')
	return append(time.UnixMicro(t).UTC().AppendFormat(b, event.TimeFormat), '"')
}

func (p *partition) appendPlace(b []byte, topic string, offset int64) []byte {
	if topic == "" {
		topic = p.topic
	}
	return event.Coordinates{Topic: topic, Partition: p.number, Offset: offset}.Append(b)
}
