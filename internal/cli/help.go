package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// helpGroup is a group of related commands.
type helpGroup struct {
	title string
	names []string
}

func helpGroups() []helpGroup {
	return []helpGroup{
		{"Start here", []string{"up", "fleet", "query", "top"}},
		{"Prove and repair", []string{"reconcile", "dead-letters", "replay", "schema"}},
		{"Keep and forget", []string{"retention", "hold", "erase", "privacy", "consent", "identity", "block",
			"export-subject"}},
		{"Deploy", []string{"role", "configs", "health", "topics", "cost"}},
		{"Administer", []string{"keys", "detect", "rules", "config", "vault", "completion"}},
		{"Pipelines in JSON", []string{"etl"}},
		{"Pipelines in YAML: the engine, Redpanda Connect", []string{"run", "streams", "lint", "test", "list", "create",
			"blobl", "echo", "template"}},
	}
}

// engineUsage describes the engine's commands.
func engineUsage() map[string]string {
	return map[string]string{
		"run": "Run one stream config", "streams": "Run several stream configs in one process",
		"lint": "Check stream configs",
		"test": "Run the tests of stream configs", "list": "List components and Bloblang functions",
		"create": "Write a new config",
		"blobl":  "Try Bloblang mappings", "echo": "Print a config as the engine reads it", "template": "Check templates",
	}
}

// Front handles what the engine would answer in its own words: the program's help and version, and unknown commands
// or flags. It returns false when the command line is for a command.
func Front(to, problems io.Writer, verbs []*cli.Command, version string, args []string) (code int, done bool) {
	name, of := "", ""
	if len(args) > 1 {
		name = args[1]
	}
	if len(args) > 2 {
		of = args[2]
	}
	helps := name == "help" || name == "h"
	flag, _, _ := strings.Cut(strings.TrimLeft(name, "-"), "=")
	text, wrong := "", ""
	switch {
	case name == "", len(args) == 2 && (helps || name == "-h" || name == "--help"):
		text = help(verbs)
	case slices.Contains([]string{"-v", "--version", "-version"}, name):
		text = versions(version)
	case helps && !known(verbs, of):
		wrong = fmt.Sprintf("there is no command %q", of)
	case strings.HasPrefix(name, "-") && !slices.Contains(engineFlags(), flag):
		wrong = fmt.Sprintf("there is no flag %s in front of a command", name)
	case !helps && !strings.HasPrefix(name, "-") && !known(verbs, name):
		wrong = fmt.Sprintf("there is no command %q", name)
	default:
		return 0, false
	}
	if wrong != "" {
		_, _ = fmt.Fprintf(problems, "%s: see weir --help\n", wrong)
		return exitUsage, true
	}
	if _, err := io.WriteString(to, text); err != nil {
		return exitFailed, true
	}
	return 0, true
}

// engineFlags lists the flags that the engine accepts before a command.
func engineFlags() []string {
	return []string{"help", "h", "help-autocomplete", flagMain, "c", flagEnvFile, "e", flagTemplates, "t", flagResources,
		"r", flagSet, "s", flagLogLevel, flagChilled, flagWatch, "w"}
}

// versions returns the versions of weir, the engine and Go.
func versions(version string) string {
	engine := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/redpanda-data/connect/v4" {
				engine = "Redpanda Connect " + m.Version + ", "
			}
		}
	}
	return fmt.Sprintf("weir %s (%s%s)\n", version, engine, runtime.Version())
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
			fmt.Fprintf(&b, "  %-12s %s\n", name, usage[name])
		}
	}
	b.WriteString("\nCommands end with 0, or 1 for a finding, 2 for wrong usage, 3 when it could not be done.\n")
	return b.String()
}
