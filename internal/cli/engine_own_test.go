package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"weir/internal/platform/conf"
	"weir/plugins"
)

// shippedEngine is the engine with all that the distribution adds.
func shippedEngine(t *testing.T) *distribution {
	t.Helper()
	env := service.GlobalEnvironment() // the engine describes components of no other
	if err := plugins.Register(env); err != nil {
		t.Fatal(err)
	}
	assets := os.DirFS("../..")
	if err := RegisterTemplates(env, assets); err != nil {
		t.Fatal(err)
	}
	own, err := OwnOf(plugins.Register)
	if err != nil || len(own) < 20 {
		t.Fatalf("weir has %d components of its own: %v", len(own), err)
	}
	return &distribution{env: env, own: own, assets: assets}
}

// exampleOf is a config of a component, from the example in its documentation.
func (d *distribution) exampleOf(t *testing.T, kind, name string) map[string]any {
	t.Helper()
	view, ok := map[string]func(string) (*service.ConfigView, bool){"input": d.env.GetInputConfig,
		"output": d.env.GetOutputConfig, "processor": d.env.GetProcessorConfig}[kind](name)
	if !ok {
		t.Fatalf("there is no %s %s", kind, name)
	}
	raw, err := view.FormatJSON()
	var spec struct{ Examples []struct{ Config string } }
	if err == nil {
		err = json.Unmarshal(raw, &spec)
	}
	if err != nil || len(spec.Examples) == 0 {
		t.Fatalf("%s %s has no example: %v", kind, name, err)
	}
	if now := map[string]string{"audit": "reconcile", "maintain": "retention"}[name]; now != "" {
		name = now // the example of a former name has the new one
	}
	var found map[string]any
	text := strings.NewReplacer("${WEIR_CLAIMS_URL:", "", "claims}", "claims").Replace(spec.Examples[0].Config)
	if err := d.schema().NewStreamConfigWalker().WalkComponentsYAML([]byte(text),
		func(w *service.WalkedComponent) error {
			if w.Name != name {
				return nil
			}
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
				return err
			}
			found = map[string]any{}
			return at(doc.Content[0], w.Path+"."+w.Name).Decode(&found)
		}); err != nil || found == nil {
		t.Fatalf("the example of %s %s does not have it: %v", kind, name, err)
	}
	return found
}

// start makes a component as a stream does.
func (d *distribution) start(kind, name string, config any) error {
	raw, err := json.Marshal(map[string]any{"it": map[string]any{name: config}})
	if err != nil {
		return err
	}
	field := map[string]func(string) *service.ConfigField{"input": service.NewInputField,
		"output": service.NewOutputField, "processor": service.NewProcessorField}[kind]("it")
	parsed, err := service.NewConfigSpec().Field(field).ParseYAML(string(raw), d.env)
	if err != nil {
		return err
	}
	switch kind {
	case "input":
		_, err = parsed.FieldInput("it")
	case "output":
		_, err = parsed.FieldOutput("it")
	default:
		_, err = parsed.FieldProcessor("it")
	}
	return err
}

// lintOne is what weir lint says of a stream with one component.
func (d *distribution) lintOne(t *testing.T, kind, name string, config any) []finding {
	t.Helper()
	stream := map[string]any{"input": map[string]any{"generate": map[string]any{"mapping": "root = {}"}},
		"output": map[string]any{"drop": map[string]any{}}}
	one := map[string]any{name: config}
	if kind == "processor" {
		stream["pipeline"] = map[string]any{"processors": []any{one}}
	} else {
		stream[kind] = one
	}
	raw, err := yaml.Marshal(stream)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "one.yaml")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	_, found := d.checker(func(string) (string, bool) { return "", false }).file(path)
	return found
}

// with is a copy of a config in which the field at a path has a value. A list has
// it in its first element, which is made where there is none.
func with(config any, spec fieldSpec, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	if spec.Kind == "array" {
		list, _ := config.([]any)
		if len(list) == 0 {
			list = []any{map[string]any{}}
			for _, c := range spec.Children {
				if c.Type == "string" && c.Default == nil {
					list = []any{map[string]any{c.Name: "x"}}
				}
			}
		}
		spec.Kind = "scalar"
		return append([]any{with(list[0], spec, path, value)}, list[1:]...)
	}
	made := map[string]any{}
	if object, is := config.(map[string]any); is {
		made = maps.Clone(object)
	}
	for _, c := range spec.Children {
		if c.Name == path[0] {
			made[path[0]] = with(made[path[0]], c, path[1:], value)
		}
	}
	return made
}

// bounded are the numbers, times and stores of a component: where they are, and a
// value below zero, or a scheme that is none, for each.
func bounded(spec fieldSpec, at []string) (paths [][]string, below []any) {
	for _, f := range spec.Children {
		here := append(slices.Clone(at), f.Name)
		switch {
		case f.Name == "tls" || f.Name == "processors": // upstream's
		case f.Type == "object":
			p, b := bounded(f, here)
			paths, below = append(paths, p...), append(below, b...)
		case f.Kind != "scalar":
		case f.Type == "int" || f.Type == "float":
			paths, below = append(paths, here), append(below, -5)
		case f.times():
			paths, below = append(paths, here), append(below, "-5s")
		case f.Type == "string" && f.Secret && strings.Contains(f.Description, "://"):
			paths, below = append(paths, here), append(below, "fiel://x")
		}
	}
	return paths, below
}

