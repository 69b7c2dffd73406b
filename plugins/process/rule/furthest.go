package rule

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"weir/internal/platform/rawjson"
)

// funnelPrefix begins the names of rules that are funnels.
const funnelPrefix = "funnel_"

// IsFunnel tells by the name of a rule whether it is a funnel. The values of a funnel's results are its steps in order:
// a step that was not made, and all after it, are null.
func IsFunnel(rule string) bool { return strings.HasPrefix(rule, funnelPrefix) }

// FunnelSteps reads the values of a funnel's result, a JSON object. names are the names of its steps in order, without
// the first known of them; made is the number of steps before the first that is null.
func FunnelSteps(values []byte, known int) (names []string, made int, err error) {
	open, n := true, 0
	_, err = rawjson.Object(values, 0, 0, func(name []byte, plain bool, i int) (int, error) {
		if n++; n > known {
			if !plain {
				name = rawjson.Unquote(name)
			}
			names = append(names, string(name))
		}
		if open = open && values[i] != 'n'; open { // null
			made++
		}
		return rawjson.Value(values, i, 1)
	})
	return names, made, err
}

// Furthest counts how far devices came in a funnel: each device once, at the furthest step that it made. It has
// sketches of hashes, not device names, so nothing can be removed from it. Adding and merging are commutative and,
// except for Entries, idempotent.
type Furthest struct {
	Entries int64 // the number of results; a device may have several

	names []string   // of the steps
	none  distinct   // devices of results without any step
	made  []distinct // by step: devices that made it and all steps before
}

// FurthestStep is a step, and how many devices made it.
type FurthestStep struct {
	Name    string
	Devices int64
}

// add adds a result of a device; values are its steps, a JSON object.
func (f *Furthest) add(device string, values []byte) error {
	more, made, err := FunnelSteps(values, len(f.names))
	if err != nil {
		return fmt.Errorf("reading the steps of a funnel: %w", err)
	}
	f.name(more)
	hash := xxhash.Sum64String(device)
	if made == 0 {
		f.none.addHash(hash)
	}
	for i := range made {
		f.made[i].addHash(hash)
	}
	f.Entries++
	return nil
}

// name appends steps.
func (f *Furthest) name(more []string) {
	f.names = append(f.names, more...)
	f.made = append(f.made, make([]distinct, len(more))...)
}

// merge adds another sum, which it does not change.
func (f *Furthest) merge(o *Furthest) {
	f.Entries += o.Entries
	if n := len(f.names); n < len(o.names) {
		f.name(o.names[n:])
	}
	f.none.merge(&o.none)
	for i := range o.made {
		f.made[i].merge(&o.made[i])
	}
}

// Exact tells whether the numbers of devices are exact: up to 256 devices are counted, more are estimated with the
// standard error UniquesError.
func (f *Furthest) Exact() bool {
	return f.none.regs == nil && !slices.ContainsFunc(f.made, func(d distinct) bool { return d.regs != nil })
}

// Devices returns how many devices began, and how many made each step. An estimate that exceeds the number of the
// previous step is lowered to that number.
func (f *Furthest) Devices() (began int64, steps []FurthestStep) {
	var all distinct
	all.merge(&f.none)
	if len(f.made) > 0 {
		all.merge(&f.made[0])
	}
	began = all.count()
	before := began
	for i, name := range f.names {
		before = min(before, f.made[i].count())
		steps = append(steps, FurthestStep{name, before})
	}
	return began, steps
}

// furthestVersion is the version of the format of sums in the store, its first byte.
const furthestVersion = 1

// append appends the sum without Entries, which has a column of its own: a version, the set none, the number of steps,
// and of each step its name and set.
func (f *Furthest) append(b []byte) []byte {
	b = f.none.append(append(b, furthestVersion))
	b = binary.AppendUvarint(b, uint64(len(f.names)))
	for i, name := range f.names {
		b = f.made[i].append(appendText(b, name))
	}
	return b
}

// decodeFurthest reads a sum; Entries is 0. The error is errDamaged if it cannot.
func decodeFurthest(b []byte) (*Furthest, error) {
	d := &decoder{b: b}
	version, f := d.byte(), &Furthest{none: d.distinct()}
	n := d.length(2)
	for range n {
		f.names = append(f.names, d.text())
		f.made = append(f.made, d.distinct())
	}
	if version != furthestVersion || d.bad || len(d.b) > 0 {
		return nil, fmt.Errorf("reading the sums of a funnel: %w", errDamaged)
	}
	return f, nil
}

// append appends the set: 0, the number of hashes and each as 8 bytes, little-endian; or 1 and the registers of the
// HyperLogLog, a byte each.
func (d *distinct) append(b []byte) []byte {
	if d.regs != nil {
		return append(append(b, 1), d.regs...)
	}
	b = binary.AppendUvarint(append(b, 0), uint64(len(d.few)))
	for _, h := range d.few {
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	return b
}

func (d *decoder) distinct() (set distinct) {
	switch d.byte() {
	case 0:
		set.few = make([]uint64, d.length(8))
		for i := range set.few {
			set.few[i] = binary.LittleEndian.Uint64(d.take(8))
		}
	case 1:
		set.regs = slices.Clone(d.take(registers))
	default:
		d.bad = true
	}
	return set
}
