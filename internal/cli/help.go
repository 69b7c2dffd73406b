package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// helpGroup is some commands that are used together.
type helpGroup struct {
	title string
	names []string
}

func helpGroups() []helpGroup {
	return []helpGroup{
		{"Start here", []string{"up", "fleet", "query"}},
		{"Prove and repair", []string{"reconcile", "replay", "schema"}},
		{"Keep and forget", []string{"retention", "hold", "erase"}},
		{"Administer", []string{"keys", "topics", "detect", "completion"}},
		{"Pipelines in YAML: the engine, Redpanda Connect", []string{"run", "streams", "lint", "test", "list", "create",
			"blobl", "echo", "template", "studio"}},
	}
}

// engineUsage says what the engine's commands do, in a few words.
func engineUsage() map[string]string {
	return map[string]string{
		"run": "Run one stream config", "streams": "Run several stream configs in one process",
		"lint": "Check stream configs",
		"test": "Run the tests of stream configs", "list": "List components and Bloblang functions",
		"create": "Write a new config",
		"blobl":  "Try Bloblang mappings", "echo": "Print a config as the engine reads it", "template": "Check templates",
		"studio": "Use upstream's Studio",
	}
}

// Front answers what the engine would answer in its own words: the help of the
// whole program, and a command that does not exist. It returns false when the
// command line is for a command.
func Front(to, problems io.Writer, verbs []*cli.Command, args []string) (code int, done bool) {
	name := ""
	if len(args) > 1 {
		name = args[1]
	}
	switch {
	case len(args) <= 2 && slices.Contains([]string{"", "help", "h", "-h", "--help"}, name):
		if _, err := io.WriteString(to, help(verbs)); err != nil {
			return exitFailed, true
		}
		return 0, true
	case strings.HasPrefix(name, "-"), name == "help", known(verbs, name):
		return 0, false
	}
	_, _ = fmt.Fprintf(problems, "there is no command %q: see weir --help\n", name)
	return exitUsage, true
}

func known(verbs []*cli.Command, name string) bool {
	_, engines := engineUsage()[name]
	return engines || slices.ContainsFunc(verbs, func(v *cli.Command) bool { return v.HasName(name) })
}

func help(verbs []*cli.Command) string {
	usage := engineUsage()
	for _, v := range verbs {
		usage[v.Name] = v.Usage
	}
	var b strings.Builder
	b.WriteString(`weir takes telemetry from fleets of devices over HTTP, judges it by versioned schemas, keeps every event exactly once
and rolls metrics up by minute, hour and day: every acknowledged event is stored, or dead-lettered with its reason,
or proven a duplicate.

  weir up                everything on this machine, on ./data
  weir COMMAND --help    what a command does and takes
  weir --version
`)
	for _, g := range helpGroups() {
		fmt.Fprintf(&b, "\n%s\n", g.title)
		for _, name := range g.names {
			fmt.Fprintf(&b, "  %-11s %s\n", name, usage[name])
		}
	}
	b.WriteString("\nCommands end with 0, or 1 for a finding, 2 for wrong usage, 3 when it could not be done.\n")
	return b.String()
}
