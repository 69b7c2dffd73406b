package compat

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"weir/internal/platform/schemadoc"
	"weir/schemas"
)

// vector is a change of a schema, and what breaks when it is made (old reads
// as written, new reads as meant) under each policy: the rules that break a
// reader by the new schema (backward) and one by the old (forward), "" for
// none.
type vector struct {
	name                              string
	old, new                          string
	strictBackward, strictForward     string
	additiveBackward, additiveForward string
}

// alike is a vector that the policies judge alike.
func alike(name, old, new, backward, forward string) vector {
	return vector{name, old, new, backward, forward, backward, forward}
}

func vectors() []vector {
	const (
		str    = `{"type":"string"}`
		num    = `{"type":"number"}`
		in     = `{"type":"integer"}`
		latest = `"$schema":"https://json-schema.org/draft/2020-12/schema",`
	)
	open := func(props string, more ...string) string {
		return `{"type":"object","properties":{` + props + `}` + strings.Join(append([]string{""}, more...), ",") + `}`
	}
	closed := `"additionalProperties":false`
	numbers := `"additionalProperties":{"type":"number"}`
	a, b := `"a":{"type":"number"}`, `"b":{"type":"number"}`
	return []vector{
		alike("nothing changes", open(a), open(a), "", ""),
		alike("words for people change", `{"title":"x","type":"string"}`,
			`{"title":"y","description":"z","default":"q","type":"string"}`, "", ""),

		alike("a type changes", str, num, "TYPE_CHANGED", "TYPE_CHANGED"),
		alike("integer widens to number", in, num, "", "TYPE_NARROWED"),
		alike("a type becomes one of several", str, `{"type":["string","null"]}`, "", "TYPE_CHANGED"),
		alike("a type is replaced in a list", `{"type":["string","null"]}`, `{"type":["string","number"]}`,
			"COMBINED_TYPE_SUBSCHEMAS_CHANGED TYPE_CHANGED", "COMBINED_TYPE_SUBSCHEMAS_CHANGED TYPE_CHANGED"),
		alike("a constraint goes altogether", str, `{}`, "", "TYPE_CHANGED"),
		alike("false to anything", `false`, str, "", "TYPE_CHANGED"),
		alike("true and the empty schema are alike", `true`, `{}`, "", ""),

		alike("maxLength appears", str, `{"type":"string","maxLength":5}`, "MAX_LENGTH_ADDED", ""),
		alike("maxLength grows", `{"type":"string","maxLength":5}`, `{"type":"string","maxLength":6}`, "",
			"MAX_LENGTH_DECREASED"),
		{"minLength of none appears", str, `{"type":"string","minLength":0}`, "MIN_LENGTH_ADDED", "", "", ""},
		{"minItems sinks to none", `{"type":"array","minItems":1}`, `{"type":"array","minItems":0}`, "",
			"MIN_ITEMS_INCREASED", "", "MIN_ITEMS_ADDED"},
		alike("minLength grows", `{"type":"string","minLength":5}`, `{"type":"string","minLength":6}`, "MIN_LENGTH_INCREASED",
			""),
		alike("pattern appears", str, `{"type":"string","pattern":"a"}`, "PATTERN_ADDED", ""),
		alike("pattern changes", `{"type":"string","pattern":"b"}`, `{"type":"string","pattern":"a"}`, "PATTERN_CHANGED",
			"PATTERN_CHANGED"),
		{"format appears", str, `{"type":"string","format":"uuid"}`, "", "", "FORMAT_ADDED", ""},

		alike("maximum appears", num, `{"type":"number","maximum":5}`, "MAXIMUM_ADDED", ""),
		alike("maximum grows", `{"type":"number","maximum":5}`, `{"type":"number","maximum":5.5}`, "", "MAXIMUM_DECREASED"),
		alike("minimum grows", `{"type":"number","minimum":5}`, `{"type":"number","minimum":5.5}`, "MINIMUM_INCREASED", ""),
		alike("exclusiveMinimum goes", `{"type":"number","exclusiveMinimum":5}`, num, "", "EXCLUSIVE_MINIMUM_ADDED"),
		alike("exclusiveMaximum shrinks", `{"type":"number","exclusiveMaximum":5}`, `{"type":"number","exclusiveMaximum":4}`,
			"EXCLUSIVE_MAXIMUM_DECREASED", ""),
		alike("draft 4 exclusive maximum", `{"$schema":"http://json-schema.org/draft-04/schema#","type":"number","maximum":5}`,
			`{"$schema":"http://json-schema.org/draft-04/schema#","type":"number","maximum":5,"exclusiveMaximum":true}`,
			"EXCLUSIVE_MAXIMUM_ADDED", "MAXIMUM_ADDED"),
		alike("an exclusive maximum as in draft 4, without $schema", `{"maximum":5,"exclusiveMaximum":true}`,
			`{"maximum":6,"exclusiveMaximum":true}`, "", "EXCLUSIVE_MAXIMUM_DECREASED"),
		alike("multipleOf reduces", `{"type":"number","multipleOf":1}`, `{"type":"number","multipleOf":0.5}`, "",
			"MULTIPLE_OF_EXPANDED"),
		alike("multipleOf changes", `{"type":"number","multipleOf":4}`, `{"type":"number","multipleOf":6}`,
			"MULTIPLE_OF_CHANGED", "MULTIPLE_OF_CHANGED"),

		alike("an enum grows", `{"enum":["a","b"]}`, `{"enum":["b","a","c"]}`, "", "ENUM_ARRAY_NARROWED"),
		alike("an enum changes", `{"enum":["a","b"]}`, `{"enum":["a","c"]}`, "ENUM_ARRAY_CHANGED", "ENUM_ARRAY_CHANGED"),
		alike("enum numbers are compared as numbers", `{"enum":[1]}`, `{"enum":[1.0]}`, "", ""),
		alike("an enum appears on a type", str, `{"type":"string","enum":["a"]}`, "TYPE_CHANGED", ""),
		{"a const becomes an enum of more", `{"const":1}`, `{"enum":[1,2]}`, "TYPE_CHANGED", "TYPE_CHANGED", "",
			"ENUM_ARRAY_NARROWED"},
		alike("a const changes", `{"const":1}`, `{"const":2}`, "ENUM_ARRAY_CHANGED", "ENUM_ARRAY_CHANGED"),
		{"bytes of Kafka Connect change their type", `{"type":"string","connect.type":"bytes"}`,
			`{"type":"number","connect.type":"bytes"}`, "", "", "TYPE_CHANGED", "TYPE_CHANGED"},

		{"optional property added to an open object", open(a), open(a + "," + b),
			"OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", "", "", ""},
		{"required property added to an open object", open(a), open(a+","+b, `"required":["b"]`),
			"REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", "", "REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", ""},
		{"required property with default added to an open object", open(a), open(a+`,"b":{"type":"number","default":0}`,
			`"required":["b"]`), "REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_OPEN_CONTENT_MODEL", "", "", ""},
		alike("property that may be anything added", open(a), open(a+`,"b":{}`), "", ""),
		{"optional property removed from an open object", open(a + "," + b), open(a), "",
			"OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", "PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL", "PROPERTY_REMOVED"},
		{"optional property added to a closed object", open(a, closed), open(a+","+b, closed), "",
			"PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", "", "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"},
		{"required property added to a closed object", open(a, closed), open(a+","+b, closed, `"required":["b"]`),
			"REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL",
			"REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"},
		{"required property with default added to a closed object", open(a, closed),
			open(a+`,"b":{"type":"number","default":0}`, closed, `"required":["b"]`), "",
			"PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", "", "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"},
		{"optional property removed from a closed object", open(a+","+b, closed), open(a, closed),
			"PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", "", "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", "PROPERTY_REMOVED"},
		{"forbidden property removed from a closed object", open(a+`,"b":false`, closed), open(a, closed), "", "", "",
			"PROPERTY_REMOVED"},
		alike("optional property added where additional numbers are allowed", open(a, numbers), open(a+","+b, numbers), "",
			""),
		alike("property of another type added where additional numbers are allowed", open(a, numbers),
			open(a+`,"b":{"type":"string"}`, numbers),
			"PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL TYPE_CHANGED",
			"PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL TYPE_CHANGED"),
		{"narrower property added where additional numbers are allowed", open(a, numbers),
			open(a+`,"b":{"type":"number","minimum":0}`, numbers),
			"MINIMUM_ADDED PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", "", "", ""},
		{"property removed where additional numbers are allowed", open(a+","+b, numbers), open(a, numbers), "", "",
			"PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", "PROPERTY_REMOVED"},
		alike("property added that a pattern covers", open(a, closed, `"patternProperties":{"^b":{"type":"number"}}`),
			open(a+","+b, closed, `"patternProperties":{"^b":{"type":"number"}}`), "", ""),
		alike("a property's type changes", open(a), open(`"a":{"type":"string"}`), "TYPE_CHANGED", "TYPE_CHANGED"),
		alike("a property's type changes, deep", open(`"x":`+open(`"y":`+open(a))),
			open(`"x":`+open(`"y":`+open(`"a":{"type":"boolean"}`))), "TYPE_CHANGED", "TYPE_CHANGED"),
		alike("a property becomes required", open(a), open(a, `"required":["a"]`), "REQUIRED_ATTRIBUTE_ADDED", ""),
		alike("a property with default becomes required", open(`"a":{"default":1}`),
			open(`"a":{"default":1}`, `"required":["a"]`), "", ""),
		{"an undeclared name becomes required", open(a), open(a, `"required":["z"]`), "", "", "REQUIRED_ATTRIBUTE_ADDED", ""},
		alike("an object closes", open(a), open(a, closed), "ADDITIONAL_PROPERTIES_REMOVED", ""),
		alike("an object narrows", open(a), open(a, numbers), "ADDITIONAL_PROPERTIES_NARROWED", ""),
		alike("additional properties change type", open(a, numbers), open(a, `"additionalProperties":{"type":"integer"}`),
			"TYPE_NARROWED", ""),
		{"unevaluated properties are closed", open(a), open(a, `"unevaluatedProperties":false`),
			"UNEVALUATED_PROPERTIES_REMOVED", "", "ADDITIONAL_PROPERTIES_REMOVED", ""},
		{"unevaluated properties are closed instead of additional ones", open(a, closed),
			open(a, `"unevaluatedProperties":false`), "UNEVALUATED_PROPERTIES_REMOVED", "ADDITIONAL_PROPERTIES_REMOVED", "", ""},
		alike("property added where unevaluated numbers are allowed", open(a, `"unevaluatedProperties":{"type":"number"}`),
			open(a+","+b, `"unevaluatedProperties":{"type":"number"}`), "", ""),
		alike("maxProperties appears", open(a), open(a, `"maxProperties":3`), "MAX_PROPERTIES_ADDED", ""),
		alike("minProperties shrinks", open(a, `"minProperties":3`), open(a, `"minProperties":2`), "",
			"MIN_PROPERTIES_INCREASED"),
		alike("a dependency is added", open(a), open(a, `"dependentRequired":{"a":["b"]}`), "DEPENDENCY_ARRAY_ADDED", ""),
		alike("a dependency grows", open(a, `"dependencies":{"a":["b"]}`), open(a, `"dependencies":{"a":["b","c"]}`),
			"DEPENDENCY_ARRAY_EXTENDED", ""),
		alike("a dependent schema is added", open(a), open(a, `"dependentSchemas":{"a":{"required":["b"]}}`),
			"DEPENDENCY_SCHEMA_ADDED", ""),
		{"a pattern's schema changes", open(a, `"patternProperties":{"^b":{"type":"number"}}`),
			open(a, `"patternProperties":{"^b":{"type":"string"}}`), "", "", "TYPE_CHANGED", "TYPE_CHANGED"},
		{"a type is named where there was none", `{"properties":{` + a + `}}`, open(a), "", "", "TYPE_NARROWED", ""},
		{"a unit changes", open(`"a":{"type":"number","x-unit":"°C"}`), open(`"a":{"type":"number","x-unit":"K"}`), "", "",
			"UNIT_CHANGED", "UNIT_CHANGED"},
		{"a condition changes", `{"type":"string","if":{"minLength":1},"then":{"maxLength":5}}`,
			`{"type":"string","if":{"minLength":1},"then":{"maxLength":4}}`, "", "",
			"COMBINED_TYPE_SUBSCHEMAS_CHANGED CONDITION_CHANGED", "COMBINED_TYPE_SUBSCHEMAS_CHANGED CONDITION_CHANGED"},

		alike("items change type", `{"type":"array","items":{"type":"number"}}`, `{"type":"array","items":{"type":"string"}}`,
			"TYPE_CHANGED", "TYPE_CHANGED"),
		alike("items appear", `{"type":"array"}`, `{"type":"array","items":{"type":"string"}}`, "SCHEMA_ADDED", ""),
		alike("a position is added to an open tuple", `{"type":"array","prefixItems":[{"type":"number"}]}`,
			`{"type":"array","prefixItems":[{"type":"number"},{"type":"string"}]}`, "ITEM_ADDED_TO_OPEN_CONTENT_MODEL", ""),
		alike("a position is added to a closed tuple", `{"type":"array","prefixItems":[{"type":"number"}],"items":false}`,
			`{"type":"array","prefixItems":[{"type":"number"},{"type":"string"}],"items":false}`, "",
			"ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL"),
		alike("a draft 7 tuple closes", `{"$schema":"http://json-schema.org/draft-07/schema#","type":"array","items":[{"type":"number"}]}`,
			`{"$schema":"http://json-schema.org/draft-07/schema#","type":"array","items":[{"type":"number"}],"additionalItems":false}`, "ADDITIONAL_ITEMS_REMOVED", ""),
		alike("a tuple without $schema is of draft 7", `{"items":[{"type":"number"}],"additionalItems":{"type":"string"}}`,
			`{"items":[{"type":"number"},{"type":"string"}],"additionalItems":{"type":"string"}}`, "", ""),
		alike("additional items change where there are no positions", `{"type":"array","additionalItems":true}`,
			`{"type":"array","additionalItems":false}`, "ADDITIONAL_ITEMS_REMOVED", ""),
		alike("an unknown keyword of 2020-12 changes", `{`+latest+`"additionalItems":true}`,
			`{`+latest+`"additionalItems":false}`, "", ""),
		{"a list becomes an open tuple", `{"type":"array","items":{"type":"number"}}`,
			`{"type":"array","items":[{"type":"number"}]}`, "ITEM_ADDED_TO_OPEN_CONTENT_MODEL", "SCHEMA_ADDED", "",
			"ADDITIONAL_ITEMS_NARROWED"},
		{"a list closes", `{` + latest + `"type":"array","items":{"type":"number"}}`,
			`{` + latest + `"type":"array","items":false}`, "ADDITIONAL_ITEMS_REMOVED", "SCHEMA_ADDED", "TYPE_CHANGED", ""},
		{"contains appears", `{` + latest + `"type":"array"}`, `{` + latest + `"type":"array","contains":{"type":"number"}}`,
			"MIN_CONTAINS_ADDED", "", "MIN_CONTAINS_ADDED SCHEMA_ADDED", ""},
		alike("minContains without contains changes", `{`+latest+`"type":"array","minContains":1}`,
			`{`+latest+`"type":"array","minContains":2}`, "", ""),
		alike("unevaluated items are closed", `{`+latest+`"type":"array","prefixItems":[true]}`,
			`{`+latest+`"type":"array","prefixItems":[true],"unevaluatedItems":false}`, "UNEVALUATED_ITEMS_REMOVED", ""),
		alike("maxItems shrinks", `{"type":"array","maxItems":3}`, `{"type":"array","maxItems":2}`, "MAX_ITEMS_DECREASED",
			""),
		alike("uniqueItems appears", `{"type":"array"}`, `{"type":"array","uniqueItems":true}`, "UNIQUE_ITEMS_ADDED", ""),

		alike("a schema becomes one of several", str, `{"oneOf":[{"type":"number"},{"type":"string"}]}`, "", "TYPE_CHANGED"),
		{"a schema becomes one of two that both take it", in, `{"oneOf":[{"type":"integer"},{"type":"number"}]}`, "",
			"TYPE_CHANGED", "ALTERNATIVES_OVERLAP", "TYPE_CHANGED"},
		alike("an alternative is added", `{"anyOf":[`+str+`,`+num+`]}`, `{"anyOf":[`+num+`,`+str+`,{"type":"null"}]}`, "",
			"SUM_TYPE_NARROWED"),
		alike("an alternative changes", `{"oneOf":[`+str+`,`+num+`]}`, `{"oneOf":[`+str+`,{"type":"boolean"}]}`,
			"COMBINED_TYPE_SUBSCHEMAS_CHANGED TYPE_CHANGED", "COMBINED_TYPE_SUBSCHEMAS_CHANGED TYPE_CHANGED"),
		alike("oneOf becomes anyOf", `{"oneOf":[`+str+`,`+num+`]}`, `{"anyOf":[`+str+`,`+num+`]}`, "",
			"COMBINED_TYPE_CHANGED"),
		alike("allOf becomes one of its demands", `{"allOf":[`+num+`,`+str+`]}`, `{"anyOf":[`+str+`]}`, "",
			"COMBINED_TYPE_CHANGED"),
		alike("allOf becomes exactly one of its demands", `{"allOf":[`+num+`,`+str+`]}`, `{"oneOf":[`+str+`]}`, "",
			"COMBINED_TYPE_CHANGED"),
		alike("allOf demands more", `{"allOf":[`+str+`,{"maxLength":3}]}`,
			`{"allOf":[`+str+`,{"maxLength":3},{"minLength":1}]}`, "PRODUCT_TYPE_EXTENDED", ""),
		alike("one of a single alternative is that alternative", str, `{"oneOf":[`+str+`]}`, "", ""),
		alike("alternatives must each have a place of their own", `{"anyOf":[`+in+`,`+num+`]}`, `{"anyOf":[`+num+`,`+str+`]}`,
			"COMBINED_TYPE_SUBSCHEMAS_CHANGED TYPE_CHANGED", "COMBINED_TYPE_SUBSCHEMAS_CHANGED TYPE_CHANGED"),
		alike("not forbids less", `{"not":{"type":"number"}}`, `{"not":{"type":"integer"}}`, "", "NOT_TYPE_EXTENDED"),

		alike("not forbids another object", `{"not":`+open(`"a":{"$ref":"#/definitions/x"}`, `"required":["a"]`)+
			`,"definitions":{"x":{"type":"integer"}}}`,
			`{"not":`+open(`"a":{"$ref":"#/definitions/x"}`, `"required":["a"]`)+`,"definitions":{"x":{"type":"number"}}}`,
			"NOT_TYPE_EXTENDED", ""),
		alike("not demands another property of what it forbids", `{"not":`+open(a, closed)+`}`,
			`{"not":`+open(a+","+b, closed)+`}`, "NOT_TYPE_EXTENDED", ""),

		alike("references are followed", `{"$ref":"#/$defs/x","$defs":{"x":`+str+`}}`, `{"$ref":"#/$defs/y","$defs":{"y":`+
			num+`}}`, "TYPE_CHANGED", "TYPE_CHANGED"),
		alike("an anchor is followed", `{"$ref":"#x","$defs":{"x":{"$anchor":"x","type":"string"}}}`, str, "", ""),
		alike("a schema that contains itself", open(`"child":{"$ref":"#"},`+a),
			open(`"child":{"$ref":"#"},"a":{"type":"integer"}`), "TYPE_NARROWED", ""),
		alike("alternatives that contain themselves", `{"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#"}}]}`,
			`{"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#"}}]}`, "", ""),
	}
}

