package plugins

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// The map of the rooms has a row for each package that YAML can name or that
// rooms share, and for nothing else. Parts of a room (gate/admission) are told in
// its row.
func TestLaws_EveryRoomIsOnTheMap(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		rows[m[1]]++
	}
	all, _ := sources(t)
	rooms := map[string]bool{}
	for _, s := range all {
		folder := path.Dir(s.path)
		depth := strings.Count(folder, "/")
		if strings.HasPrefix(folder, "plugins/") && depth == 2 || strings.HasPrefix(folder, "internal/") &&
			folder != "internal/cli" && folder != "internal/simulate" { // commands, not rooms
			rooms[path.Base(folder)] = true
		}
	}
	for room := range rooms {
		if rows[room] != 1 {
			t.Errorf("README.md has %d rows of %s, want one", rows[room], room)
		}
	}
	for room := range rows {
		if !rooms[room] {
			t.Errorf("README.md has a row of %s, and there is no such package", room)
		}
	}
}
