package schemadoc

import (
	"strings"
	"testing"
)

func TestSchema_PatternsMeanWhatECMAMeans(t *testing.T) {
	for _, c := range []struct{ schema, good, bad string }{
		{`{"pattern":"^a\\sb$"}`, "\"a\u00a0b\"", `"a_b"`},
		{`{"pattern":"^.$"}`, `"é"`, "\"\u2028\""},
		{`{"pattern":"^[a-z]{0,2000}$"}`, `"` + strings.Repeat("a", 2000) + `"`, `"` + strings.Repeat("a", 2001) + `"`},
		{`{"patternProperties":{"^\\cA\\d{1,1500}$":{"type":"number"}}}`, `{"\u00017":1}`, `{"\u00017":"x"}`},
		{`{"patternProperties":{"^[0-9]$":{"type":"number"},"^\\d$":{"minimum":5}}}`, `{"1":7}`, `{"1":3}`},
		{`{"properties":{"pattern":{"pattern":"^\\u0041$"}},"$defs":{"pattern":{"type":"string"}}}`, `{"pattern":"A"}`,
			`{"pattern":"B"}`},
		{`{"propertyNames":{"pattern":"^\\w+$"}}`, `{"a":1}`, `{"é":1}`},
		{`{"$schema":"http://json-schema.org/draft-04/schema#","dependencies":{"a":{"properties":{"b":{"pattern":"^\\u{1F600}$"}}}}}`, `{"a":1,"b":"😀"}`, `{"a":1,"b":"x"}`},
		{`{"enum":[{"pattern":"(?=a)"}],"default":{"pattern":"("}}`, `{"pattern":"(?=a)"}`, `{}`},
		{`{"x-form":{"pattern":"(?=a)"}}`, `1`, ``},
		{`{"format":"regex"}`, `"\\cA(?<n>b)"`, `"(?=a)"`},
		{`{"pattern":"(?i)^[k]$"}`, `"K"`, `"x"`}, // registered before: as it was read then
	} {
		s, err := Compile([]byte(c.schema))
		if err != nil {
			t.Errorf("%s: %v", c.schema, err)
			continue
		}
		for doc, valid := range map[string]bool{c.good: true, c.bad: false} {
			if doc == "" {
				continue
			}
			v, err := Decode([]byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(v); (err == nil) != valid {
				t.Errorf("%s: %.80s: %v", c.schema, doc, err)
			}
		}
	}
}

func TestSchema_RefusalsPointAtTheirCause(t *testing.T) {
	for schema, want := range map[string]string{
		`{"properties":{"a/b":{"pattern":"^(?=x)"}}}`: "#/properties/a~1b/pattern: pattern " +
			"\"^(?=x)\": a lookahead",
		`{"allOf":[{"patternProperties":{"(a)\\1":true}}]}`:                   `#/allOf/0/patternProperties/(a)\1: pattern`,
		`{"pattern":"(?i)a"}`:                                                 "no flags",
		`{"$schema":"https://example.com/dialect","type":"object"}`:           `#/$schema names the dialect "https://example.com/dialect", which is not known`,
		`{"$schema":"http://json-schema.org/draft-03/schema#"}`:               "draft-03",
		`{"$schema":"https://json-schema.org/draft/next/schema","type":true}`: "dialect",
		`{"$schema":7}`: "names the dialect 7",
	} {
		err := Check([]byte(schema))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "$ref") {
			t.Errorf("%s: %v does not say %s", schema, err, want)
		}
	}
	for _, known := range []string{"http://json-schema.org/draft-07/schema#",
		"https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-04/schema",
		"https://json-schema.org/draft/2019-09/schema#"} {
		if _, err := Compile([]byte(`{"$schema":"` + known + `"}`)); err != nil ||
			Check([]byte(`{"$schema":"`+known+`"}`)) != nil {
			t.Errorf("%s: %v", known, err)
		}
	}
}
