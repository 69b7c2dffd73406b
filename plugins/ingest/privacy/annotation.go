package privacy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/ingest/registry"
)

// keyword is what a schema says of a field: "x-pii": "email", or "drop".
const keyword = "x-pii"

// annotated follows the versions of a subject, and has the rules of all of them:
// which one is an event's is known only when it has been judged.
type annotated struct {
	live *registry.Live
	p    *policy
	log  *service.Logger

	mu   sync.Mutex
	set  *registry.Set // the one that root is made of
	root *node
}

// rules returns where rules for fields begin. While no version of the schema was
// ever known, it waits: what it would say of an event is not known.
func (a *annotated) rules(ctx context.Context) (*node, error) {
	set, err := a.live.Current(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if set == a.set {
		return a.root, nil
	}
	root := &node{}
	if err := a.p.into(root); err != nil {
		return nil, err
	}
	for _, s := range set.Schemas() {
		for _, wrong := range a.p.annotate(root, s.Document) {
			a.log.Errorf("schema %s: %v", s.Name(), wrong)
		}
	}
	root.spread()
	a.set, a.root = set, root
	return root, nil
}

// annotate adds the rules of a schema. What it says wrong of a field masks it.
func (p *policy) annotate(root *node, document []byte) (wrong []error) {
	var doc any
	if err := json.Unmarshal(document, &doc); err != nil { // it was compiled
		return []error{err}
	}
	c := collector{doc: doc}
	if c.collect(); c.cut {
		wrong = append(wrong, fmt.Errorf("reading its %s: it has more than %d places, or refers to itself in as many ways: "+
			"those further down are not known; name them in the field fields", keyword, mostPlaces))
	}
	for _, pointer := range slices.Sorted(maps.Keys(c.found)) {
		for _, says := range c.found[pointer] {
			r, err := p.parseRule(says)
			if err == nil && r.action == actionDrop && identity(pointer) {
				err = fmt.Errorf("an event without it is none")
			}
			if err == nil && r.action.keyed() && len(p.keys.keys) == 0 {
				err = fmt.Errorf("%s needs a key", r.action)
			}
			if err != nil {
				wrong = append(wrong, fmt.Errorf("%s of %s: %w; the field is masked", keyword, pointer, err))
				r = &rule{kindField, actionMask, true}
			}
			if pointer == "" {
				pointer = "/*"
			}
			if err := root.add(pointer, r); err != nil {
				wrong = append(wrong, err)
			}
		}
	}
	return wrong
}

// collector finds what a schema says of fields, by JSON pointer.
type collector struct {
	doc   any
	found map[string][]string
	next  []visit
	cut   bool // there are more than mostPlaces
}

// visit is a schema that is to be looked at, and where it stands.
type visit struct {
	schema any
	at     string
	depth  int
}

// deepestSchema is how deep places are that a schema names: one that refers to
// itself has no end.
const deepestSchema = 24

// mostPlaces bounds how many there are: one that refers to itself in four ways has
// four times as many with each level.
const mostPlaces = 20_000

// collect looks at all places, those above first.
func (c *collector) collect() {
	c.walk(c.doc, "", 0)
	for n := 0; n < len(c.next); n++ {
		v := c.next[n]
		if c.next[n] = (visit{}); n == mostPlaces {
			c.cut = true
			return
		}
		c.look(v.schema, v.at, v.depth)
	}
}

func (c *collector) walk(schema any, at string, depth int) {
	if len(c.next) <= mostPlaces {
		c.next = append(c.next, visit{schema, at, depth})
	}
}

func (c *collector) look(schema any, at string, depth int) {
	s, ok := schema.(map[string]any)
	if !ok || depth > deepestSchema {
		return
	}
	if says, ok := s[keyword]; ok {
		text, _ := says.(string) // what is no text is wrong, and masks
		if c.found == nil {
			c.found = map[string][]string{}
		}
		if !slices.Contains(c.found[at], text) {
			c.found[at] = append(c.found[at], text)
		}
	}
	if ref, ok := s["$ref"].(string); ok && strings.HasPrefix(ref, "#") {
		c.walk(c.resolve(ref[1:]), at, depth+1)
	}
	if properties, ok := s["properties"].(map[string]any); ok {
		for _, name := range slices.Sorted(maps.Keys(properties)) { // in each process the same ones, if there are too many
			c.walk(properties[name], at+"/"+event.EscapePointer(name), depth+1)
		}
	}
	for _, any := range []string{"items", "additionalProperties", "additionalItems", "prefixItems", "patternProperties",
		"contains", "unevaluatedProperties"} {
		c.each(s[any], at+"/*", any == "patternProperties", depth+1)
	}
	for _, same := range []string{"allOf", "anyOf", "oneOf", "if", "then", "else"} {
		c.each(s[same], at, false, depth+1)
	}
}

// each walks a schema, or a list or, where it is one, an object of them.
func (c *collector) each(value any, at string, members bool, depth int) {
	switch v := value.(type) {
	case []any:
		for _, sub := range v {
			c.walk(sub, at, depth)
		}
	case map[string]any:
		if !members {
			c.walk(v, at, depth)
			return
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			c.walk(v[name], at, depth)
		}
	}
}

// resolve returns what a pointer names within the schema, nil when nothing.
func (c *collector) resolve(pointer string) any {
	at := c.doc
	for _, part := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		if part == "" {
			continue
		}
		object, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = object[strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")]
	}
	return at
}

// Annotated returns where a schema says that fields hold personal data, whatever is
// to become of them, but for those that it says to keep; a name of * is any. Whole is
// false where it has more places than are looked at.
func Annotated(document []byte) (pointers []string, whole bool) {
	var doc any
	if json.Unmarshal(document, &doc) != nil {
		return nil, false
	}
	c := collector{doc: doc}
	c.collect()
	for _, pointer := range slices.Sorted(maps.Keys(c.found)) {
		if !slices.Equal(c.found[pointer], []string{"keep"}) {
			pointers = append(pointers, pointer)
		}
	}
	return pointers, !c.cut
}
