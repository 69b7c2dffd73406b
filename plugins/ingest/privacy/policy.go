package privacy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/internal/event"
	"weir/internal/platform/pii"
)

// policy is what becomes of personal data. It does not change.
type policy struct {
	finder  *pii.Finder
	actions [kinds]action
	keys    *keyring
	fields  *node // those of the config
	says    map[string]string
	names   bool // names of fields count
}

// node is a place in an event, as rules name places.
type node struct {
	rule  *rule
	below map[string]*node
	any   *node // "*": each member or element
}

// at returns the place below n, which may be nil.
func (n *node) at(name string) *node {
	if n == nil {
		return nil
	}
	if m := n.below[name]; m != nil {
		return m
	}
	return n.any
}

// add puts a rule at a JSON pointer, in which * stands for any member or element.
// Of two at one place the stricter stays.
func (n *node) add(pointer string, r *rule) error {
	if !strings.HasPrefix(pointer, "/") {
		return fmt.Errorf("%q is no JSON pointer: expected one such as /context/ip", pointer)
	}
	for _, part := range strings.Split(pointer[1:], "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		next := n.below[part]
		if part == "*" {
			next = n.any
		}
		if next == nil {
			next = &node{}
			if part == "*" {
				n.any = next
			} else {
				if n.below == nil {
					n.below = map[string]*node{}
				}
				n.below[part] = next
			}
		}
		n = next
	}
	if n.rule == nil || strictness(r.action) > strictness(n.rule.action) {
		n.rule = r
	}
	return nil
}

// spread has what holds for each member or element hold also for those that have
// a place of their own, where they say nothing themselves. It is done once, when
// all rules are there.
func (n *node) spread() {
	for _, below := range n.below {
		below.under(n.any)
	}
	for _, below := range n.below {
		below.spread()
	}
	if n.any != nil {
		n.any.spread()
	}
}

// under adds what a place says that is n's, too.
func (n *node) under(any *node) {
	if any == nil {
		return
	}
	if n.rule == nil {
		n.rule = any.rule
	}
	for name, below := range any.below {
		mine := n.below[name]
		if mine == nil {
			mine = &node{}
			if n.below == nil {
				n.below = map[string]*node{}
			}
			n.below[name] = mine
		}
		mine.under(below)
	}
	if any.any != nil {
		if n.any == nil {
			n.any = &node{}
		}
		n.any.under(any.any)
	}
}

func strictness(a action) int {
	return slices.Index([]action{actionKeep, actionTokenise, actionHash, actionMask, actionDrop}, a)
}

// into adds what the config says of fields.
func (p *policy) into(root *node) error {
	for _, pointer := range slices.Sorted(maps.Keys(p.says)) {
		r, err := p.parseRule(p.says[pointer])
		if err == nil {
			err = root.add(pointer, r)
		}
		if err != nil {
			return fmt.Errorf("field %s: %w", pointer, err)
		}
		if identity(pointer) && r.action == actionDrop {
			return fmt.Errorf("field %s: an event without it is none: hash it, or keep it", pointer)
		}
	}
	return nil
}

// identity tells whether an event is none without a field.
func identity(pointer string) bool {
	switch strings.TrimPrefix(pointer, "/") {
	case event.FieldID, event.FieldDevice, event.FieldFirmware, event.FieldTimestamp, event.FieldMetrics:
		return true
	}
	return false
}

// checkKeys refuses actions that need a key where there is none.
func (p *policy) checkKeys() error {
	if len(p.keys.keys) > 0 {
		return nil
	}
	for k, a := range p.actions {
		if a.keyed() {
			return fmt.Errorf("%s of %s needs a key: give one in %s", a, kind(k), fieldKeys)
		}
	}
	return p.fields.checkKeys("")
}

func (n *node) checkKeys(at string) error {
	if n == nil {
		return nil
	}
	if n.rule != nil && n.rule.action.keyed() {
		return fmt.Errorf("%s of field %s needs a key: give one in %s", n.rule.action, at, fieldKeys)
	}
	for _, name := range slices.Sorted(maps.Keys(n.below)) {
		if err := n.below[name].checkKeys(at + "/" + name); err != nil {
			return err
		}
	}
	return n.any.checkKeys(at + "/*")
}