// Every number, time and store of every component of weir's: one below zero, or of
// no scheme, is refused by weir lint, in the words of the start, and the example is
// right for both.
func TestLint_SaysWhatTheStartWouldSay(t *testing.T) {
	d := shippedEngine(t)
	may := map[string]string{
		"input pipeline_watch.conditions.above": "a threshold of any number",
		"input pipeline_watch.conditions.below": "a threshold of any number",
		"output alert_email.server":             "a URL, or what holds it",
	}
	looked := 0
	for component := range d.own {
		kind, name, _ := strings.Cut(component, " ")
		config := d.exampleOf(t, kind, name)
		if found := d.lintOne(t, kind, name, config); len(found) > 0 {
			t.Errorf("the example of %s: %v", component, found)
			continue
		}
		spec, ok := d.spec(kind, name, map[string]fieldSpec{})
		if !ok {
			t.Fatalf("%s has no fields", component)
		}
		paths, values := bounded(spec, nil)
		for i, path := range paths {
			at := component + "." + strings.Join(path, ".")
			if may[at] != "" {
				delete(may, at)
				continue
			}
			looked++
			wrong := with(config, spec, path, values[i])
			found := d.lintOne(t, kind, name, wrong)
			if len(found) == 0 {
				t.Errorf("%s: %v is right for weir lint", at, values[i])
				continue
			}
			_, words, _ := strings.Cut(found[0].text, name+": ")
			if err := d.start(kind, name, wrong); words == "" || err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: lint says %q, the start %v", at, found[0].text, err)
			}
		}
	}
	if looked < 60 || len(may) > 0 {
		t.Errorf("%d fields were looked at; exceptions that nothing needs: %v", looked, may)
	}
}

// What stands beside weir's components in its configs: how often a schedule ticks,
// what streams read ahead, how long a process runs on.
func TestLint_BoundsSchedulesTemplatesAndTheProcess(t *testing.T) {
	d := shippedEngine(t)
	lint := func(input, rest string) []finding {
		path := filepath.Join(t.TempDir(), "one.yaml")
		if err := os.WriteFile(path, []byte("input:\n  "+input+"\noutput: { drop: {} }\n"+rest), 0o600); err != nil {
			t.Fatal(err)
		}
		_, found := d.checker(func(name string) (string, bool) { return "x", name == "WEIR_BROKERS" }).file(path)
		return found
	}
	schedule := func(every string) string { return `generate: { mapping: "root = {}", interval: "` + every + `" }` }
	reading := func(field string) string { return "log_input: { group: g, topics: [ t ], " + field + " }" }
	for _, right := range []string{"", "0s", "90s", "@every 10m", "@daily", "0 3 * * *", "TZ=Europe/Berlin 0 3 * * *"} {
		if found := lint(schedule(right), ""); len(found) > 0 {
			t.Errorf("every %q: %v", right, found)
		}
	}
	for _, wrong := range []string{"lots", "-5s", "@every lots", "@every -5s", "@every 0s", "5"} {
		if found := lint(schedule(wrong), ""); len(found) != 1 || !strings.Contains(found[0].text, "field interval") {
			t.Errorf("every %q: %v", wrong, found)
		}
	}
	for _, right := range []string{"read_ahead: 1", "batch: 1"} {
		if found := lint(reading(right), "shutdown_delay: 0s\n"); len(found) > 0 {
			t.Errorf("%s: %v", right, found)
		}
	}
	for _, wrong := range []string{"read_ahead: 0", "read_ahead: -5", "batch: -1"} {
		field, _, _ := strings.Cut(wrong, ":")
		if found := lint(reading(wrong), ""); len(found) != 1 || !strings.Contains(found[0].text, "field "+field) {
			t.Errorf("%s: lint says %v", wrong, found)
		}
		config := map[string]any{"group": "g", "topics": []any{"t"}}
		if err := yaml.Unmarshal([]byte(wrong), &config); err != nil {
			t.Fatal(err)
		}
		if err := d.start("input", "log_input", config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: the start says %v", wrong, err)
		}
	}
	for _, wrong := range []string{"shutdown_delay: lots", "shutdown_delay: -5s", "shutdown_timeout: 5"} {
		if found := lint(reading("batch: 1"), wrong+"\n"); len(found) != 1 {
			t.Errorf("%s: %v", wrong, found)
		}
	}
}

