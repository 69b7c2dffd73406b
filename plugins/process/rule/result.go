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

// status says how far a result is to be believed.
type status string

// The statuses.
const (
	statusProvisional status = "provisional" // its window is still open
	statusFinal       status = "final"       // its window is closed
	statusRevised     status = "revised"     // its window was closed, and an event came that it allows for
	statusRetracted   status = "retracted"   // what was told is not so
)

// Result is what a rule says of a window. The same ID and Revision have the
// same JSON, whenever and however often they are made.
type Result struct {
	ID       string // of the rule, its epoch, the fleet, the key and the window
	Revision int64
	Rule     string
	Fleet    string
	Device   string
	End      int64 // of the window, in microseconds since 1970
	JSON     []byte
	steps    []byte // of a funnel's result that is told once: its values
}

// window is what a result is about. Its id is what it is known by: its end, the
// start of a session, the first offset of a count.
type window struct {
	id, start, end int64
	with           int64     // of a pair: what it is known by beside the id
	from           [2]string // the topics of its first and last event, when they are not the partition's
	status         status
}

// result makes one, if the rule has it told.
func (p *partition) result(op *operator, k *keyState, w window, of *pane) {
	if p.bare && k.form.having == nil {
		if p.owned(op, k, w) {
			p.ends = append(p.ends, ending{name: k.name, start: w.start, end: w.end})
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

// tellValues makes a result of the events of a pane that has values, if the rule
// has it told.
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

// owned tells whether a window is this operator's to tell, beside others of its rule.
func (p *partition) owned(op *operator, k *keyState, w window) bool {
	if !op.beside && len(op.turns) == 0 {
		return true
	}
	fleet, _, _ := strings.Cut(k.name, "\x00")
	return op.owns(fleet, w.start)
}

// keepsTold tells whether what is said of a window can be corrected.
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

// retract takes back what was told of a window; into is the session that has
// it now.
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

// begin makes what all results have.
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

// appendKey appends the key's values with their names: its JSON is an array.
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

// device is the key's device, which every key has.
func (op *operator) device(key string) string {
	raw, i := rawjson.Bytes(key), 1
	for _, part := range op.key {
		end, err := rawjson.Value(raw, i, 1)
		if err != nil { // it was written here
			break
		}
		if part.name == event.FieldDevice && raw[i] == '"' {
			if text := key[i+1 : end-1]; strings.IndexByte(text, '\\') < 0 {
				return text // as nearly all are
			}
			return string(rawjson.Unquote(raw[i+1 : end-1]))
		}
		i = end + 1
	}
	return ""
}

// idOf is a window's id. A rule that begins anew, and a log that is another one,
// make other ids: what they tell of the same window is not the same.
func (p *partition) idOf(op *operator, k *keyState, w window) string {
	var b [256]byte
	text := append(append(b[:0], op.Name...), 0)
	text = append(append(text, op.Epoch...), 0)
	text = append(append(text, k.name...), 0)
	text = append(strconv.AppendInt(append(append(text, p.origin...), 0), op.since, 10), 0)
	if text = strconv.AppendInt(text, w.id, 10); w.with != 0 {
		text = strconv.AppendInt(append(text, 0), w.with, 10)
	}
	if op.across { // each partition tells its part of the same key
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