// rules lists the rules that break, each once, in order.
func rules(t *testing.T, found []Difference, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	seen, out := map[string]bool{}, []string{}
	for _, d := range Breaking(found) {
		if !seen[d.Rule] {
			out = append(out, d.Rule)
		}
		seen[d.Rule] = true
		if d.Message == "" || strings.Contains(d.Message, "%!") || !strings.Contains(d.String(), d.Rule+" at #"+d.Pointer) {
			t.Errorf("message %q", d)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestCompat_EveryRuleBothWays(t *testing.T) {
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			for _, c := range []struct {
				name    string
				compare func(Policy, []byte, []byte) ([]Difference, error)
				policy  Policy
				want    string
			}{
				{"strict backward", Backward, PolicyStrict, v.strictBackward},
				{"strict forward", forward, PolicyStrict, v.strictForward},
				{"additive backward", Backward, PolicyAdditive, v.additiveBackward},
				{"additive forward", forward, PolicyAdditive, v.additiveForward},
			} {
				found, err := c.compare(c.policy, []byte(v.old), []byte(v.new))
				if got := rules(t, found, err); got != c.want {
					t.Errorf("%s: got %q, want %q\n%v", c.name, got, c.want, found)
				}
			}
			for _, text := range []string{v.old, v.new} {
				if _, err := schemadoc.Compile([]byte(text)); err != nil {
					t.Errorf("the vector is no schema: %v", err)
				}
			}
			for _, p := range []Policy{PolicyStrict, PolicyAdditive} {
				found, err := Backward(p, []byte(v.new), []byte(v.new))
				if got := rules(t, found, err); got != "" {
					t.Errorf("a schema is not compatible with itself: %s", got)
				}
			}
		})
	}
}

