package cli

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"weir/internal/platform/envyaml"
	"weir/internal/platform/kafka"
)

// variableName matches names of weir's variables in configs and mappings.
var variableName = regexp.MustCompile(`WEIR_[A-Z0-9_]*[A-Z0-9]`)

// commandVariables describes the variables that commands read, in addition to those of configs.
func commandVariables() map[string]string {
	return map[string]string{
		allowVariable: "components that run programs or configs which arrive as data, and that this deployment " +
			"wants: `command`, `subprocess`, `dynamic`",
		"WEIR_API_CA":       "the CA of a running weir's certificate, a PEM file, for commands that ask it",
		"WEIR_API_KEY":      "the key of commands that ask a running weir, instead of `--api-key`",
		"WEIR_API_URL":      "where a running weir's API is, instead of `--api`",
		"WEIR_DATA":         "the data directory, instead of `--data`",
		"WEIR_KEY":          "the key of `weir fleet`, instead of `--key`",
		"WEIR_REGISTRY_URL": "the schema registry of `weir schema`, instead of `--registry`",
		"WEIR_URL":          "the gate of `weir fleet`, instead of `--url`",
		envPasswordFile:     "a file that holds the brokers' password, instead of `" + kafka.EnvPassword + "`",
	}
}

// knownVariables lists all variables that commands, weir's configs or these configs read.
func (d *distribution) knownVariables(configs []string) (known []string, err error) {
	known = slices.AppendSeq(slices.Collect(maps.Keys(commandVariables())), maps.Keys(kafka.Variables()))
	err = fs.WalkDir(d.assets, "configs", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(d.assets, path)
		known = append(known, variableName.FindAllString(string(raw), -1)...)
		return err
	})
	for _, config := range configs {
		raw, _ := os.ReadFile(config) // reading it later reports the error
		known = append(known, variableName.FindAllString(string(raw), -1)...)
	}
	slices.Sort(known)
	return slices.Compact(known), err
}

// nearest returns the known name within two edits, or "".
func nearest(name string, known []string) string {
	best, found := 3, ""
	for _, k := range known {
		if d := distance(name, k); d < best {
			best, found = d, k
		}
	}
	return found
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}

// refuseTypos rejects an env file with an unknown variable whose name is similar to a known one.
func refuseTypos(file string, assignments []envyaml.Assignment, known []string) error {
	for _, a := range assignments {
		if !strings.HasPrefix(a.Name, "WEIR_") || slices.Contains(known, a.Name) {
			continue
		}
		if meant := nearest(a.Name, known); meant != "" {
			return usagef("reading the env file %s, line %d: nothing reads %s; is %s meant?", file, a.Line, a.Name, meant)
		}
	}
	return nil
}

// renamedVariables maps former names to present ones. Their values are not used, because a wrong guess may delete
// data: one of them prevented all deletions.
func renamedVariables() map[string]string {
	return map[string]string{
		"WEIR_MAINTAIN_DRY_RUN":  "WEIR_RETENTION_DRY_RUN",
		"WEIR_MAINTAIN_INTERVAL": "WEIR_RETENTION_INTERVAL",
		"WEIR_MAINTAIN_NOW":      "WEIR_RETENTION_NOW",
		"WEIR_AUDIT_INTERVAL":    "WEIR_RECONCILE_INTERVAL",
	}
}

// refuseRenamed rejects an environment with a former name, unless a config at hand reads it.
func refuseRenamed(environ, known []string) error {
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if now, was := renamedVariables()[name]; was && !slices.Contains(known, name) {
			return usagef("%s is called %s now, and nothing reads the old name: rename it where it is set", name, now)
		}
	}
	return nil
}

// ofTests tells whether a variable controls weir's own tests, which pass their environment to the commands they run.
func ofTests(name string) bool {
	return name == "WEIR_BINARY" || strings.HasPrefix(name, "WEIR_TEST_") || strings.HasPrefix(name, "WEIR_TORTURE_")
}

// tellUnknown warns about variables WEIR_… that nothing reads.
func tellUnknown(w io.Writer, environ, known []string) {
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "WEIR_") || ofTests(name) || slices.Contains(known, name) {
			continue
		}
		hint := ""
		if meant := nearest(name, known); meant != "" {
			hint = "; is " + meant + " meant?"
		}
		fmt.Fprintf(w, "warning: %s is set, and nothing reads it%s\n", name, hint)
	}
}
