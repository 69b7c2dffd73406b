package schemadoc

import (
	"fmt"
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// visitsMax is the maximum number of schemas applied to one event: forty lines of references to references can make
// 2⁴⁰.
const visitsMax = 100_000

// Weigh rejects a schema whose evaluation could take unbounded time for one event. It counts the schema with all
// references expanded. A recursive reference counts once, since an event has a finite depth.
func Weigh(s *Schema) error {
	w := weighing{known: map[*jsonschema.Schema]int{}, around: map[*jsonschema.Schema]bool{}}
	if w.visits(s.Schema) > visitsMax {
		return fmt.Errorf("written out with its references, the schema has more than %d schemas: refer to fewer, or say "+
			"it without nested allOf, anyOf and oneOf", visitsMax)
	}
	return nil
}

type weighing struct {
	known  map[*jsonschema.Schema]int
	around map[*jsonschema.Schema]bool
}

func (w *weighing) visits(s *jsonschema.Schema) int {
	if s == nil || w.around[s] {
		return 1
	}
	if n, is := w.known[s]; is {
		return n
	}
	w.around[s] = true
	n := 1
	for _, below := range children(s) {
		n = min(n+w.visits(below), visitsMax+1)
	}
	delete(w.around, s)
	w.known[s] = n
	return n
}

// children returns the schemas that a schema applies.
func children(s *jsonschema.Schema) []*jsonschema.Schema {
	all := []*jsonschema.Schema{s.Ref, s.RecursiveRef, s.DynamicRef, s.Not, s.If, s.Then, s.Else, s.PropertyNames,
		s.UnevaluatedProperties,
		s.Items2020, s.Contains, s.UnevaluatedItems, s.ContentSchema}
	all = append(append(append(append(all, s.AllOf...), s.AnyOf...), s.OneOf...), s.PrefixItems...)
	all = slices.AppendSeq(all, maps.Values(s.Properties))
	all = slices.AppendSeq(all, maps.Values(s.PatternProperties))
	all = slices.AppendSeq(all, maps.Values(s.DependentSchemas))
	for _, v := range append([]any{s.AdditionalProperties, s.Items, s.AdditionalItems},
		slices.Collect(maps.Values(s.Dependencies))...) {
		switch v := v.(type) {
		case *jsonschema.Schema:
			all = append(all, v)
		case []*jsonschema.Schema:
			all = append(all, v...)
		}
	}
	return slices.DeleteFunc(all, func(s *jsonschema.Schema) bool { return s == nil })
}
