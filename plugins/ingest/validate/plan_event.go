package validate

import (
	"slices"

	"weir/internal/event"
)

// eventFields are the fields that every event must have, whatever its schema says, because
// event.Parse demands them later.
var eventFields = [...]struct {
	name     string
	kinds    kind
	field    field
	optional bool
}{
	{name: event.FieldID, kinds: kindString, field: fieldID},
	{name: event.FieldDevice, kinds: kindString, field: fieldDevice},
	{name: event.FieldFirmware, kinds: kindString, field: fieldFirmware},
	{name: event.FieldTimestamp, kinds: kindString, field: fieldTimestamp},
	{name: event.FieldMetrics, kinds: kindObject},
	{name: event.FieldDiagnostics, kinds: kindObject, optional: true},
}

// asEvent returns the plan with what every event must be added to it, or nil
// if it cannot be. The given nodes may be shared, so they are copied.
func asEvent(root *node) *node {
	top := node{kinds: kindAny}
	if root != nil { // nil takes anything
		top = *root
	}
	object := objectRule{minNames: -1, maxNames: -1}
	if top.object != nil {
		object = *top.object
	}
	if len(top.also) > 0 {
		return nil
	}
	object.names = slices.Clone(object.names)
	object.root = true
	top.kinds &= kindObject
	top.object = &object
	for _, f := range eventFields {
		i := slices.IndexFunc(object.names, func(n name) bool { return n.text == f.name })
		if i < 0 {
			i = len(object.names)
			object.names = append(object.names, name{text: f.name})
		}
		n := &object.names[i]
		if !n.declared { // the rule for undeclared names is its rule
			if object.closed {
				return nil
			}
			n.declared, n.value = true, object.additional
		}
		part := node{kinds: kindAny}
		if n.value != nil {
			part = *n.value
		}
		part.kinds &= f.kinds
		part.field = f.field
		part.text = part.text.without(f.field)
		n.value = &part
		if f.kinds == kindObject && !f.optional {
			if part.object = asMetrics(part.object); part.object == nil || len(part.also) > 0 {
				return nil
			}
		}
		if !f.optional {
			object.required.add(i)
		}
	}
	object.index()
	return &top
}

// asMetrics returns the rule of the metrics object with every value a number.
func asMetrics(r *objectRule) *objectRule {
	m := objectRule{minNames: -1, maxNames: -1}
	if r != nil {
		m = *r
	}
	m.metrics = true
	m.names = slices.Clone(m.names)
	m.additional = asNumber(m.additional)
	for i, n := range m.names {
		if n.declared {
			m.names[i].value = asNumber(n.value)
		}
	}
	m.index()
	return &m
}

func asNumber(n *node) *node {
	number := node{kinds: kindNumber}
	if n != nil {
		number = *n
		number.kinds &= kindNumber
	}
	return &number
}

// without returns the rule less what the event's own rule for the field
// already implies, nil if nothing is left.
func (r *textRule) without(f field) *textRule {
	if r == nil {
		return nil
	}
	left := *r
	switch f {
	case fieldID:
		left.uuid = false
	case fieldTimestamp:
		left.dateTime = false
	case fieldDevice:
		if c := left.class; c != nil && c.min <= 1 && (c.max < 0 || c.max >= 128) && c.takesDevices() {
			left.class = nil
		}
	}
	if left.minLength <= 1 && f != fieldNone {
		left.minLength = -1 // none of the noted fields may be empty
	}
	if left.free() {
		return nil
	}
	return &left
}

func (r *textRule) free() bool {
	return r.minLength < 0 && r.maxLength < 0 && !r.uuid && !r.dateTime && r.format == nil && r.class == nil &&
		r.pattern == nil
}

func (c *classRule) takesDevices() bool {
	for b := range c.in {
		if event.ValidDevice(string([]byte{byte(b)})) && !c.in[b] {
			return false
		}
	}
	return true
}
