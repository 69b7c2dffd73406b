package plugins

import (
	"encoding/json"
	"regexp"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// specField is a config field as `weir create` and `weir list` know it.
type specField struct {
	Name        string
	Type        string
	Description string
	Default     any
	Examples    []any
	Secret      bool `json:"is_secret"`
	Children    []specField
}

// ourSpecs are the configs of all components of weir, by kind and name.
func ourSpecs(t *testing.T) map[string]specField {
	t.Helper()
	env := service.NewEmptyEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	specs := map[string]specField{}
	add := func(kind string) func(string, *service.ConfigView) {
		return func(name string, view *service.ConfigView) {
			raw, err := view.FormatJSON()
			var spec struct{ Config specField }
			if err == nil {
				err = json.Unmarshal(raw, &spec)
			}
			if err != nil {
				t.Fatalf("%s %s: %v", kind, name, err)
			}
			specs[kind+" "+name] = spec.Config
		}
	}
	env.WalkInputs(add("input"))
	env.WalkOutputs(add("output"))
	env.WalkProcessors(add("processor"))
	if len(specs) < 20 {
		t.Fatalf("found only %d components", len(specs))
	}
	return specs
}

// A URL may hold a password, or be one (a webhook). A field that takes one, or
// whose name is that of a secret, is marked: what the engine prints of a config
// then shows it as scrubbed.
func TestSecrets_EveryURLAndPasswordIsMarked(t *testing.T) {
	url := regexp.MustCompile(`\b[a-z][a-z0-9+]*://`)
	word := regexp.MustCompile(`(?i)password|secret|token|api_?key|routing_key|(^|_)(dsn|url|hmac)$`)
	// What is no secret though it looks like one, and why.
	open := map[string]string{
		"output rollup_store.write_every":     "a duration, whose description names a scheme",
		"processor event_dedupe.seed_brokers": "addresses, whose description names a scheme",
		"input gate.allowed_origins":          "addresses of public pages, to which a password cannot belong",
		"input api.allowed_origins":           "the same",
	}
	var walk func(path string, f specField)
	walk = func(path string, f specField) {
		text, err := json.Marshal([]any{f.Description, f.Default, f.Examples})
		if err != nil {
			t.Fatal(err)
		}
		named := f.Type == "string" && word.MatchString(f.Name)
		if _, is := open[path]; !is && !f.Secret && len(f.Children) == 0 && (named || url.Match(text)) {
			t.Errorf("%s is not secret: %s", path, text)
		}
		for _, child := range f.Children {
			walk(path+"."+child.Name, child)
		}
	}
	for name, spec := range ourSpecs(t) {
		walk(name, spec)
	}
	if len(open) > 4 {
		t.Error("the list of exceptions grows: mark the field instead")
	}
}