func TestCompat_DifferencesPointAtTheirPlace(t *testing.T) {
	old := `{"type":"object","properties":{"metrics":{"type":"object","properties":{"a/b":{"type":"number"}}}}}`
	found, err := Backward(PolicyAdditive, []byte(old), []byte(strings.Replace(old, "number", "string", 1)))
	if err != nil || len(found) != 1 || found[0].Pointer != "/properties/metrics/properties/a~1b" {
		t.Errorf("got %v (%v)", found, err)
	}
}

func TestCompat_ARenameWithAnotherUnitIsReportedAsSuch(t *testing.T) {
	metrics := func(props, required string) string {
		return `{"type":"object","properties":{"metrics":{"type":"object","required":[` + required + `],"properties":{` +
			props + `},"additionalProperties":{"type":"number"}}}}`
	}
	old := metrics(`"cpu_temp":{"type":"number","x-unit":"°C"}`, `"cpu_temp"`)
	new := metrics(`"processor_temperature":{"type":"number","x-unit":"K"}`, `"processor_temperature"`)
	found, err := LevelBackward.Check(PolicyAdditive, []byte(new), [][]byte{[]byte(old)})
	if err != nil || len(found) != 2 {
		t.Fatalf("got %v (%v)", found, err)
	}
	text := fmt.Sprint(found)
	for _, want := range []string{"#/properties/metrics/properties/cpu_temp", "processor_temperature, in K instead of °C",
		"REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL at #/properties/metrics/properties/processor_temperature"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\ndoes not say %s", text, want)
		}
	}
}