// The engine makes no tracer that is only checked: its fields say what is wrong.
func TestLint_BoundsTheTracer(t *testing.T) {
	d := shippedEngine(t)
	for wrong, of := range map[string]string{
		"": "", "url: ''": "", "url: http://localhost:4318, ratio: 0": "", "url: 'https://me:pw@h/v1/traces', ratio: 1": "",
		"url: localhost:4318": "url", "url: 'ftp://me:s3cret@h'": "url", "url: 'http://'": "url",
		"url: 'http://me:s3cret@'": "url",
		"ratio: 1.5":               "ratio", "ratio: -0.1": "ratio", "ratio: often": "ratio", "rate: 1": "rate",
	} {
		path := filepath.Join(t.TempDir(), "service.yaml")
		if err := os.WriteFile(path, []byte("tracer:\n  otlp: { "+wrong+" }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, found := d.checker(func(string) (string, bool) { return "", false }).file(path)
		if len(found) != min(len(of), 1) {
			t.Errorf("%q: %v", wrong, found)
		} else if of != "" && (!strings.Contains(found[0].text, "field "+of) || found[0].line != 2 ||
			strings.Contains(found[0].text, "s3cret")) {
			t.Errorf("%q: %v", wrong, found)
		}
	}
}

// A component that opens something before it knows that its config is only
// checked would open it in weir lint.
func TestLint_MakesNoComponent(t *testing.T) {
	d := shippedEngine(t)
	for component := range d.own {
		kind, name, _ := strings.Cut(component, " ")
		if err := conf.Check(d.env, kind, name, d.exampleOf(t, kind, name)); err != nil {
			t.Errorf("%s: %v", component, err)
		}
	}
	if err := conf.Check(d.env, "output", "drop", map[string]any{}); !errors.Is(err, conf.ErrMade) {
		t.Errorf("a component that does not ask: %v", err)
	}
}

func TestLint_ReadsTheURLsOfStores(t *testing.T) {
	d := shippedEngine(t)
	for url, component := range map[string]string{
		"s3://bucket?role=arn":               "output raw_store",
		"s3://bucket?use_path_style=perhaps": "output dead_letter_store",
		"redis://host/0?read_timeout=3s":     "processor event_dedupe",
	} {
		kind, name, _ := strings.Cut(component, " ")
		found := d.lintOne(t, kind, name, map[string]any{"url": url})
		if len(found) != 1 || !strings.Contains(found[0].text, "option") {
			t.Errorf("%s of %s: %v", url, component, found)
		}
		found = d.lintOne(t, kind, name, map[string]any{"url": strings.SplitN(url, "?", 2)[0]})
		if len(found) > 0 {
			t.Errorf("%s without it: %v", component, found)
		}
	}
}

// A local store whose path would be taken for something else is refused before
// anything is opened.
func TestLint_ReadsThePathsOfStores(t *testing.T) {
	d := shippedEngine(t)
	for component, url := range map[string]string{
		"output rollup_store": "sqlite://data/x#y.db", "output alert_store": "sqlite://", "output raw_store": "file://a?b",
		"output dead_letter_store": "file://a%zz", "processor event_dedupe": "pebble://claims#1",
	} {
		kind, name, _ := strings.Cut(component, " ")
		config := d.exampleOf(t, kind, name)
		config["url"] = url
		if found := d.lintOne(t, kind, name, config); len(found) != 1 || !strings.Contains(found[0].text, "path") {
			t.Errorf("%s of %s: %v", url, component, found)
		}
		if err := d.start(kind, name, config); err == nil || !strings.Contains(err.Error(), "path") {
			t.Errorf("%s of %s: the start says %v", url, component, err)
		}
	}
}

func TestLint_PlacesWhatAConstructorSays(t *testing.T) {
	d := shippedEngine(t)
	found := d.lintOne(t, "output", "raw_store", map[string]any{"url": "mem://", "timeout": "0s", "max_object_rows": 0})
	if len(found) != 2 {
		t.Fatal(found)
	}
	for _, f := range found {
		if f.line < 5 || !strings.HasPrefix(f.text, "raw_store: reading field ") {
			t.Errorf("placed at %d: %s", f.line, f.text)
		}
	}
	if got := fmt.Sprint(found); strings.Contains(got, "failed to init") {
		t.Error(got)
	}
}

// A relative folder of mappings is of the home that is linted, wherever that is
// done from.
func TestLint_FindsMappingsInTheHomeOfAConfig(t *testing.T) {
	d := shippedEngine(t)
	dir := t.TempDir()
	t.Chdir(dir)
	for home, mapping := range map[string]string{"one": "root = this", "two": "root = ", ".": "root = neither( "} {
		for file, text := range map[string]string{
			"configs/streams/a.yaml": `{input: {generate: {mapping: 'from "${WEIR_BLOBLANG}/m.blobl"'}}, output: {drop: {}}}`,
			"bloblang/m.blobl":       mapping,
		} {
			path := filepath.Join(home, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	checker := d.checker(func(string) (string, bool) { return "bloblang", true })
	checker.homes = true
	if _, found := checker.file("one/configs/streams/a.yaml"); len(found) > 0 {
		t.Errorf("a right home: %v", found)
	}
	if _, found := checker.file(filepath.Join(dir, "two/configs/streams/a.yaml")); len(found) == 0 {
		t.Error("a wrong home is right")
	}
	if got, _ := inHome("one/configs/streams/a.yaml", func(string) (string, bool) { return "/etc", true })(
		variableMappings); got != "/etc" {
		t.Errorf("a folder by its whole path is %s", got)
	}
}
