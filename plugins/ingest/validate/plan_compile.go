package validate

import (
	"encoding/json"
	"math/big"
	"regexp/syntax"
	"slices"
	"strconv"

	"weir/internal/platform/schemadoc"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// planner turns the library's compiled schema into nodes. Working from what
// the library compiled, and not from the document, keeps drafts, references
// and defaults the library's business alone.
type planner struct {
	assertFormat bool // for drafts from 2019-09 on; older ones always assert
	made         map[*jsonschema.Schema]*node
	done         map[*node]bool
	inPlace      map[*jsonschema.Schema]bool // being applied to the same value: a loop if met again
	unsupported  bool
}

// planEvent compiles a schema of events: the schema, and what every event must
// be whatever its schema says. It returns nil if the schema uses a keyword that
// plans do not know.
func planEvent(s *jsonschema.Schema) *node {
	root, ok := planAny(s, true)
	if !ok {
		return nil
	}
	return asEvent(root)
}

// planAny compiles a schema for any document.
func planAny(s *jsonschema.Schema, assertFormat bool) (root *node, ok bool) {
	p := planner{assertFormat: assertFormat, made: map[*jsonschema.Schema]*node{}, done: map[*node]bool{},
		inPlace: map[*jsonschema.Schema]bool{}}
	root = p.node(s)
	return root, !p.unsupported
}

func (p *planner) node(s *jsonschema.Schema) *node {
	if p.unsupported {
		return nil
	}
	if n, ok := p.made[s]; ok {
		return n
	}
	if s.Always != nil {
		if *s.Always {
			return nil
		}
		return &node{}
	}
	if p.unknown(s) {
		p.unsupported = true
		return nil
	}
	n := &node{kinds: kindAny}
	p.made[s] = n // before its parts: a schema may contain itself
	p.kinds(s, n)
	p.numbers(s, n)
	p.texts(s, n)
	p.enums(s, n)
	outer := p.inPlace
	p.inPlace = map[*jsonschema.Schema]bool{} // what lies inside is another value
	p.objects(s, n)
	p.arrays(s, n)
	p.inPlace = outer
	p.also(s, n)
	p.done[n] = true
	if len(n.also) == 1 && p.done[n.also[0]] && n.free() {
		*n = *n.also[0] // only a reference
	}
	return n
}

// free tells whether the node itself has no conditions.
func (n *node) free() bool {
	return n.kinds == kindAny && n.number == nil && n.text == nil && n.object == nil && n.array == nil && len(n.enums) == 0
}

// unknown tells whether the schema uses keywords that plans leave to the library.
func (p *planner) unknown(s *jsonschema.Schema) bool {
	content := s.Draft != nil && (s.ContentEncoding != "" || s.ContentMediaType != "") &&
		s.Draft.String() != jsonschema.Draft2020.String()
	return content || s.RecursiveRef != nil || s.DynamicRef != nil || s.Not != nil || len(s.AnyOf) > 0 ||
		len(s.OneOf) > 0 ||
		s.If != nil || s.PropertyNames != nil || s.RegexProperties || len(s.PatternProperties) > 0 ||
		len(s.Dependencies) > 0 || len(s.DependentRequired) > 0 || len(s.DependentSchemas) > 0 ||
		s.UnevaluatedProperties != nil ||
		s.UniqueItems || len(s.PrefixItems) > 0 || s.AdditionalItems != nil || s.Contains != nil ||
		s.UnevaluatedItems != nil || len(s.Extensions) > 0
}

func (p *planner) kinds(s *jsonschema.Schema, n *node) {
	if len(s.Types) == 0 {
		return
	}
	n.kinds = 0
	for _, t := range s.Types {
		switch t {
		case "null":
			n.kinds |= kindNull
		case "boolean":
			n.kinds |= kindBool
		case "number", "integer":
			n.kinds |= kindNumber
		case "string":
			n.kinds |= kindString
		case "array":
			n.kinds |= kindArray
		case "object":
			n.kinds |= kindObject
		default:
			p.unsupported = true
		}
	}
	if slices.Contains(s.Types, "integer") && !slices.Contains(s.Types, "number") {
		n.number = &numberRule{integer: true}
	}
}

func (p *planner) numbers(s *jsonschema.Schema, n *node) {
	r := &numberRule{}
	if n.number != nil {
		r = n.number
	}
	r.low = tighter(toBound(s.Minimum, false), toBound(s.ExclusiveMinimum, true), 1)
	r.high = tighter(toBound(s.Maximum, false), toBound(s.ExclusiveMaximum, true), -1)
	if s.MultipleOf != nil {
		d, ok := toDecimal(s.MultipleOf)
		if !ok {
			p.unsupported = true
		}
		r.multipleOf = &d
	}
	if r.integer || r.low != nil || r.high != nil || r.multipleOf != nil {
		n.number = r
	}
}

// tighter returns the bound that leaves less: the greater of two lower ones
// (side 1), the smaller of two upper ones (side -1).
func tighter(a, b *bound, side float64) *bound {
	if a == nil || b != nil && (b.value-a.value)*side >= 0 {
		return b
	}
	return a
}

func toBound(r *big.Rat, exclusive bool) *bound {
	if r == nil {
		return nil
	}
	v, _ := r.Float64()
	again, ok := new(big.Rat).SetString(strconv.FormatFloat(v, 'e', 14, 64))
	return &bound{value: v, exclusive: exclusive, short: ok && again.Cmp(r) == 0}
}

func (p *planner) texts(s *jsonschema.Schema, n *node) {
	r := &textRule{minLength: s.MinLength, maxLength: s.MaxLength}
	if s.Format != "" && (p.assertFormat || s.Draft == nil || !modern(s.Draft)) {
		switch s.Format {
		case "uuid":
			r.uuid = true
		case "date-time":
			r.dateTime = true
		default:
			r.format = schemadoc.Format(s.Format)
		}
	}
	if s.Pattern != nil {
		if r.class = toClass(s.Pattern.String()); r.class == nil {
			r.pattern = s.Pattern
		}
	}
	if !r.free() {
		n.text = r
	}
}

func modern(d *jsonschema.Draft) bool {
	return d == jsonschema.Draft2019 || d == jsonschema.Draft2020
}

// toClass recognizes ^[class]{m,n}$, also with *, + and ?, for ASCII letters.
func toClass(pattern string) *classRule {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || re.Op != syntax.OpConcat || len(re.Sub) != 3 ||
		re.Sub[0].Op != syntax.OpBeginText || re.Sub[2].Op != syntax.OpEndText {
		return nil
	}
	c := &classRule{}
	switch rep := re.Sub[1]; rep.Op {
	case syntax.OpStar:
		c.min, c.max = 0, -1
	case syntax.OpPlus:
		c.min, c.max = 1, -1
	case syntax.OpQuest:
		c.min, c.max = 0, 1
	case syntax.OpRepeat:
		c.min, c.max = rep.Min, rep.Max
	default:
		return nil
	}
	class := re.Sub[1].Sub[0]
	if class.Op != syntax.OpCharClass {
		return nil
	}
	for i := 0; i+1 < len(class.Rune); i += 2 {
		for r := class.Rune[i]; r <= class.Rune[i+1]; r++ {
			if r >= 0x80 {
				return nil
			}
			c.in[r] = true
		}
	}
	return c
}

func (p *planner) enums(s *jsonschema.Schema, n *node) {
	for _, values := range [][]any{s.Constant, s.Enum} {
		if len(values) == 0 {
			continue
		}
		r := &enumRule{texts: map[string]bool{}}
		for _, v := range values {
			switch v := v.(type) {
			case nil:
				r.null = true
			case bool:
				if v {
					r.bools[1] = true
				} else {
					r.bools[0] = true
				}
			case string:
				r.texts[v] = true
			case json.Number:
				x, ok := new(big.Rat).SetString(v.String())
				if !ok {
					p.unsupported = true
					return
				}
				r.numbers = append(r.numbers, x)
			default: // an array or an object
				p.unsupported = true
				return
			}
		}
		n.enums = append(n.enums, r)
	}
}

func (p *planner) objects(s *jsonschema.Schema, n *node) {
	if len(s.Properties) == 0 && len(s.Required) == 0 && s.AdditionalProperties == nil && s.MinProperties < 0 &&
		s.MaxProperties < 0 {
		return
	}
	r := &objectRule{minNames: s.MinProperties, maxNames: s.MaxProperties}
	switch more := s.AdditionalProperties.(type) {
	case bool:
		r.closed = !more
	case *jsonschema.Schema:
		r.additional = p.node(more)
	}
	names := make([]string, 0, len(s.Properties))
	for text := range s.Properties {
		names = append(names, text)
	}
	slices.Sort(names)
	for _, text := range names {
		r.names = append(r.names, name{text: text, declared: true, value: p.node(s.Properties[text])})
	}
	for _, text := range s.Required {
		r.require(text)
	}
	if len(r.names) >= maskSize-len(eventFields) {
		p.unsupported = true
		return
	}
	r.index()
	n.object = r
}

func (r *objectRule) require(text string) {
	i := slices.IndexFunc(r.names, func(n name) bool { return n.text == text })
	if i < 0 {
		i = len(r.names)
		r.names = append(r.names, name{text: text})
	}
	if i < maskSize {
		r.required.add(i)
	}
}

func (p *planner) arrays(s *jsonschema.Schema, n *node) {
	r := &arrayRule{min: s.MinItems, max: s.MaxItems}
	switch items := s.Items.(type) {
	case nil:
		if s.Items2020 != nil {
			r.items = p.node(s.Items2020)
		}
	case *jsonschema.Schema:
		r.items = p.node(items)
	default: // a tuple
		p.unsupported = true
	}
	if r.items != nil || r.min >= 0 || r.max >= 0 {
		n.array = r
	}
}

func (p *planner) also(s *jsonschema.Schema, n *node) {
	subs := slices.Clone(s.AllOf)
	if s.Ref != nil {
		subs = append(subs, s.Ref)
	}
	if len(subs) == 0 {
		return
	}
	if p.inPlace[s] {
		p.unsupported = true
		return
	}
	p.inPlace[s] = true
	for _, sub := range subs {
		if p.inPlace[sub] {
			p.unsupported = true
			return
		}
		if m := p.node(sub); m != nil {
			n.also = append(n.also, m)
		}
	}
	delete(p.inPlace, s)
}
