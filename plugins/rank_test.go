package plugins

import (
	"path"
	"strings"
	"testing"
)

// ranks are read from folder names: the longest that a path begins with counts.
// An import goes to a lower rank; within one it stays in its folder, or is one
// of sideways.
var ranks = map[string]int{
	"internal/platform": 0, "internal/event": 1, "internal/lifecycle": 2, "internal/control": 3, "plugins/process": 3,
	"plugins/ingest": 4, "plugins/store": 4, "plugins/notify": 4, "plugins/operate": 5, "plugins/serve": 6,
	"internal/cli": 6,
	"plugins":      7, "main.go": 8,
	// beside the ranks: what the binary embeds, and the simulator, which shares
	// nothing with weir but how JSON is read
	"schemas": 0, "internal/simulate": 1,
}

// sideways are the imports that stay within a rank: from a folder (a final * is
// any below it) to one beside it.
var sideways = [][2]string{
	{"plugins/store/*", "plugins/store/lake"},
	{"plugins/ingest/gate", "plugins/ingest/gate/admission"}, {"plugins/ingest/gate", "plugins/ingest/gate/ingestpb"},
	{"plugins/ingest/validate", "plugins/ingest/registry"}, {"plugins/ingest/privacy", "plugins/ingest/registry"},
	{"plugins/ingest/registry", "plugins/ingest/registry/compat"},
	{"plugins/operate/etl", "plugins/operate/etl/delta"},
	{"plugins/operate/replay", "plugins/operate/recount"}, {"plugins/operate/erasure", "plugins/operate/recount"},
	{"plugins/operate/reconcile", "plugins/operate/recount"},
	{"plugins/notify/*", "plugins/notify/alert"}, {"plugins/serve/api", "plugins/serve/*"},
	{"internal/platform/*", "internal/platform/*"}, {"internal/lifecycle/*", "internal/lifecycle/*"},
	{"internal/control/*", "internal/control/*"},
	{"internal/lifecycle", "internal/lifecycle/*"},
}

// rankOf returns the rank of a file or folder of the repository, and whether it
// has one: tests have none, and may import everything.
func rankOf(file string) (rank int, ok bool) {
	longest := -1
	for folder, r := range ranks {
		if (file == folder || strings.HasPrefix(file, folder+"/")) && len(folder) > longest {
			longest, rank, ok = len(folder), r, true
		}
	}
	return rank, ok
}

func mayBeside(from, to string) bool {
	matches := func(pattern, folder string) bool {
		if below, ok := strings.CutSuffix(pattern, "/*"); ok {
			return strings.HasPrefix(folder, below+"/")
		}
		return pattern == folder
	}
	for _, s := range sideways {
		if matches(s[0], from) && matches(s[1], to) {
			return true
		}
	}
	return false
}

// forbidden says why a file may not import a folder of weir's, or "".
func forbidden(file, to string) string {
	from, ranked := rankOf(file)
	if !ranked {
		return ""
	}
	target, ok := rankOf(to)
	folder := path.Dir(file)
	switch {
	case !ok:
		return "has no rank: name its folder in ranks"
	case strings.HasPrefix(file, "plugins/process/") && strings.HasPrefix(to, "plugins/"):
		return "process gets data from the log, from platform/state or from a func handed in"
	case strings.HasPrefix(file, "plugins/ingest/") && strings.HasPrefix(to, "plugins/store/"):
		return "ingest ends at the log and reaches no store"
	case target < from, target == from && mayBeside(folder, to):
		return ""
	}
	return "is not of a lower rank, and no sideways import names the two"
}

func TestLaws_ImportsGoDown(t *testing.T) {
	all, _ := sources(t)
	looked := 0
	for _, s := range all {
		if s.test() || strings.HasPrefix(s.path, "tests/") {
			continue
		}
		for _, imp := range s.file.Imports {
			to, ours := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), "weir/")
			if !ours {
				continue
			}
			looked++
			if why := forbidden(s.path, to); why != "" {
				t.Errorf("%s imports %s: %s", s.path, to, why)
			}
		}
	}
	if looked < 100 {
		t.Fatalf("looked at only %d imports", looked)
	}
}

// Each way of breaking the law is seen.
func TestLaws_ABrokenOneIsSeen(t *testing.T) {
	for _, broken := range [][2]string{
		{"internal/platform/sqldb/x.go", "internal/event"}, {"internal/event/x.go", "internal/lifecycle/expire"},
		{"plugins/process/dedupe/x.go", "plugins/process/anomaly"}, {"plugins/process/dedupe/x.go", "plugins/store/lake"},
		{"plugins/ingest/gate/x.go", "plugins/store/raw"}, {"plugins/ingest/gate/x.go", "plugins/ingest/validate"},
		{"plugins/store/raw/x.go", "plugins/store/rollup"}, {"plugins/store/lake/x.go", "plugins/store/raw"},
		{"plugins/operate/replay/x.go", "plugins/operate/erasure"}, {"plugins/notify/alert/x.go", "plugins/notify/channel"},
		{"plugins/serve/api/x.go", "internal/cli"}, {"internal/cli/x.go", "plugins"}, {"plugins/plugins.go", "weir"},
		{"main.go", "tests/bench"},
	} {
		if forbidden(broken[0], broken[1]) == "" {
			t.Errorf("%s may import %s", broken[0], broken[1])
		}
	}
	for _, lawful := range [][2]string{
		{"plugins/store/raw/x.go", "plugins/store/lake"}, {"plugins/ingest/gate/x.go", "internal/control/apikey"},
		{"plugins/serve/api/x.go", "plugins/operate/replay"}, {"plugins/plugins.go", "plugins/serve/api"},
		{"main.go", "internal/cli"},
		{"plugins/notify/watch/x.go", "plugins/notify/alert"}, {"plugins/operate/replay/x.go", "plugins/operate/recount"},
	} {
		if why := forbidden(lawful[0], lawful[1]); why != "" {
			t.Errorf("%s may not import %s: %s", lawful[0], lawful[1], why)
		}
	}
}
