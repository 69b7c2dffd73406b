package cli

import (
	"cmp"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"weir/internal/platform/envyaml"
	"weir/internal/platform/kafka"
	"weir/plugins"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

// entry is what is known of one variable.
type entry struct {
	name, meaning, fallback string
	uses                    []string
	secret                  bool
	profiles                map[string]string
}

// docs/configuration.md says what the configs and the components say:
//
//	go test ./internal/cli -run Configuration -update
func TestConfiguration_TheDocumentIsWhatTheConfigsSay(t *testing.T) {
	env := service.GlobalEnvironment()
	if err := plugins.Register(env); err != nil {
		t.Fatal(err)
	}
	assets := os.DirFS("../..")
	if err := RegisterTemplates(env, assets); err != nil {
		t.Fatal(err)
	}
	d := &distribution{env: env, assets: assets}
	all := collect(t, d)
	for _, e := range all {
		if strings.TrimSpace(e.meaning) == "" {
			t.Errorf("nothing says what %s is: a comment in the config beside it, or the description of its field", e.name)
		}
	}
	got := document(all)
	file := "../../docs/configuration.md"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("docs/configuration.md is not what the configs say (%v): go test ./internal/cli -run Configuration -update",
			err)
	}
}

func collect(t *testing.T, d *distribution) map[string]*entry {
	t.Helper()
	all := map[string]*entry{}
	get := func(name string) *entry {
		if all[name] == nil {
			all[name] = &entry{name: name, profiles: map[string]string{}}
		}
		return all[name]
	}
	for _, pattern := range []string{"configs/streams/*.yaml", "configs/people/*.yaml", "configs/service.yaml",
		"configs/templates/*.yaml"} {
		paths, err := fs.Glob(d.assets, pattern)
		if err != nil || len(paths) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range paths {
			raw, err := fs.ReadFile(d.assets, file)
			if err != nil {
				t.Fatal(err)
			}
			collectFile(t, d, strings.TrimSuffix(path.Base(file), ".yaml"), string(raw), get)
		}
	}
	for _, profile := range []string{"standalone", "cluster"} {
		assignments, err := d.profile(profile)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range assignments {
			get(a.Name).profiles[profile] = a.Value
		}
	}
	for name, meaning := range kafka.Variables() { // read with the brokers, whoever names these
		e := get(name)
		e.meaning, e.uses = meaning, slices.Concat(get(kafka.EnvBrokers).uses, []string{"commands"})
		e.fallback = map[string]string{kafka.EnvTLS: "false", kafka.EnvSASL: kafka.Mechanisms()[0]}[name]
	}
	for name, meaning := range commandVariables() {
		e := get(name)
		e.meaning = cmp.Or(e.meaning, meaning)
		e.uses = append(e.uses, "commands")
	}
	for _, e := range all {
		e.secret = e.secret || regexp.MustCompile(`PASSWORD$|SECRET$|[^S]_KEY$`).MatchString(e.name)
	}
	return all
}

// collectFile reads the variables of one config: the comment beside one says what
// it means, else the field that takes it.
func collectFile(t *testing.T, d *distribution, name, raw string, get func(string) *entry) {
	t.Helper()
	config, err := envyaml.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(raw, "\n")
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(config.Text(func(n int) string {
		return fmt.Sprintf("SCALAR%d", n)
	})), &doc); err != nil {
		t.Fatal(err)
	}
	places, alone := map[int]place{}, regexp.MustCompile(`^["']?\$\{[^{}]*\}["']?$`)
	locate(d, doc.Content[0], place{}, places)
	for n, s := range config.Scalars() {
		at := places[n]
		for _, v := range s.Variables() {
			e := get(v.Name)
			if !slices.Contains(e.uses, name) {
				e.uses = append(e.uses, name)
			}
			_, comment, _ := strings.Cut(lines[s.Line-1], " # ")
			turnsOn := at.component == "alert_notices" && at.spec.Name == "enabled"
			if !alone.MatchString(config.Source(n)) || turnsOn {
				at.meaning = "" // of what it turns on, or is a part of
				at.secret = at.secret && turnsOn
			}
			if at.meaning != "" && comment != "" {
				comment = at.meaning + " (" + comment + ")"
			}
			e.meaning = cmp.Or(e.meaning, comment, at.meaning)
			e.fallback = cmp.Or(e.fallback, v.Default)
			e.secret = e.secret || at.secret
		}
	}
	reads := regexp.MustCompile(`kafka_connection\(\)|\blog_input:`).MatchString(raw)
	if e := get(kafka.EnvBrokers); reads && !slices.Contains(e.uses, name) {
		e.uses = append(e.uses, name)
	}
}

