package privacy

import (
	"fmt"
	"slices"
	"strings"

	"weir/internal/platform/pii"
)

// kind is what personal data is. The list is closed: counters and marks name it.
type kind uint8

const (
	kindEmail kind = iota // the first ones are those of pii, in its order
	kindPhone
	kindCard
	kindIBAN
	kindIP
	kindSSN
	kindName
	kindAddress
	kindBirth
	kindDocument
	kindSecret
	kindField // what a schema or a config names
	kinds
)

// kindNames are the kinds in words.
var kindNames = [kinds]string{"email", "phone", "card", "iban", "ip", "ssn", "name", "address", "birth", "document",
	"secret",
	"field"}

func (k kind) String() string { return kindNames[k] }

func kindOf(k pii.Kind) kind { return kind(k) }

// mark is what a masked value reads.
func (k kind) mark() string { return marks[k] }

var marks = func() (m [kinds]string) {
	for k := range m {
		m[k] = "[" + kindNames[k] + "]"
	}
	return m
}()

// action is what becomes of personal data.
type action uint8

const (
	actionMask action = iota
	actionHash
	actionTokenise
	actionDrop
	actionKeep
)

var actionNames = []string{"mask", "hash", "tokenise", "drop", "keep"}

func (a action) String() string { return actionNames[a] }

// keyed tells whether an action needs a key.
func (a action) keyed() bool { return a == actionHash || a == actionTokenise }

func parseAction(name string) (action, error) {
	i := slices.Index(actionNames, name)
	if i < 0 {
		return 0, fmt.Errorf("%q is no action: expected one of %s", name, strings.Join(actionNames, ", "))
	}
	return action(i), nil
}

// rule says what becomes of a value, whatever it holds.
type rule struct {
	kind     kind
	action   action
	explicit bool // a schema or a config names the field, not its name alone
}

// parseRule reads what a schema or a config says of a field: a kind, which has
// the action of its kind, or an action.
func (p *policy) parseRule(says string) (*rule, error) {
	if k := slices.Index(kindNames[:], says); k >= 0 {
		return &rule{kind(k), p.actions[k], true}, nil
	}
	if a := slices.Index(actionNames, says); a >= 0 {
		return &rule{kindField, action(a), true}, nil
	}
	return nil, fmt.Errorf("%q is neither an action (%s) nor a kind (%s)", says, strings.Join(actionNames, ", "),
		strings.Join(kindNames[:], ", "))
}