func TestCompat_LevelsChooseVersionsAndDirections(t *testing.T) {
	v1, v2, v3 := []byte(`{"type":"integer"}`), []byte(`{"type":"number"}`), []byte(`{"type":"number","maximum":5}`)
	any := []byte(`{}`)
	for _, c := range []struct {
		level   Level
		newer   []byte
		earlier [][]byte
		breaks  bool
	}{
		{LevelNone, v1, [][]byte{v2}, false},
		{LevelBackward, v2, [][]byte{v1}, false},
		{LevelBackward, v1, [][]byte{v2}, true},
		{LevelForward, v1, [][]byte{v2}, false},
		{LevelForward, v2, [][]byte{v1}, true},
		{LevelFull, v2, [][]byte{v1}, true},
		{LevelFull, v2, [][]byte{v2}, false},
		{LevelBackward, v1, [][]byte{any, v1}, false},
		{LevelBackwardTransitive, v1, [][]byte{any, v1}, true},
		{LevelForward, any, [][]byte{v3, any}, false},
		{LevelForwardTransitive, any, [][]byte{v3, any}, true},
		{LevelFullTransitive, v2, [][]byte{v1, v2}, true},
		{LevelFull, v2, [][]byte{v1, v2}, false},
		{LevelFullTransitive, v2, nil, false},
	} {
		found, err := c.level.Check(PolicyStrict, c.newer, c.earlier)
		if err != nil || (len(found) > 0) != c.breaks {
			t.Errorf("%s %s after %s: got %v (%v)", c.level, c.newer, c.earlier, found, err)
		}
	}
}