// place is the field in which a variable stands.
type place struct {
	component string
	spec      fieldSpec
	meaning   string
	secret    bool
}

// locate follows a config down to its variables, along the fields of components.
func locate(d *distribution, node *yaml.Node, at place, found map[int]place) {
	if number, is := strings.CutPrefix(node.Value, "SCALAR"); is && node.Kind == yaml.ScalarNode {
		if n, err := strconv.Atoi(number); err == nil {
			found[n] = at
		}
	}
	for i, child := range node.Content {
		next := at
		if node.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			next = at.below(d, node.Content[i-1].Value)
		}
		locate(d, child, next, found)
	}
}

func (p place) below(d *distribution, key string) place {
	for _, f := range p.spec.Children {
		if f.Name == key {
			sentence, _, _ := strings.Cut(strings.ReplaceAll(f.Description, "\n", " "), ". ")
			return place{component: p.component, spec: f, meaning: strings.TrimSuffix(sentence, "."), secret: p.secret ||
				f.Secret}
		}
	}
	for _, kind := range []string{"input", "output", "processor"} {
		if spec, ok := d.spec(kind, key, map[string]fieldSpec{}); ok {
			return place{component: key, spec: spec}
		}
	}
	return place{}
}

func document(all map[string]*entry) string {
	var out strings.Builder
	out.WriteString(`# Configuration

Streams take values from the environment, or from env files (` + "`-e configs/cluster.env`" + `). A value reaches its field as it is set, whatever
it holds. ` + "`weir up`" + ` decides addresses, places and its own log by its flags, says which variables it does not go by, and takes the rest from
the environment, else from the standalone profile. Names that nothing reads are warned of.

## The folder of configs

` + "`weir up`" + ` runs on the configs of the folder that ` + "`--home`" + ` names, else on those of the working directory (` + "`./configs`" + `), else on those that it lays
out in ` + "`home`" + ` of its data directory. That folder is yours after the first start: a file that you change is kept, and named at each start; a
newer weir lays its version beside it, as ` + "`NAME.new`" + `; a file that you delete stays away; files of your own are left alone. What a newer weir
has no more goes, or is set aside as ` + "`NAME.old`" + ` when you changed it.

Streams are taken up as their files change, by ` + "`weir up`" + `, and by ` + "`weir run`" + ` and ` + "`weir streams`" + ` with ` + "`-w`" + `. A changed file is checked first; what is wrong
with it is in the log, and changes nothing. A right one takes the place of the old: the stream stops when what it has read is settled, and
begins anew, so no event is lost. One that is right and cannot be started gives way to the one before. A stream that starts and finds its
store away waits for it, as ever. Templates, env files and ` + "`configs/service.yaml`" + ` take effect at the next start, which the log says.

## Templates

How streams write the log, and how they make dead letters, is in ` + "`configs/templates`" + `: the components ` + "`log_output` and `dead_letters`" + `, for
streams of your own, too (` + "`weir create log_input//dead_letters`" + ` shows their fields). A folder ` + "`templates`" + ` beside the folder
of a stream takes the place of the built-in ones, and of a component of weir's own by its name; ` + "`-t FILE`" + ` adds others.

## Variables

In a config, ` + "`${NAME}`" + ` is the value of a variable, ` + "`${NAME:default}`" + ` has a default for one that is not set or empty, ` + "`${NAME|base64decode}`" + ` decodes it,
and ` + "`${{NAME}}`" + ` is the text ` + "`${NAME}`" + `. A bare ` + "`${NAME}`" + ` is a number or a boolean where the value is one; everything else is a text. In a string of a
mapping (` + "`from \"${WEIR_BLOBLANG}/upcast.blobl\"`" + `) the value is escaped as that string needs. An env file has lines ` + "`NAME=VALUE`" + `: the value goes to
the end of the line, or to a ` + "`#`" + ` after a blank; ` + "`'…'`" + ` is taken as it stands, and in ` + "`\"…\"`" + ` a backslash escapes.

A default is what the configs say where a variable is not set, or empty; the last columns are what the profiles set. Secret ones belong into
the environment of the process, or into a file that it is read from. This page is made from the configs:
` + "`go test ./internal/cli -run Configuration -update`" + `.

| variable | what it is | default | standalone | cluster | used by |
|---|---|---|---|---|---|
`)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e := all[name]
		meaning := strings.ReplaceAll(e.meaning, "|", "\\|")
		if e.secret {
			meaning = strings.TrimSpace(meaning + " **secret**")
		}
		slices.Sort(e.uses)
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s | %s |\n", name, meaning, code(e.fallback),
			code(e.profiles["standalone"]), code(e.profiles["cluster"]),
			strings.Join(slices.Compact(e.uses), ", "))
	}
	return out.String()
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}
