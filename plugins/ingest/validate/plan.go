package validate

import (
	"math/big"
	"regexp"
)

// A plan is a schema compiled for reading an event's bytes where they lie: a
// tree of nodes, each saying what one value must be. A plan may only accept.
// What it does not accept, it leaves to the library, which has the last word
// and writes the errors: so a plan must never accept what the library refuses,
// and may leave rare things (big numbers, escapes in keys) undecided.

// kind is a set of JSON types.
type kind uint8

const (
	kindNull kind = 1 << iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject

	kindAny = kindNull | kindBool | kindNumber | kindString | kindArray | kindObject
)

// node tells what one value must be. A nil *node accepts any value.
type node struct {
	kinds  kind
	number *numberRule
	text   *textRule
	object *objectRule
	array  *arrayRule
	enums  []*enumRule
	also   []*node // in-place subschemas ($ref with siblings, allOf): all must accept
	field  field   // a field of the event, which the walk notes, and checks by the event's own rules
}

// field is a part of the event that the walk notes as it passes.
type field uint8

const (
	fieldNone field = iota
	fieldID
	fieldDevice
	fieldFirmware
	fieldTimestamp
)

// numberRule bounds a number. Bounds are doubles; a reading that is equal to
// one in double arithmetic is decided only if both are short decimals.
type numberRule struct {
	integer    bool
	low, high  *bound
	multipleOf *decimal
}

type bound struct {
	value     float64
	short     bool // at most fifteen digits: its double stands for it alone
	exclusive bool
}

type textRule struct {
	minLength, maxLength int // in code points; -1: none
	uuid, dateTime       bool
	format               func(any) bool // any other format: the library's own
	class                *classRule     // a pattern of one repeated class of ASCII bytes
	pattern              *regexp.Regexp // any other pattern
}

// classRule is ^[class]{min,max}$.
type classRule struct {
	in       [256]bool
	min, max int // max -1: none
}

type enumRule struct {
	texts   map[string]bool
	numbers []*big.Rat
	null    bool
	bools   [2]bool
}

type objectRule struct {
	names      []name
	table      []uint8 // open addressing: 1 + index into names
	required   mask
	minNames   int // -1: none
	maxNames   int
	additional *node // for names that the schema does not declare
	closed     bool  // it allows no such name
	metrics    bool  // undeclared names are unknown metrics
	root       bool  // undeclared names are unknown fields
}

type name struct {
	text     string
	declared bool // false: only required, so additional applies to its value
	value    *node
}

type arrayRule struct {
	items    *node
	min, max int // -1: none
}

// mask is a set of indexes into names.
type mask [4]uint64

const maskSize = 256

func (m *mask) add(i int) (fresh bool) {
	bit := uint64(1) << (i & 63)
	fresh = m[i>>6]&bit == 0
	m[i>>6] |= bit
	return fresh
}

func (m *mask) has(all *mask) bool {
	return m[0]&all[0] == all[0] && m[1]&all[1] == all[1] && m[2]&all[2] == all[2] && m[3]&all[3] == all[3]
}

// find returns the index of a name, or -1.
func (r *objectRule) find(key []byte) int {
	if len(r.table) == 0 {
		return -1
	}
	for h := slot(key); ; h++ {
		n := r.table[h&uint32(len(r.table)-1)]
		if n == 0 {
			return -1
		}
		if r.names[n-1].text == string(key) {
			return int(n - 1)
		}
	}
}

func slot[T string | []byte](key T) uint32 {
	n := len(key)
	if n == 0 {
		return 0
	}
	h := uint32(key[0])*0x9E3779B1 ^ uint32(key[n-1])*0x85EBCA6B ^ uint32(key[n/2])*0xC2B2AE35 ^ uint32(n)*0x27D4EB2F
	return h ^ h>>15
}

// index builds the table over names, at most half full.
func (r *objectRule) index() {
	size := 4
	for size < 2*len(r.names) {
		size *= 2
	}
	if len(r.names) == 0 {
		return
	}
	r.table = make([]uint8, size)
	for i, n := range r.names {
		h := slot(n.text)
		for r.table[h&uint32(size-1)] != 0 {
			h++
		}
		r.table[h&uint32(size-1)] = uint8(i + 1)
	}
}
