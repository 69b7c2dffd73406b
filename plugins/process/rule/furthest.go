package rule

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"weir/internal/platform/rawjson"
)

// funnelPrefix begins the names of rules whose values are the steps of a funnel.
const funnelPrefix = "funnel_"

// IsFunnel tells by the name of a rule whether its values are the steps of a funnel:
// null from the first on that was not made.
func IsFunnel(rule string) bool { return strings.HasPrefix(rule, funnelPrefix) }

// FunnelSteps are the names of the values of a result in their order, those behind the
// first known, and how many of the first were made: are not null.
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

// Furthest adds up how far devices came in a funnel, each counted once, as far as it
// came. It holds sketches of hashes and no device: what is added cannot be taken out
// again. Adding results and adding up sums is commutative, and what is added twice
// counts twice in Entries alone.
type Furthest struct {
	Entries int64 // a device may begin more than once

	names []string   // of the steps
	none  distinct   // devices that made no step
	made  []distinct // by step: devices that made it, and all before it
}

// FurthestStep is how many devices made a step.
type FurthestStep struct {
	Name    string
	Devices int64
}

// add takes in a result of a device, by its values.
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

// name has more steps behind those that it has.
func (f *Furthest) name(more []string) {
	f.names = append(f.names, more...)
	f.made = append(f.made, make([]distinct, len(more))...)
}

// merge adds another sum, which stays as it is.
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

// Exact tells whether the counts are: up to 256 devices are counted, more estimated with
// the standard error UniquesError.
func (f *Furthest) Exact() bool {
	return f.none.regs == nil && !slices.ContainsFunc(f.made, func(d distinct) bool { return d.regs != nil })
}

// Devices are how many began, and how many made each step: no more than made the one
// before, as it is.
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

// furthestVersion is that of the format of sums in the store.
const furthestVersion = 1

// append writes the steps: Entries are beside.
func (f *Furthest) append(b []byte) []byte {
	b = f.none.append(append(b, furthestVersion))
	b = binary.AppendUvarint(b, uint64(len(f.names)))
	for i, name := range f.names {
		b = f.made[i].append(appendText(b, name))
	}
	return b
}

// decodeFurthest reads what append wrote.
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

// append writes the set: its hashes, or a HyperLogLog.
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
