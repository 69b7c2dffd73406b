package plugins

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// field is what the engine's documentation says of one config field.
type field struct {
	Name        string  `json:"name"`
	Description string  `json:"description"`
	Default     any     `json:"default"`
	Children    []field `json:"children"`
}

type example struct {
	Title  string `json:"title"`
	Config string `json:"config"`
}

type component struct {
	Summary     string    `json:"summary"`
	Description string    `json:"description"`
	Examples    []example `json:"examples"`
	Config      field     `json:"config"`
}

func TestDocs_EveryComponentIsDocumented(t *testing.T) {
	env, added := ours(t)
	linter := env.FullConfigSchema("test", "").NewStreamConfigLinter()
	for name, view := range added {
		raw, err := view.FormatJSON()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var c component
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.Summary == "" || c.Description == "" {
			t.Errorf("%s needs a summary and a description", name)
		}
		if len(c.Examples) == 0 {
			t.Errorf("%s needs an example", name)
		}
		for _, ex := range c.Examples {
			lintExample(t, linter, name, ex)
		}
		described(t, name, c.Config)
	}
}

func lintExample(t *testing.T, linter *service.StreamConfigLinter, name string, ex example) {
	t.Helper()
	lints, err := linter.LintYAML([]byte(ex.Config))
	if err != nil {
		t.Errorf("%s, example %q: %v", name, ex.Title, err)
	}
	for _, l := range lints {
		t.Errorf("%s, example %q: %v", name, ex.Title, l)
	}
}

// standard fields are described by the engine.
var standard = []string{"batching", "tls", "backoff"}

func described(t *testing.T, path string, f field) {
	t.Helper()
	for _, child := range f.Children {
		at := path + "." + child.Name
		if strings.TrimSpace(child.Description) == "" {
			t.Errorf("field %s needs a description", at)
		}
		skip := false
		for _, s := range standard {
			skip = skip || child.Name == s
		}
		if !skip {
			described(t, at, child)
		}
	}
}
