package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"weir/internal/platform/envyaml"
)

// awkward makes a value that YAML, a mapping or the engine could take for their own.
func awkward(random *rand.Rand) string {
	words := []string{
		"true", "0123", "null", "~", "1e5", "12", "yes", "2026-11-27", " ", "\t", "\n", "a", "日本", "\u2028", `"`, "'", `\`,
		`\n`,
		"[", "]", "{", "}", "#", " #", ": ", ":", "- ", ",", "&x", "*x", "!!str", "|", ">", "%", "@", "`", "${X}", "${{X}}",
		"${! this }", "$", "[::1]:8080",
	}
	var out strings.Builder
	for range 1 + random.IntN(4) {
		out.WriteString(words[random.IntN(len(words))])
	}
	return out.String()
}

// shipped are the configs of the distribution.
func shipped(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("../../configs/streams/*.yaml")
	if err != nil || len(paths) < 10 {
		t.Fatal(paths, err)
	}
	return append(paths, "../../configs/service.yaml")
}

// Every variable of every shipped config, alone in its field: what is read is
// what was set, in whatever form.
func TestConfigs_EveryVariableArrivesAsItIsSet(t *testing.T) {
	random := rand.New(rand.NewPCG(12, 34))
	values := make([]string, 2000)
	for i := range values {
		values[i] = awkward(random)
	}
	variables, seen := 0, map[string]bool{}
	for _, path := range shipped(t) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		config, err := envyaml.Parse(raw)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for n, s := range config.Scalars() {
			variables++
			if seen[config.Source(n)] {
				continue
			}
			seen[config.Source(n)] = true
			const probe = "probe"
			text, err := s.YAML(func(string) (string, bool) { return probe, true })
			if err != nil {
				t.Fatal(err)
			}
			around := strings.Split(scalar(t, text).Value, probe)
			for _, value := range values {
				text, err := s.YAML(func(string) (string, bool) { return value, true })
				if err != nil {
					t.Fatal(err)
				}
				got, want := scalar(t, text), strings.Join(around, value)
				if strings.Contains(around[0], `"`) { // in a mapping's string
					want = around[0] + strings.TrimSuffix(strings.TrimPrefix(jsonString(t, value), `"`), `"`) + around[1]
				}
				if got.Value != want || strings.Contains(text, "${") || strings.Contains(text, "\n") {
					t.Fatalf("%s, line %d: %q is read as %q", path, s.Line, want, got.Value)
				}
			}
		}
	}
	if variables < 100 {
		t.Fatalf("found only %d places of variables", variables)
	}
}

func scalar(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte("a: "+text), &doc); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	n := doc.Content[0].Content[1]
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		t.Fatalf("%s is no scalar", text)
	}
	return n
}

func jsonString(t *testing.T, value string) string {
	t.Helper()
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// What the engine itself makes of a copy: fields of each type get what was set.
func TestConfigs_FieldsOfTheEngineGetTheValue(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var got []string
	env := service.NewEnvironment()
	spec := service.NewConfigSpec().Fields(service.NewStringField("plain"), service.NewStringField("quoted"),
		service.NewStringField("block"),
		service.NewIntField("count"), service.NewBoolField("on"), service.NewStringListField("list"),
		service.NewStringMapField("map"))
	if err := env.RegisterInput("probe", spec, func(conf *service.ParsedConfig, _ *service.Resources) (service.Input,
		error) {
		got = nil
		for _, field := range []string{"plain", "quoted", "block"} {
			text, err := conf.FieldString(field)
			if err != nil {
				return nil, err
			}
			got = append(got, text)
		}
		count, err := conf.FieldInt("count")
		if err != nil {
			return nil, err
		}
		on, err := conf.FieldBool("on")
		if err != nil {
			return nil, err
		}
		list, err := conf.FieldStringList("list")
		if err != nil {
			return nil, err
		}
		entries, err := conf.FieldStringMap("map")
		if err != nil {
			return nil, err
		}
		got = append(append(got, list...), entries["a"], fmt.Sprint(count, on))
		return nil, errRead
	}); err != nil {
		t.Fatal(err)
	}
	config := `
input:
  probe:
    plain: ${V} # ${V} and ${UNKNOWN}
    quoted: "${V}"
    block: |-
      ${V}
    count: ${N}
    on: ${B:false}
    list: [ ${V}, "${V}" ]
    map: { a: ${V} }
output: { drop: {} }
`
	for range 300 {
		value := awkward(random)
		copies, err := newCopies(func(name string) (string, bool) {
			v, ok := map[string]string{"V": value, "N": "42", "B": "true"}[name]
			return v, ok
		})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := envyaml.Parse([]byte(config))
		if err != nil {
			t.Fatal(err)
		}
		builder := env.NewStreamBuilder()
		builder.SetEnvVarLookupFunc(func(name string) (string, bool) { return copies.lookup(context.Background(), name) })
		if err := builder.SetYAML(copies.text(parsed, nil)); err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		copies.remove()
		stream, err := builder.Build()
		if err == nil {
			err = stream.Run(context.Background())
		}
		if !strings.Contains(fmt.Sprint(err), errRead.Error()) {
			t.Fatalf("%q: %v", value, err)
		}
		want := []string{value, value, value, value, value, value, "42 true"}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("%q arrives as %q", value, got)
		}
	}
}

var errRead = errors.New("the fields were read")