func TestCompat_NoOtherDocumentIsRead(t *testing.T) {
	for _, ref := range []string{"file:///etc/passwd", "https://example.com/schema.json", "other.json", "#/$defs/missing",
		"#nowhere"} {
		raw := []byte(`{"$ref":"` + ref + `"}`)
		if _, err := schemadoc.Compile(raw); err == nil {
			t.Errorf("%s: compiled", ref)
		}
		if _, err := Backward(PolicyStrict, raw, raw); err == nil {
			t.Errorf("%s: compared", ref)
		}
	}
}

func TestCompat_ShippedVersionsAreCompatible(t *testing.T) {
	var before []byte
	for n := 1; n <= 3; n++ {
		raw, err := fs.ReadFile(schemas.FS(), fmt.Sprintf("telemetry/v%d.json", n))
		if err != nil {
			t.Fatal(err)
		}
		earlier := [][]byte{before}[:min(n-1, 1)]
		before = raw
		found, err := LevelBackward.Check(PolicyAdditive, raw, earlier)
		if err != nil || len(found) > 0 {
			t.Errorf("telemetry/%d after %d: %v (%v)", n, n-1, found, err)
		}
	}
}

// unions is a schema of n objects that each hold a member which is any of them.
func unions(n int, idOf func(i int) string) string {
	var defs, any []string
	for i := range n {
		any = append(any, fmt.Sprintf(`{"$ref":"#/definitions/T%d"}`, i))
	}
	one := `{"oneOf":[` + strings.Join(any, ",") + `]}`
	for i := range n {
		defs = append(defs, fmt.Sprintf(`"T%d":{"title":"%[1]d","type":"object","properties":{"id":{"type":%[2]q},"next":%[3]s,"other":%[3]s}}`, i, idOf(i), one))
	}
	return `{"type":"object","properties":{"root":` + one + `},"definitions":{` + strings.Join(defs, ",") + `}}`
}

