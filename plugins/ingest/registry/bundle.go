package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/internal/platform/schemadoc"
	"weir/internal/platform/text"
)

// bundle makes one document of a schema and those that it refers to, in the form of JSON Schema's
// compound documents: each is under definitions with an $id, so that it is found by its name and
// nothing outside of the document is needed. A name is a URL, relative to the document that uses
// it.
func bundle(text string, references []referred) (string, error) {
	root, err := object(text)
	if err != nil || len(references) == 0 {
		return text, err
	}
	b := bundler{found: map[string]placed{}, root: root}
	if err := b.sameDraft(root, references); err != nil {
		return "", err
	}
	base := schemadoc.Resolve(schemadoc.URL, b.id(root))
	if err := b.place(base, references); err != nil {
		return "", err
	}
	definitions, ok := root["definitions"].(map[string]any)
	if !ok {
		definitions = map[string]any{}
	}
	freeRef(root, b.draft)
	b.rewrite(root, schemadoc.URL)
	done := map[string]bool{}
	for _, at := range slices.Sorted(maps.Keys(b.found)) {
		p := b.found[at]
		if done[p.id] { // the same document by another name
			continue
		}
		done[p.id] = true
		key := p.Name
		for definitions[key] != nil {
			key += "'"
		}
		freeRef(p.doc, b.draft)
		b.rewrite(p.doc, p.id)
		definitions[key] = p.doc
	}
	root["definitions"] = definitions
	return schemadoc.Canonical(root), nil
}

// placed is a referenced document. id is its own $id, or else the URL to which its name leads.
type placed struct {
	Reference
	id  string
	doc map[string]any
}

type bundler struct {
	root  map[string]any
	draft string            // the $schema of all of them, "" if none names one
	found map[string]placed // URL to which a name leads -> document
}

// object reads a schema that is an object.
func object(text string) (map[string]any, error) {
	doc, err := schemadoc.Decode([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("parsing JSON: %w", err)
	}
	switch doc := doc.(type) {
	case map[string]any:
		return doc, nil
	case bool:
		if doc {
			return map[string]any{}, nil
		}
		return map[string]any{"not": map[string]any{}}, nil
	}
	return nil, fmt.Errorf("a schema is an object, true or false")
}

// sameDraft finds the draft of all documents, which must be the same: a keyword must not mean
// something else in one of them.
func (b *bundler) sameDraft(doc map[string]any, references []referred) error {
	if d, ok := doc["$schema"].(string); ok {
		d = strings.TrimSuffix(d, "#")
		if b.draft != "" && b.draft != d {
			return fmt.Errorf("a schema and what it refers to are of one draft, and here are %s and %s: give them the same "+
				"$schema", b.draft, text.Shorten(d))
		}
		b.draft = d
	}
	for _, r := range references {
		sub, err := object(r.text)
		if err != nil {
			return fmt.Errorf("reading the reference %q: %w", text.Shorten(r.Name), err)
		}
		if err := b.sameDraft(sub, r.references); err != nil {
			return err
		}
	}
	if b.draft != "" {
		b.root["$schema"] = b.draft
	}
	return nil
}

func (b *bundler) idKey() string {
	if strings.Contains(b.draft, "draft-04") {
		return "id"
	}
	return "$id"
}

func (b *bundler) id(doc map[string]any) string {
	id, _ := doc[b.idKey()].(string)
	return strings.TrimSuffix(id, "#")
}

func (b *bundler) place(base string, references []referred) error {
	for _, r := range references {
		at := strings.TrimSuffix(schemadoc.Resolve(base, r.Name), "#")
		if have, ok := b.found[at]; ok {
			if have.Subject != r.Subject || have.Version != r.Version {
				return fmt.Errorf("the name %q stands for both %s/%d and %s/%d", text.Shorten(r.Name), have.Subject, have.Version,
					r.Subject, r.Version)
			}
			continue
		}
		doc, err := object(r.text)
		if err != nil {
			return fmt.Errorf("reading the reference %q: %w", text.Shorten(r.Name), err)
		}
		id := at
		if own := b.id(doc); own != "" {
			id = schemadoc.Resolve(at, own)
		}
		for _, other := range b.found {
			if other.id == id && (other.Subject != r.Subject || other.Version != r.Version) {
				return fmt.Errorf("%s/%d and %s/%d have the same %s %q", other.Subject, other.Version, r.Subject, r.Version,
					b.idKey(), text.Shorten(id))
			}
		}
		doc[b.idKey()] = id
		delete(doc, "$schema")
		b.found[at] = placed{Reference: r.Reference, id: id, doc: doc}
		if err := b.place(id, r.references); err != nil {
			return err
		}
	}
	return nil
}

// freeRef moves a $ref at the root of a document into allOf, because in draft 7 it would hide the
// $id and the definitions beside it.
func freeRef(doc map[string]any, draft string) {
	ref, ok := doc["$ref"]
	if !ok {
		return
	}
	delete(doc, "$ref")
	list, _ := doc["allOf"].([]any)
	if strings.Contains(draft, "draft-0") { // whatever else is beside a $ref does not count
		list = nil
		for key := range doc {
			switch key {
			case "$schema", "$id", "id", "definitions":
			default:
				if !strings.HasPrefix(key, "x-") {
					delete(doc, key)
				}
			}
		}
	}
	doc["allOf"] = append(list, map[string]any{"$ref": ref})
}

// rewrite replaces each $ref that leads to a placed document by one to its $id. base is the URL to
// which names are relative.
func (b *bundler) rewrite(v any, base string) {
	switch v := v.(type) {
	case []any:
		for _, sub := range v {
			b.rewrite(sub, base)
		}
	case map[string]any:
		if id := b.id(v); id != "" {
			base = schemadoc.Resolve(base, id)
		}
		if ref, ok := v["$ref"].(string); ok {
			resource, fragment, _ := strings.Cut(schemadoc.Resolve(base, ref), "#")
			if p, ok := b.found[resource]; ok {
				v["$ref"] = p.id + "#" + fragment
			}
		}
		for key, sub := range v {
			byName, named := sub.(map[string]any)
			switch key {
			case "const", "enum", "default", "examples": // values, not schemas
			case "properties", "patternProperties", "definitions", "$defs", "dependentSchemas", "dependencies":
				for name := range byName { // whatever a name is, a schema follows
					b.rewrite(byName[name], base)
				}
				if !named {
					b.rewrite(sub, base)
				}
			default:
				b.rewrite(sub, base)
			}
		}
	}
}

// asReferences returns references in the form that is hashed: in the order of their names.
func asReferences(references []Reference) string {
	if len(references) == 0 {
		return ""
	}
	byName := map[string]Reference{}
	for _, r := range references {
		byName[r.Name] = r
	}
	var list []Reference
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, byName[name])
	}
	raw, err := json.Marshal(list)
	if err != nil { // strings and numbers
		return ""
	}
	return string(raw)
}
