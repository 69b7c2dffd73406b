package scenarios

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tests/README.md lists which tests hold which promise; every test that it names exists.
func TestMap_EveryTestOfTheMapExists(t *testing.T) {
	tests := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(repo("."), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != repo(".") && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		raw, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(raw, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(repo("tests/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(raw, -1)
	if len(named) < 20 {
		t.Fatalf("the map names only %d tests", len(named))
	}
	for _, m := range named {
		if name := string(m[1]); !tests[name] {
			t.Errorf("tests/README.md names %s, which does not exist", name)
		}
	}
}

// tests/run.sh runs the scenarios that it calls lone on servers of their own, beside all others. They are exactly those
// that stop servers; every name of the list is that of one.
func TestMap_TheLoneScenariosAreThoseThatStopServers(t *testing.T) {
	script, err := os.ReadFile(repo("tests/run.sh"))
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^lone='\^Test\(([\w|]+)\)_'$`).FindSubmatch(script)
	if list == nil {
		t.Fatal("tests/run.sh has no list of lone scenarios as this test reads it")
	}
	found := map[string]bool{} // by each name of the list
	for name := range strings.SplitSeq(string(list[1]), "|") {
		found[name] = false
	}
	function := regexp.MustCompile(`(?s)^Test([^_]+)(_\w+)\(t \*testing\.T\)(.*)`)
	stops := regexp.MustCompile(`\.(server|stopKafka)\(`)
	for _, path := range glob(t, repo("tests/scenarios/*_test.go")) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.SplitSeq(string(raw), "\nfunc ") {
			m := function.FindStringSubmatch(text)
			if m == nil {
				continue
			}
			_, lone := found[m[1]]
			if lone {
				found[m[1]] = true
			}
			if stops := stops.MatchString(m[3]); stops != lone {
				t.Errorf("Test%s%s stops servers: %t, is lone: %t", m[1], m[2], stops, lone)
			}
		}
	}
	for name, is := range found {
		if !is {
			t.Errorf("tests/run.sh says that Test%s_… is lone, which does not exist", name)
		}
	}
}
