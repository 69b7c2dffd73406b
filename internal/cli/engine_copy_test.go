package cli

import (
	"context"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"weir/internal/platform/envyaml"
)

// The engine reads the tests in a config before its values are there: what it
// reads is YAML then, and the same value afterwards.
func TestCopies_AreYAMLWithoutTheirValues(t *testing.T) {
	const value = `a "b", {c: d} # $e`
	c, err := newCopies(func(string) (string, bool) { return value, true })
	if err != nil {
		t.Fatal(err)
	}
	defer c.remove()
	config, err := envyaml.Parse([]byte("list: [\"${X}\", '${X}']\nmap: { a: \"${X}\", b: 1 }\nbare: ${X}\n"))
	if err != nil {
		t.Fatal(err)
	}
	text := c.text(config, nil)
	var raw any
	if err := yaml.Unmarshal([]byte(text), &raw); err != nil {
		t.Errorf("%v:\n%s", err, text)
	}
	var got struct {
		List []string
		Map  struct{ A string }
		Bare string
	}
	for name := range c.scalars {
		answer, ok := c.lookup(context.Background(), name)
		if !ok {
			t.Fatalf("%s is not set", name)
		}
		text = strings.ReplaceAll(text, "${"+name+"}", answer)
	}
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if len(got.List) != 2 || got.List[0] != value || got.List[1] != value || got.Map.A != value || got.Bare != value {
		t.Errorf("%+v", got)
	}
}
