package schemadoc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fan is a chain of definitions, each of which applies the next one twice.
func fan(n int, twice string) string {
	var defs strings.Builder
	for i := range n {
		ref := fmt.Sprintf(`{"$ref": "#/$defs/d%d"}`, i+1)
		fmt.Fprintf(&defs, `"d%d": `+twice+", ", i, ref, ref)
	}
	return fmt.Sprintf(`{"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/d0", "$defs": {%s "d%d": {}}}`, defs.String(), n)
}

func TestWeigh_RefusesReferencesThatFanOut(t *testing.T) {
	for name, twice := range map[string]string{
		"all":        `{"allOf": [%s, %s]}`,
		"any":        `{"anyOf": [%s, {"not": %s}]}`,
		"properties": `{"allOf": [{"properties": {"p": %s}}, {"properties": {"p": %s}}]}`,
		"items":      `{"items": %s, "additionalProperties": %s}`,
	} {
		for n, refused := range map[int]bool{5: false, 40: true} {
			s, err := Compile([]byte(fan(n, twice)))
			if err != nil {
				t.Fatal(err)
			}
			if err := Weigh(s); (err != nil) != refused {
				t.Errorf("%s, %d deep: %v", name, n, err)
			}
		}
	}
}

func TestWeigh_TakesOurSchemasAndThoseThatReferToThemselves(t *testing.T) {
	files, err := filepath.Glob("../../../schemas/*/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %d schemas: %v", len(files), err)
	}
	all := []string{`{"$defs": {"tree": {"properties": {"l": {"$ref": "#/$defs/tree"}, "r": {"$ref": "#/$defs/tree"}}}}, "$ref": "#/$defs/tree"}`}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(raw))
	}
	for _, raw := range all {
		s, err := Compile([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := Weigh(s); err != nil {
			t.Errorf("%.80s: %v", raw, err)
		}
	}
}