// TestCompat_SchemasThatContainEachOtherAreCompared holds that recursion costs no more
// than pairs of schemas, and hides nothing.
func TestCompat_SchemasThatContainEachOtherAreCompared(t *testing.T) {
	text := func(int) string { return "string" }
	one := func(i int) string { return map[bool]string{true: "number", false: "string"}[i == 7] }
	for _, p := range []Policy{PolicyStrict, PolicyAdditive} {
		if found, err := Backward(p, []byte(unions(20, text)), []byte(unions(20, text))); err != nil ||
			len(Breaking(found)) > 0 {
			t.Errorf("%s: the same: %v (%v)", p, found, err)
		}
		found, err := Backward(p, []byte(unions(20, text)), []byte(unions(20, one)))
		if err != nil || len(Breaking(found)) == 0 {
			t.Errorf("%s: one of them changed: compatible (%v)", p, err)
		}
		if strings.Contains(fmt.Sprint(found), "TOO_COMPLEX") {
			t.Errorf("%s: too complex", p)
		}
	}
}

// TestCompat_AnAssumptionThatWasWrongIsTakenBack compares a T0 that leads back to
// itself by T2: while it is compared it is taken to be compatible, T2 is so by
// that alone, and T1 uses T2.
func TestCompat_AnAssumptionThatWasWrongIsTakenBack(t *testing.T) {
	doc := func(first, second string) string {
		t := func(id, to string) string {
			return `{"type":"object","properties":{"id":{"type":"` + id + `"},"ref":{"oneOf":[{"$ref":"#/definitions/` + to +
				`"}]}}}`
		}
		return `{"properties":{"root":{"oneOf":[{"$ref":"#/definitions/T0"},{"$ref":"#/definitions/T1"}]}},
			"definitions":{"T0":` + t(first, "T2") + `,"T1":` + t(second, "T2") + `,"T2":` + t("integer", "T0") + `}}`
	}
	for _, c := range [][4]string{{"integer", "boolean", "boolean", "number"}, {"integer", "string", "boolean", "string"},
		{"string", "integer", "boolean", "integer"}} {
		found, err := Backward(PolicyStrict, []byte(doc(c[0], c[1])), []byte(doc(c[2], c[3])))
		if err != nil || len(Breaking(found)) == 0 {
			t.Errorf("%v: compatible: %v (%v)", c, found, err)
		}
	}
}

func FuzzCompatibility(f *testing.F) {
	for _, v := range vectors() {
		f.Add([]byte(v.old), []byte(v.new))
	}
	f.Fuzz(func(t *testing.T, old, new []byte) {
		if _, err := schemadoc.Compile(old); err != nil {
			return
		}
		if _, err := schemadoc.Compile(new); err != nil {
			return
		}
		for _, p := range []Policy{PolicyStrict, PolicyAdditive} {
			if _, err := Backward(p, old, new); err != nil {
				return
			}
			if found, err := Backward(p, new, new); err != nil || len(Breaking(found)) > 0 {
				t.Fatalf("%s is not compatible with itself: %v (%v)", new, found, err)
			}
		}
	})
}
